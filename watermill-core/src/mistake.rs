//! Mistaken settings: what is wrong with one, and which call to make instead.

use std::fmt;
use std::ops::Bound;

/// A setting that cannot be: a number that must not be zero, a bound that is missing, calls that contradict each other.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::error::BuildProblem;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
///
/// let mill = Mill::new(|_: &Reading| ()).max_group(0).commit_after_calls(0);
/// let error = mill.explain().unwrap_err();
/// let BuildProblem::Setting(mistakes) = *error.problem else { unreachable!() };
/// assert_eq!(mistakes.len(), 2);
/// assert_eq!(mistakes[0].problem, "`.max_group(0)` allows no match at all");
/// assert_eq!(mistakes[0].fix, "call `.max_group(1)`, or with more");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// What is wrong, and with which call.
    pub problem: String,
    /// Which call to change, and to what.
    pub fix: String,
}

impl Mistake {
    pub(crate) fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { problem: problem.into(), fix: fix.into() }
    }
}

/// One mistake on the line; several on a line each, with what to do about each.
pub(crate) fn listed(mistakes: &[Mistake]) -> String {
    match mistakes {
        [only] => only.problem.clone(),
        several => {
            let mut text = format!("{} settings are mistaken:", several.len());
            for Mistake { problem, fix } in several {
                text.push_str("\n  - ");
                text.push_str(problem);
                text.push_str("; ");
                text.push_str(fix);
            }
            text
        }
    }
}

/// The call of `within` with these bounds, as one would write it.
pub(crate) fn within_call<D: fmt::Debug>(lower: &Bound<D>, upper: &Bound<D>) -> String {
    let low = match lower {
        Bound::Included(low) => format!("{low:?}"),
        Bound::Excluded(_) => return format!(".within(({lower:?}, {upper:?}))"),
        Bound::Unbounded => String::new(),
    };
    match upper {
        Bound::Included(high) => format!(".within({low}..={high:?})"),
        Bound::Excluded(high) => format!(".within({low}..{high:?})"),
        Bound::Unbounded => format!(".within({low}..)"),
    }
}

/// The value of a bound, or what should stand there.
pub(crate) fn bound_or<D: fmt::Debug>(bound: &Bound<D>, missing: &str) -> String {
    match bound {
        Bound::Included(value) | Bound::Excluded(value) => format!("{value:?}"),
        Bound::Unbounded => missing.to_owned(),
    }
}
