//! Kafka, as tests get it: the shared broker, brokers that are killed, a cluster, listeners with TLS and SASL.
#![allow(clippy::unwrap_used, clippy::panic)]

mod failures;
mod groups;
mod origins;
mod records;
mod security;
mod topics;
