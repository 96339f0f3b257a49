//! The real servers that tests talk to: installed, started, watched and stopped, so that `cargo test --workspace` needs nothing else.
//!
//! ```no_run
//! use watermill_servers::Kafka;
//!
//! let kafka = Kafka::shared()?;
//! let orders = kafka.fresh_topic("orders", 4)?;
//! println!("{orders} at {}", kafka.bootstrap());
//! # Ok::<(), watermill_servers::ServerError>(())
//! ```
//!
//! [`Kafka::shared`] is one broker for all tests of a process; [`Kafka::start`] gives one, or a cluster, that belongs to a test and may be
//! killed. Servers listen on the loopback interface only. Downloads and data are below `servers/` in the target directory. A server ends with
//! the process that started it, also when that is killed by `kill -9` (see `src/supervise.rs`), and its data is removed then.
//!
//! [`Mongo`] is the same for MongoDB's protocol.
//!
//! [`python_watermill`] is Python's watermill, and [`python_minibatch`] its minibatch, to talk to: no servers, but installed with the same care.
//!
//! Another kind of server is a module of its own beside [`kafka`], on the same footing: `src/place.rs` (directories and locks),
//! `src/ports.rs`, `src/supervise.rs`, and for those written in Java `src/java.rs` and `src/install.rs`.

mod error;
mod install;
mod java;
pub mod kafka;
pub mod mongodb;
mod place;
mod ports;
mod python;
mod supervise;

pub use error::ServerError;
pub use kafka::{Kafka, KafkaOptions};
pub use mongodb::{Mongo, MongoOptions};
pub use python::{python_minibatch, python_watermill};
