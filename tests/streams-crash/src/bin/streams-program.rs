//! One program of many on a store: `produce url producer start`, `consume url`, `audit url`, or `fill url`. It tells what was acknowledged.
#![allow(clippy::print_stdout, reason = "what it tells is what the tests read")]

use std::error::Error;
use std::time::Duration;

use watermill::prelude::*;
use watermill::streams::{Consumer, Stream, Streams};
use watermill_streams_crash::{Batch, Item};

/// Short, so that what was killed is soon consumed by others.
const LEASE: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (what, url) = (arguments.first().ok_or("what?")?, arguments.get(1).ok_or("which store?")?);
    let streams = Streams::open(url)?;
    match (*what, arguments.get(2..).unwrap_or_default()) {
        ("produce", [producer, start]) => {
            produce(&streams.stream("items")?, producer.parse()?, start.parse()?)
        }
        ("consume", _) => consume(&streams, Stream::consumer, "batches"),
        ("audit", _) => consume(&streams, |items| items.consumer().subscription("audit").whole(), "audited"),
        ("fill", _) => fill(&streams),
        _ => Err(format!("`{what}` is none of produce, consume, audit, fill").into()),
    }
}

/// Appends for ever: some one by one, some in batches.
fn produce(items: &Stream<Item>, producer: u32, start: u32) -> Result<(), Box<dyn Error>> {
    let mut number = 0;
    loop {
        let count = 1 + number % 4;
        let batch: Vec<Item> =
            (number..number + count).map(|number| Item { producer, start, number }).collect();
        items.append_all(&batch)?;
        number += count;
        // All before this one are there.
        println!("acknowledged {number}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn consume(streams: &Streams, how: fn(&Stream<Item>) -> Consumer, to: &str) -> Result<(), Box<dyn Error>> {
    let consumer = how(&streams.stream("items")?).lease(LEASE).write(&streams.stream::<Batch>(to)?);
    let report = Mill::new(|items: &[Item]| Batch { items: items.to_vec() })
        .window(Window::count(5))
        .commit_every(Duration::from_millis(10))
        .progress(false)
        .run_blocking(consumer)?;
    println!("ended: {}", report.end);
    Ok(())
}

/// Appends until it cannot.
fn fill(streams: &Streams) -> Result<(), Box<dyn Error>> {
    let texts = streams.get("texts")?;
    let text = Json("x".repeat(1000).into());
    for appended in 0..100_000 {
        if let Err(error) = texts.append(&text) {
            println!(
                "appended {appended}\n{error}: {}",
                error.source().map(ToString::to_string).unwrap_or_default()
            );
            return Err(error.into());
        }
    }
    Err("there is room for everything".into())
}
