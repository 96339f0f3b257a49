//! Words counted over a named stream: a file is loaded into it, two consumers share it, and a job takes what they made of it window by window.
//!
//! What to look at:
//! - Loading is a mill from a file into a stream. Its position stands in the same SQLite file, so running this again loads nothing twice.
//! - The two consumers could as well be two processes: each line goes to one of them. When the stream has ended and nobody holds anything of it, so do they.
//! - `run_once` takes one window if there is one, as a job would that is run every minute. It reads under a subscription, so that the counts stay for others.
//!
//! `cargo run --features streams --example named_streams`

use std::collections::BTreeMap;

use watermill::prelude::*;

#[derive(Serialize, Deserialize, StreamRecord)]
struct Line {
    chapter: u32,
    text: String,
}

#[derive(Serialize, Deserialize, StreamRecord)]
struct Words {
    counts: BTreeMap<String, u64>,
}

fn count(lines: &[Line]) -> Words {
    let mut counts = BTreeMap::new();
    let words = lines.iter().flat_map(|line| line.text.split(|c: char| !c.is_alphabetic() && c != '\''));
    for word in words.filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    Words { counts }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all("out")?;
    let file = std::env::args().nth(1).unwrap_or_else(|| "out/watermill.db".to_owned());
    let streams = Streams::open(&format!("sqlite:{file}"))?;
    let (lines, words) = (streams.stream::<Line>("lines")?, streams.stream::<Words>("words")?);
    words.subscribe("report")?;

    let book = JsonFileBroker::new().read::<Line>("examples/data/alice.ndjson");
    let load = |line: &Line| Line { chapter: line.chapter, text: line.text.clone() };
    println!("{}", Mill::new(load).run_blocking(book.and(streams.broker().write(&lines)))?);

    let consume = || Mill::new(count).window(Window::count(100)).start(lines.consumer().write(&words));
    let consumers = [consume()?, consume()?];
    for consumer in consumers {
        println!("{}", consumer.wait_blocking()?);
    }

    let job = || Mill::new(|some: &[Words]| println!("{} more parts", some.len())).window(Window::count(10));
    while job().run_once_blocking(words.consumer().subscription("report"))?.calls > 0 {}

    let mut all = BTreeMap::<String, u64>::new();
    for part in words.buffer()? {
        for (word, count) in part.get::<Words>()?.counts {
            *all.entry(word).or_default() += count;
        }
    }
    let mut all: Vec<(String, u64)> = all.into_iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (word, count) in all.iter().take(5) {
        println!("{word:>8} {count:>6}");
    }
    Ok(())
}
