//! Fault points: labelled steps of a commit at which a test can make the process die.
//!
//! Without the feature `fault-points` they are nothing. With it, `WATERMILL_FAULT=state-written:3` aborts the process when it passes
//! the step `state-written` for the third time.

/// Marks a step at which a test can make the process die.
macro_rules! fault_point {
    ($name:literal) => {
        #[cfg(feature = "fault-points")]
        $crate::fault::pass($name);
    };
}

pub(crate) use fault_point;

/// Every step that has a label, in the order in which a run passes them.
#[cfg(feature = "fault-points")]
pub const FAULT_POINTS: [&str; 16] = [
    "outputs-open",
    "cut",
    "flush",
    "written",
    "flushed",
    "synced",
    "between-flushes",
    "state-created",
    "state-written",
    "state-renamed",
    "appending",
    "appended",
    "publish",
    "published",
    "remove-state",
    "state-removed",
];

/// The process is at the step `name`.
#[cfg(feature = "fault-points")]
pub(crate) fn pass(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    debug_assert!(FAULT_POINTS.contains(&name), "the step `{name}` is not listed");
    let wanted = WANTED.get_or_init(|| {
        let wanted = std::env::var("WATERMILL_FAULT").ok()?;
        let (step, pass) = wanted.split_once(':')?;
        Some((step.to_owned(), pass.parse().ok()?))
    });
    if let Some((step, pass)) = wanted
        && step == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *pass
    {
        std::process::abort();
    }
}
