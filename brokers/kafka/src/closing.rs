//! The end of a client.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, ConsumerContext};

/// How often it is looked whether a client is closed: nothing tells.
const LOOK: Duration = Duration::from_millis(1);

/// How long a client that has left no group, or was never in one, may take.
const WITHIN: Duration = Duration::from_secs(2);

/// Closes a consumer that is about to be dropped. Dropping it would do so too, but looks only every tenth of a second whether it is done, and the
/// clients of a run are closed one behind the other.
pub(crate) fn close<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    close_within(consumer, Some(WITHIN));
}

/// As [`close`], however long it takes where there is no limit.
pub(crate) fn close_within<C: ConsumerContext>(consumer: &BaseConsumer<C>, limit: Option<Duration>) {
    if let Err(error) = consumer.close_queue() {
        tracing::debug!(target: "watermill", error = &error as &dyn std::error::Error, "not closed");
        return;
    }
    let begin = Instant::now();
    while !consumer.closed() && limit.is_none_or(|limit| begin.elapsed() < limit) {
        // What still comes is of no interest.
        drop(consumer.poll(LOOK));
    }
}
