//! Nothing but a place for `tests/ui.rs`.
