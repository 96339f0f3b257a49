//! How often each word comes in each chapter of a book: a window that writes any number of results.
//!
//! What to look at:
//! - `Window::by(chapter)` gives the function all lines of a chapter at once. A window is held in memory; lines of a
//!   chapter must stand side by side.
//! - The function returns a `Vec`, every element of which is a result.

use std::collections::BTreeMap;

use watermill::prelude::*;

#[derive(Deserialize, StreamRecord)]
struct Line {
    chapter: u32,
    text: String,
}

#[derive(Serialize, StreamRecord)]
struct WordCount {
    chapter: u32,
    word: String,
    count: usize,
}

/// The words of a chapter, the most frequent ones first.
fn word_count(lines: &[Line]) -> Vec<WordCount> {
    let mut counts = BTreeMap::<String, usize>::new();
    let words = lines.iter().flat_map(|line| line.text.split(|c: char| !c.is_alphabetic() && c != '\''));
    for word in words.filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let chapter = lines[0].chapter;
    let mut results: Vec<WordCount> =
        counts.into_iter().map(|(word, count)| WordCount { chapter, word, count }).collect();
    results.sort_by_key(|result| std::cmp::Reverse(result.count));
    results
}

#[tokio::main]
async fn main() -> watermill::Result<()> {
    let files = JsonFileBroker::new()
        .read::<Line>("examples/data/alice.ndjson")
        .write::<WordCount>("out/word-count.ndjson");

    let report = Mill::new(word_count).window(Window::by(Line::fields().chapter)).run(files).await?;
    println!("{report}");
    Ok(())
}
