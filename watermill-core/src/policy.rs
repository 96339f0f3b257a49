//! What is done with bad records.

/// What is done with a record that cannot be used: it does not decode, or its keys break the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnBad {
    /// The run stops with the error; nothing is lost, and a restart stops at the same record.
    #[default]
    Fail,
    /// The record is left out, counted in the report, and logged as a warning. Input that is cut, or whose structure is
    /// broken, still stops the run: what stands behind it cannot be known.
    Skip,
}
