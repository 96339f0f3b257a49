//! Ranges of numbers in a column of text: `10-15 17-20`, the ends not included.

use std::fmt::Write;
use std::ops::Range;

pub(super) fn text(ranges: &[Range<u64>]) -> String {
    let mut text = String::new();
    for range in ranges {
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a `String` does not fail.
        let _ = write!(text, "{space}{}-{}", range.start, range.end);
    }
    text
}

/// What is no range is passed over: nobody but us writes such a column.
pub(super) fn read(text: &str) -> Vec<Range<u64>> {
    let range = |word: &str| {
        let (start, end) = word.split_once('-')?;
        Some(start.parse().ok()?..end.parse().ok()?)
    };
    text.split(' ').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ranges_come_back_as_they_were_written() {
        let one = std::iter::once(0..1).collect();
        for ranges in [vec![], one, vec![10..15, 17..20, 3..4]] {
            assert_eq!(super::read(&super::text(&ranges)), ranges);
        }
    }
}
