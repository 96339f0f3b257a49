//! What a join keeps of its left records.

use std::fmt;

/// What is kept of the left records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Inner,
    Left,
    Exists,
    Unmatched,
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Exists => "exists",
            Self::Unmatched => "unmatched",
        })
    }
}
