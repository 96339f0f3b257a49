//! How deep the values of a JSON text are nested, told before the text is read.
//!
//! serde_json counts the levels of what it reads into a record, but skips a field that the record does not have whatever
//! its depth is. The same text would then be a bad record or a good one by the fields of its type.

use memchr::memchr2;

use crate::error::DEEPEST_JSON;

/// Whether values in `text` are nested deeper than [`DEEPEST_JSON`]. Brackets in strings do not count; nothing else of the text is looked at,
/// so this says nothing about whether it is valid.
pub(super) fn is_too_deep(text: &[u8]) -> bool {
    // Each level takes a bracket.
    if text.len() <= DEEPEST_JSON {
        return false;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > DEEPEST_JSON {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = behind_string(text, at),
            _ => {}
        }
    }
    false
}

/// Where the string ends whose text begins at `at`.
fn behind_string(text: &[u8], mut at: usize) -> usize {
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if text[at - 1] == b'"' {
            return at;
        }
        // Whatever is escaped, it ends no string.
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{DEEPEST_JSON, is_too_deep};

    fn nested(open: &str, inner: &str, close: &str, depth: usize) -> String {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    }

    #[test]
    fn the_limit_is_that_of_serde_json() {
        for depth in [0, 1, 100, 126, 127, 128, 129, 10_000] {
            for (open, inner, close) in
                [("[", "", "]"), ("[", "1", "]"), ("{\"a\":", "1", "}"), ("[ ", "{}", " ]")]
            {
                let text = nested(open, inner, close, depth);
                let refused = serde_json::from_str::<Value>(&text)
                    .is_err_and(|error| error.to_string().contains("recursion"));
                assert_eq!(is_too_deep(text.as_bytes()), refused, "{depth} {open}{inner}");
            }
        }
        assert!(is_too_deep("[".repeat(10_000).as_bytes()));
    }

    #[test]
    fn brackets_that_were_closed_or_stand_in_strings_do_not_count() {
        let wide = format!("[{}]", "[],{},".repeat(10_000));
        let text = format!("{{\"{}\":\"{}\"}}", "[".repeat(1000), "{".repeat(1000));
        let escaped = format!("[\"\\\"{}\\\\\",\"\\\\\",\"\\u005b{}\"]", "[".repeat(1000), "[".repeat(1000));
        let unended = format!("[\"{}", "[".repeat(1000));
        let ends_in_escape = format!("[\"{}\\", "[".repeat(1000));
        for text in [wide, text, escaped, unended, ends_in_escape] {
            assert!(!is_too_deep(text.as_bytes()), "{text:.40}");
        }
        let behind = format!("[\"\\\\\",{}", "[".repeat(DEEPEST_JSON));
        assert!(is_too_deep(behind.as_bytes()));
        assert!(!is_too_deep(&behind.as_bytes()[..behind.len() - 1]));
    }

    proptest! {
        /// Whatever the strings hold, serde_json and this see the same depth.
        #[test]
        fn strings_are_read_as_serde_json_reads_them(strings in prop::collection::vec("[\\[\\]{}\"\\\\,:a]{0,60}", 0..6), depth in 124..131_usize) {
            let inner = serde_json::to_string(&strings).unwrap_or_default();
            let text = nested("[", &inner, "]", depth - 1);
            let refused = serde_json::from_str::<Value>(&text).is_err();
            prop_assert_eq!(is_too_deep(text.as_bytes()), refused);
        }
    }
}
