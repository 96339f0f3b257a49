//! What an app tells, as JSON. Times are milliseconds since the Unix epoch.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{AppStatus, failing};
use crate::background::BackgroundStatus;
use crate::info::{Status, StreamInfo, SubscriptionInfo};
use crate::streams::milliseconds;

pub(super) fn status(app: &AppStatus) -> Value {
    json!({
        "stopping": app.stopping,
        "healthy": app.is_healthy(),
        "started": milliseconds(app.started),
        "uptime_seconds": SystemTime::now().duration_since(app.started).unwrap_or_default().as_secs(),
        "parts": app.parts.iter().map(part).collect::<Vec<_>>(),
        "streams": app.streams.iter().map(stream).collect::<Vec<_>>(),
    })
}

pub(super) fn health(parts: &[BackgroundStatus]) -> Value {
    let failing: Vec<&str> = failing(parts).map(|part| part.name.as_str()).collect();
    json!({ "healthy": failing.is_empty(), "failing": failing })
}

fn part(part: &BackgroundStatus) -> Value {
    json!({
        "name": part.name,
        "kind": part.kind.as_str(),
        "state": part.state.as_str(),
        "since": milliseconds(part.since),
        "restarts": part.restarts,
        "last_error": part.last_error,
        "last_failure": part.last_failure.map(milliseconds),
        "appended": part.appended,
        "calls": part.calls,
        "retries": part.retries,
        "given_up": part.given_up,
        "records": part.records,
        "results": part.results,
        "commits": part.commits,
        "last_commit": part.last_commit.map(milliseconds),
        "waiting_for": part.waiting_for,
    })
}

fn stream(stream: &StreamInfo) -> Value {
    json!({
        "name": stream.name,
        "status": match stream.status {
            Status::Open => "open",
            Status::Closed => "closed",
            Status::Processed => "processed",
        },
        "created": milliseconds(stream.created),
        "appended": stream.appended,
        "waiting": stream.waiting,
        "refused": stream.refused,
        "last_read": stream.last_read.map(milliseconds),
        "subscriptions": stream.subscriptions.iter().map(subscription).collect::<Vec<_>>(),
    })
}

fn subscription(of: &SubscriptionInfo) -> Value {
    json!({
        "name": of.name,
        "lag": of.waiting,
        "claimed": of.claimed,
        "consumers": of.consumers,
        "processed": of.processed,
        "last_read": of.last_read.map(milliseconds),
        "ended": of.ended,
    })
}
