//! Watermill joins and windows typed record streams.
//!
//! Declare structs, write one plain function whose argument types say what is joined to what, and run it unchanged over
//! JSON files on a laptop, over vectors in a unit test, and (to come) over Kafka and MongoDB.
//!
//! ```
//! use watermill::prelude::*;
//!
//! #[derive(StreamRecord)]
//! struct Location { time: i64, x: f64 }
//!
//! /// The same data seen a second time: a self-join needs its own type.
//! #[derive(StreamRecord)]
//! struct Next { time: i64, x: f64 }
//!
//! #[derive(Debug, PartialEq, StreamRecord)]
//! struct Speed { time: i64, speed: f64 }
//!
//! fn speed(here: &Location, next: &Joined<Location, Next>) -> Speed {
//!     Speed { time: here.time, speed: (next[here][0].x - here.x) / 10.0 }
//! }
//!
//! let speeds = Collected::<Speed>::new();
//! let broker = MemoryBroker::new()
//!     .read(vec![Location { time: 0, x: 1.0 }, Location { time: 10, x: 6.0 }])
//!     .read(vec![Next { time: 0, x: 1.0 }, Next { time: 10, x: 6.0 }])
//!     .write(&speeds);
//!
//! Mill::new(speed)
//!     .join(JoinWith::new(Location::fields().time + 10, Next::fields().time))
//!     .run_blocking(broker)?;
//! assert_eq!(speeds.take(), [Speed { time: 0, speed: 0.5 }]);
//! # Ok::<(), watermill::RunError>(())
//! ```
//!
//! # A guided tour
//!
//! | to learn about | read |
//! |---|---|
//! | records and the derive | [`StreamRecord`](record::StreamRecord), [`Json`](record::Json) |
//! | the function: its parameters and what it returns | [`function`], [`Joined`], [`Group`] |
//! | keys: expressions over fields, closures | [`key`] |
//! | joins: how rows match, what is kept | [`JoinWith`] |
//! | windows | [`Window`](window::Window) |
//! | putting it together and running it | [`Mill`], [`RunReport`] |
//! | what can go wrong, and what is done about it | [`BuildError`], [`RunError`], [`BadRecord`], [`OnBad`], [`DeadLetter`] |
//! | JSON files | [`JsonFileBroker`] |
//! | tests of one's own functions | [`testing`], [`MemoryBroker`](broker::memory::MemoryBroker) |
//! | writing a broker | [`broker`] |

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub use watermill_core::*;
pub use watermill_derive::{StreamKey, StreamRecord};

#[cfg(feature = "json-file")]
#[doc(inline)]
pub use watermill_json_file::{self as json_file, JsonFileBroker};
#[cfg(feature = "kafka")]
#[doc(inline)]
pub use watermill_kafka::{self as kafka, KafkaBroker};
#[cfg(feature = "mongodb")]
#[doc(inline)]
pub use watermill_mongodb::{self as mongodb, MongoBroker};

#[cfg(feature = "streams")]
#[doc(inline)]
pub use watermill_streams::{self as streams, Streams};

/// Everything a mill is written with, in one import.
pub mod prelude {
    pub use watermill_core::prelude::*;
    pub use watermill_derive::{StreamKey, StreamRecord};

    #[cfg(feature = "json-file")]
    pub use watermill_json_file::JsonFileBroker;
    #[cfg(feature = "kafka")]
    pub use watermill_kafka::KafkaBroker;
    #[cfg(feature = "mongodb")]
    pub use watermill_mongodb::MongoBroker;
    #[cfg(feature = "streams")]
    pub use watermill_streams::{RunOnce, Stream, Streams};

    #[doc(no_inline)]
    pub use serde::{Deserialize, Serialize};
}

/// Runs the code in the README as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
