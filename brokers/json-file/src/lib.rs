//! JSON files.
