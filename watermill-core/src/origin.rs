//! Where records come from.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a batch was read from: one file, or one partition of a topic.
///
/// ```
/// use watermill_core::broker::Origin;
///
/// let file = Origin::File { path: "data/flights.ndjson".to_owned() };
/// let part = Origin::Topic { topic: "flights".to_owned(), partition: 3 };
/// assert_eq!(file.to_string(), "file `data/flights.ndjson`");
/// assert_eq!(part.to_string(), "topic `flights`, partition 3");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A file (or `-` for standard input); offsets are bytes, of the decompressed text where it is compressed.
    File {
        /// The path as it was given, or as it was found.
        path: String,
    },
    /// A partition of a topic.
    Topic {
        /// Its name.
        topic: String,
        /// Which partition.
        partition: i32,
    },
    /// A collection of a database.
    Collection {
        /// Its name.
        name: String,
    },
    /// A named stream; offsets are the numbers of its messages.
    Stream {
        /// Its name.
        name: String,
    },
    /// Memory; offsets are indexes.
    Memory,
    /// The results of this mill, which have no place yet; offsets are the numbers of the results of one type in a run.
    Results,
}

impl Origin {
    /// The part of a stream that it is, as positions call it.
    pub(crate) fn part(&self) -> &str {
        match self {
            Self::File { path } => path,
            _ => "",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path } => write!(f, "file `{path}`"),
            Self::Topic { topic, partition } => write!(f, "topic `{topic}`, partition {partition}"),
            Self::Collection { name } => write!(f, "collection `{name}`"),
            Self::Stream { name } => write!(f, "stream `{name}`"),
            Self::Memory => f.write_str("memory"),
            Self::Results => f.write_str("the results"),
        }
    }
}

/// Where a record stands in its stream's storage.
///
/// ```
/// use std::sync::Arc;
/// use watermill_core::{broker::Origin, error::RecordPlace};
///
/// let origin = Arc::new(Origin::File { path: "data/flights.ndjson".to_owned() });
/// let place = RecordPlace { origin, offset: 512, number: 7 };
/// assert_eq!(place.to_string(), "file `data/flights.ndjson`, byte 512, record 7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPlace {
    /// The file or partition.
    pub origin: Arc<Origin>,
    /// Byte offset in a file, offset in a partition, index in memory.
    pub offset: u64,
    /// The number of the record within its origin, from 0.
    pub number: u64,
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.origin {
            origin @ Origin::File { .. } => {
                write!(f, "{origin}, byte {}, record {}", self.offset, self.number)
            }
            origin @ Origin::Stream { .. } => write!(f, "{origin}, message {}", self.offset),
            Origin::Memory => write!(f, "record {}", self.offset),
            Origin::Results => write!(f, "result {}", self.offset),
            origin => write!(f, "{origin}, offset {}", self.offset),
        }
    }
}
