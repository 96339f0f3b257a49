//! Named streams: append here, consume windows there.
//!
//! A stream has a name. It is there from the first time somebody asks for it, and outlives all who append to it and consume it, which run anywhere: in threads, in other
//! processes, today and tomorrow.
//!
//! ```
//! # extern crate watermill_core as watermill;
//! use watermill::prelude::*;
//! use watermill_streams::Streams;
//! # use serde::{Deserialize, Serialize};
//! # use watermill_derive::StreamRecord;
//!
//! #[derive(Serialize, Deserialize, StreamRecord)]
//! struct Reading { celsius: f64 }
//! #[derive(Serialize, Deserialize, StreamRecord)]
//! struct Mean { celsius: f64 }
//!
//! // In a file: `sqlite:watermill.db`.
//! let streams = Streams::open("memory:")?;
//! let readings = streams.stream::<Reading>("readings")?;
//! let means = streams.stream::<Mean>("means")?;
//! for celsius in [20.0, 21.0, 25.0, 27.0] {
//!     readings.append(&Reading { celsius })?;
//! }
//! readings.close()?;
//!
//! let mean = |all: &[Reading]| Mean { celsius: all.iter().map(|one| one.celsius).sum::<f64>() / all.len() as f64 };
//! Mill::new(mean).window(Window::count(2)).run_blocking(readings.consumer().write(&means))?;
//! let all: Result<Vec<f64>, _> = means.buffer()?.iter().map(|mean| mean.get::<Mean>().map(|mean| mean.celsius)).collect();
//! assert_eq!(all?, [20.5, 26.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From the outside in:
//! - `streams.rs`, `stream.rs`, `looking.rs`, `message.rs`, `info.rs`, `appender.rs`: what users have in their hands. `append_queue.rs`: appends of many threads in one commit.
//! - `consumer.rs`, `once.rs`: a stream as a broker. `session.rs`: a run; `lane.rs` is what a lane has in its hands, `reader.rs` reads, `decode.rs` makes
//!   records, `sink.rs` and `committer.rs` write, `keeper.rs` renews leases.
//! - `ledger/`: what streams promise, as changes of rows. `store/`: where the rows are.

mod append_queue;
mod appender;
mod background;
mod committer;
mod consumer;
mod decode;
mod error;
mod hub;
mod info;
mod keeper;
mod lane;
mod ledger;
mod looking;
mod message;
mod name;
mod once;
mod reader;
mod session;
mod sink;
pub mod source;
pub mod store;
mod stream;
mod streams;
mod worker;

pub use appender::Appender;
pub use background::{Background, BackgroundStatus, Kind, State};
pub use consumer::{Consumer, IntoConsumer};
pub use error::StreamsError;
pub use info::{Status, StreamInfo, SubscriptionInfo};
pub use message::{KeptWindow, Message, MessageState};
pub use once::RunOnce;
pub use stream::Stream;
pub use streams::Streams;
