//! JSON files as a broker of [watermill](https://docs.rs/watermill): arrays and NDJSON, plain or compressed.
//!
//! Everything users need is [`JsonFileBroker`]. Inside, from the outside in:
//! - `broker`: what is declared; `growing`: files that grow; `options`: what is set for all files; `conflicts`: declarations that contradict each other;
//!   `location`: from a path to files;
//! - `session`: one run, its sources and sinks;
//! - reading: `text` (a file's text, decompressed) is cut by a `framer` (`cut_lines`, `cut_elements` with `array_scan`) into
//!   `chunk`s at record boundaries; `shared` lets several streams use one reading; `source` has a few chunks decoded (`decode`) at once
//!   on other threads and hands them over in order; `excerpt` is what messages show of a record;
//! - files that are followed (`follow`): a `watcher` looks at each; `generation`s are the files that had the name, told apart by `rotation`;
//!   the `follow_framer` cuts their text;
//! - `resume` takes up where an earlier run stopped;
//! - writing: `sink` formats on a thread of its own into an `output_text`, which goes to a `partial_file`; `committer` makes all of
//!   them durable, records how far that is in the `state_file` (where it can, while the run goes on: `deferred`), and gives them their names in the end, or lets them grow under their
//!   names (`appended`); `fault` are the steps at which tests make a commit die.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod appended;
mod array_scan;
mod broker;
mod chunk;
mod committer;
mod conflicts;
mod cut_elements;
mod cut_lines;
mod decode;
mod deferred;
mod early_sync;
mod excerpt;
mod failure;
mod fault;
mod follow;
mod follow_framer;
mod followed_input;
mod format;
mod framer;
mod generation;
mod growing;
mod lanes;
mod location;
mod options;
mod output_text;
mod partial_file;
mod resume;
mod rotation;
mod session;
mod shared;
mod sink;
mod source;
mod standard_input;
mod state_file;
mod text;
mod watcher;
mod zstd_text;

pub use broker::JsonFileBroker;
#[cfg(feature = "fault-points")]
#[doc(hidden)]
pub use fault::FAULT_POINTS;
pub use follow::Follow;
pub use format::Format;
