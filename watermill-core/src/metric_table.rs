//! The metrics: their names, kinds and units, described to the recorder. The README has the same table.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Name, kind, unit, meaning.
const ALL: &[(&str, Kind, Unit, &str)] = &[
    ("watermill_calls_total", Counter, Unit::Count, "Calls that were done with, given up or not."),
    ("watermill_call_errors_total", Counter, Unit::Count, "Attempts of calls that failed."),
    ("watermill_call_retries_total", Counter, Unit::Count, "Attempts that were made again."),
    ("watermill_calls_given_up_total", Counter, Unit::Count, "Calls that failed for good and were left out."),
    ("watermill_call_duration_seconds", Histogram, Unit::Seconds, "How long calls took."),
    ("watermill_calls_in_flight", Gauge, Unit::Count, "Calls under way beside each other."),
    ("watermill_results_total", Counter, Unit::Count, "Results, committed or not."),
    ("watermill_records_read_total", Counter, Unit::Count, "Records read, bad ones included."),
    (
        "watermill_read_bytes_total",
        Counter,
        Unit::Bytes,
        "Encoded bytes of the records that could be decoded.",
    ),
    ("watermill_records_matched_total", Counter, Unit::Count, "Records that took part in a call."),
    ("watermill_records_unmatched_total", Counter, Unit::Count, "Records that took part in none."),
    ("watermill_records_skipped_total", Counter, Unit::Count, "Bad records that were left out."),
    ("watermill_records_dead_lettered_total", Counter, Unit::Count, "Bad records that were put aside."),
    ("watermill_records_late_total", Counter, Unit::Count, "Bad records that came when a join had gone on."),
    ("watermill_records_pending", Gauge, Unit::Count, "Records held for a later call."),
    ("watermill_lag_bytes", Gauge, Unit::Bytes, "Bytes still to be read, of files."),
    ("watermill_lag_records", Gauge, Unit::Count, "Records still to be read, where the storage counts them."),
    ("watermill_waiting", Gauge, Unit::Count, "1 for the stream that is waited for, 0 for the others."),
    ("watermill_waited_seconds_total", Counter, Unit::Seconds, "How long the stream was waited for."),
    ("watermill_commits_total", Counter, Unit::Count, "Commits."),
    ("watermill_commit_duration_seconds", Histogram, Unit::Seconds, "How long commits took."),
    (
        "watermill_last_commit_timestamp_seconds",
        Gauge,
        Unit::Seconds,
        "When the last commit was made, since 1970.",
    ),
];

/// Tells the recorder that is installed now.
pub(crate) fn describe() {
    for (name, kind, unit, text) in ALL {
        let (name, unit, text) = (*name, *unit, *text);
        match kind {
            Counter => describe_counter!(name, unit, text),
            Gauge => describe_gauge!(name, unit, text),
            Histogram => describe_histogram!(name, unit, text),
        }
    }
}
