//! Watermill's broker for MongoDB: [`MongoBroker`].
//!
//! From the outside in:
//! - `broker.rs`, `read_collection.rs`, `result_collection.rs`, `lane_rule.rs`, `options.rs`: what users build.
//! - `session.rs`: a run, `inputs.rs` what it reads. `driver.rs` is the client and its threads, `leases.rs` whose the lanes are.
//! - `fields.rs`, `order.rs`, `index.rs`: what is asked of the server, and in what order.
//! - `reader.rs` (collections) and `changes.rs` (what is there and then what changes; `change_stream.rs`, `at.rs`, `compare.rs`) → `documents.rs` → `source.rs`: from documents to records; `place.rs` finds them again.
//! - `sink.rs` → `outbox.rs` → `committer.rs`: from results to documents, together with `positions.rs`; `result_ids.rs` where there are no transactions.
//! - `uri.rs`, `failure.rs`, `patience.rs`: what the driver is told and tells, and how long that is borne. `fault.rs`: where tests kill.

mod at;
mod broker;
mod change_stream;
mod changes;
mod committer;
mod compare;
mod documents;
mod driver;
mod failure;
mod fault;
mod fields;
mod index;
mod inputs;
mod lane_rule;
mod leases;
mod options;
mod order;
mod outbox;
mod patience;
mod place;
mod positions;
mod read_collection;
mod reader;
mod result_collection;
mod result_ids;
mod session;
mod sink;
mod source;
mod uri;

pub use broker::MongoBroker;
#[cfg(feature = "fault-points")]
#[doc(hidden)]
pub use fault::FAULT_POINTS;
pub use lane_rule::Lanes;
pub use read_collection::{ReadCollection, WatchCollection};
pub use result_collection::ResultCollection;

/// The crate `bson`, as the driver has it: for filters, and for fields of records.
///
/// ```
/// use watermill_mongodb::bson::doc;
///
/// let filter = doc! { "robot": "R2" };
/// # assert_eq!(filter.len(), 1);
/// ```
pub use bson;
