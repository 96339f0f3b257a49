//! What messages show of a record.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use memchr::memchr;
use serde::de::IgnoredAny;
use watermill_core::broker::Origin;
use watermill_core::error::RecordPlace;

use crate::location::{InputFile, STANDARD};
use crate::text::Text;

/// How many characters of a bad record a message shows.
const EXCERPT_CHARS: usize = 80;

/// How much is read to find out where a record ends.
const MOST_READ: usize = 16 * 1024;

/// The start of a record for a message: short, on one line, readable.
pub(crate) fn excerpt(raw: &[u8]) -> Option<String> {
    let shown = &raw[..raw.len().min(EXCERPT_CHARS * 4)];
    let text = String::from_utf8_lossy(shown);
    let mut excerpt = String::with_capacity(EXCERPT_CHARS + 3);
    let mut chars = text.trim_ascii().chars();
    for char in chars.by_ref().take(EXCERPT_CHARS) {
        if char.is_control() { excerpt.extend(char.escape_default()) } else { excerpt.push(char) }
    }
    if chars.next().is_some() || shown.len() < raw.len() {
        excerpt.push_str("...");
    }
    (!excerpt.is_empty()).then_some(excerpt)
}

/// The start of the record that stands at `place`, read once more. `None` where that cannot be done, or where it may be another record by now.
pub(crate) fn excerpt_at(place: &RecordPlace) -> Option<String> {
    let Origin::File { path } = &*place.origin else { return None };
    if path == STANDARD {
        return None;
    }
    let file = InputFile::at(Path::new(path).to_owned()).ok().filter(|file| file.length.is_some())?;
    let mut text = Text::open(&file, place.offset, &Arc::new(AtomicBool::new(false))).ok()?;
    let mut buffer = vec![0; MOST_READ];
    let mut filled = 0;
    while filled < buffer.len() {
        match text.read(&mut buffer[filled..]).ok()? {
            0 => break,
            count => filled += count,
        }
    }
    excerpt(&buffer[..end_of_record(&buffer[..filled])])
}

/// Where the record ends that `text` begins with: an element of an array before its comma or bracket, anything else with its line.
fn end_of_record(text: &[u8]) -> usize {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    if let Some(Ok(_)) = values.next() {
        let end = values.byte_offset();
        if let Some(b',' | b']') = text[end..].trim_ascii_start().first() {
            return end;
        }
    }
    memchr(b'\n', text).unwrap_or(text.len())
}
