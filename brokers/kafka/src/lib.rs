//! Watermill's broker for Apache Kafka: [`KafkaBroker`].
//!
//! From the outside in:
//! - `broker.rs`, `settings.rs`, `result_topic.rs`, `message.rs`, `options.rs`: what users build.
//! - `plan.rs` → `session.rs`: a run; `topics.rs` looks up what there is, `membership.rs` is this process's place in the group, from which its `lanes.rs` come.
//! - `fetch.rs` → `source.rs`: from partitions to records.
//! - `sink.rs` → `outbox.rs` → `producer.rs` → `transaction.rs`: from results to messages, within transactions (and `offsets_caller.rs`).
//! - `committer.rs` → `group.rs` → `offset_metadata.rs`: from a checkpoint to offsets, and back; `hanging.rs`: what the servers have left undecided.
//! - `marks.rs`: EndOfStream of lanes that write to each other's partitions. `partitioner.rs`: where keys belong.
//! - `native.rs`: many messages in one call, the only module with `unsafe`.
//! - `topic_ends.rs`: topics that one mark ends. `sample.rs`: whether topics have the same partitioner. Both look aside by `peek.rs`.
//! - `context.rs`, `failure.rs`: what the client library tells; `closing.rs`: the end of its clients. `fault.rs`: where tests kill.

mod broker;
mod closing;
mod committer;
mod context;
mod failure;
mod fault;
mod fetch;
mod group;
mod hanging;
mod lanes;
mod marks;
mod membership;
mod message;
mod native;
mod offset_metadata;
mod offsets_caller;
mod options;
mod outbox;
mod partitioner;
mod peek;
mod plan;
mod producer;
mod result_topic;
mod sample;
mod session;
mod settings;
mod sink;
mod source;
mod topic_ends;
mod topics;
mod transaction;
#[cfg(test)]
mod transaction_errors;

pub use broker::KafkaBroker;
#[cfg(feature = "fault-points")]
#[doc(hidden)]
pub use fault::FAULT_POINTS;
pub use message::KafkaMessage;
pub use partitioner::murmur2_partition;
pub use result_topic::ResultTopic;
