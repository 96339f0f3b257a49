//! What can be set about a broker, apart from its streams.

use std::time::Duration;

use watermill_core::error::BrokerError;

use crate::failure::{Told, failure};
use crate::lane_rule::Lanes;

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) uri: String,
    pub(crate) database: String,
    /// Under which name positions are kept; by default that of the first collection that is written.
    pub(crate) application: Option<String>,
    /// Collections that end get a mark.
    pub(crate) write_eos: bool,
    /// Indexes that are missing are made.
    pub(crate) create_indexes: bool,
    pub(crate) continue_after_eos: bool,
    pub(crate) start_over: bool,
    /// Results are written without transactions even where there are such.
    pub(crate) without_transactions: bool,
    pub(crate) retry_for: Duration,
    pub(crate) lanes: Option<Lanes>,
    pub(crate) most_lanes: Option<u32>,
    pub(crate) lease: Duration,
    /// So many bytes of results may wait for a commit before one is made early.
    pub(crate) most_uncommitted: usize,
}

impl Options {
    pub(crate) fn new(uri: String, database: String) -> Self {
        Self {
            uri,
            database,
            application: None,
            write_eos: false,
            create_indexes: false,
            continue_after_eos: false,
            start_over: false,
            without_transactions: false,
            retry_for: Duration::from_secs(120),
            lanes: None,
            most_lanes: None,
            lease: Duration::from_secs(10),
            most_uncommitted: 8 << 20,
        }
    }

    /// What contradicts itself, or cannot be.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        let refused = |what: &str, cause: &str| Err(failure("use", what, Told(cause.to_owned())));
        let illegal = |name: &str| {
            name.is_empty() || name.len() > 63 || name.contains(['/', '\\', '.', '"', '$', ' ', '\0'])
        };
        if illegal(&self.database) {
            return refused(
                &format!("the database `{}`", self.database),
                "that is no name of a database: up to 63 bytes, none of them `/`, `\\`, `.`, `\"`, `$` or a space",
            );
        }
        if self.application.as_ref().is_some_and(String::is_empty) {
            return refused("the application ``", "positions are kept under its name, so it needs one");
        }
        if self.lanes.is_some() && self.application.is_none() {
            return refused(
                "lanes",
                "processes that share lanes find each other by the name of their application: give it by `MongoBroker::application`",
            );
        }
        if self.lease < Duration::from_millis(100) {
            return refused(
                "the lease",
                "it is renewed three times while it lasts, so it takes 100 ms or more",
            );
        }
        match &self.lanes {
            Some(lanes) => lanes.check(),
            None => Ok(()),
        }
    }
}
