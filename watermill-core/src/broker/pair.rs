//! Two brokers as one.

use super::Broker;

/// Combining brokers.
pub trait BrokerExt: Broker + Sized {}

impl<B: Broker> BrokerExt for B {}
