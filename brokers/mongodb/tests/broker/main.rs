//! The broker over a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod bad_documents;
mod conformance;
mod errors;
mod lanes;
mod oracle;
mod resume;
mod security;
mod types;
mod watching;
mod writing;
