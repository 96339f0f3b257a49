//! Names of streams and subscriptions, and patterns of such.

use crate::error::StreamsError;

/// The longest name, in bytes.
const LONGEST: usize = 200;

/// Refuses what cannot be a name.
pub(crate) fn check(name: &str, of: &str) -> Result<(), StreamsError> {
    let why = if name.is_empty() {
        format!("the name of a {of} has at least one character")
    } else if name.len() > LONGEST {
        format!("it takes {} bytes, and the name of a {of} at most {LONGEST}", name.len())
    } else if name.chars().any(char::is_control) {
        format!("the name of a {of} has no line feeds or other control characters")
    } else {
        return Ok(());
    };
    Err(StreamsError::Name { name: name.escape_debug().take(40).collect(), why })
}

/// Whether `name` fits `pattern`, in which `*` stands for any text and `?` for any character.
pub(crate) fn fits(name: &str, pattern: &str) -> bool {
    let (name, pattern): (Vec<char>, Vec<char>) = (name.chars().collect(), pattern.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where the last star stands, and what it stands for up to now.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(of) {
            Some('*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[at] => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((stands, until)) = star else { return false };
                star = Some((stands, until + 1));
                at = until + 1;
                of = stands + 1;
            }
        }
    }
    pattern[of..].iter().all(|left| *left == '*')
}

#[cfg(test)]
mod tests {
    use super::{check, fits};

    #[test]
    fn patterns_fit_as_those_of_a_shell_do() {
        for (name, pattern) in [
            ("a", "*"),
            ("", "*"),
            ("abc", "a*c"),
            ("abc", "a?c"),
            ("aXbXc", "a*b*c"),
            ("aab", "*ab"),
            ("ä", "?"),
        ] {
            assert!(fits(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("abc", "a"), ("abc", "a?"), ("", "?"), ("abd", "a*c"), ("abc", "")] {
            assert!(!fits(name, pattern), "{name} {pattern}");
        }
    }

    #[test]
    fn names_that_are_empty_or_too_long_or_break_lines_are_refused() {
        assert!(check(&"x".repeat(200), "stream").is_ok());
        for name in ["", &"x".repeat(201), "two\nlines"] {
            assert!(check(name, "stream").is_err(), "{name:?}");
        }
    }
}
