//! Testing one's own functions: a mill that is fed record by record.
//!
//! [`TestMill`] runs a mill without a broker or a file, and its clock stands still until it is moved. Feed records, let it run until it waits, look at the results, at what
//! was skipped and unmatched, and at the position that each stream would commit.
//!
//! ```
//! # extern crate watermill_core as watermill;
//! use watermill::prelude::*;
//! use watermill::testing::{State, TestMill};
//! # use watermill_derive::StreamRecord;
//!
//! #[derive(StreamRecord)]
//! struct Audio { frame: i64 }
//! #[derive(StreamRecord)]
//! struct Video { frame: i64 }
//! #[derive(StreamRecord, Debug, PartialEq)]
//! struct Both { frame: i64, pictures: usize }
//!
//! fn both(audio: &Audio, video: &Joined<Audio, Video>) -> Both {
//!     Both { frame: audio.frame, pictures: video[audio].len() }
//! }
//!
//! let mill = Mill::new(both).join(JoinWith::new(Audio::fields().frame, Video::fields().frame));
//! let mut test = TestMill::new(mill)?;
//!
//! test.feed(Audio { frame: 1 });
//! test.feed_all([Video { frame: 1 }, Video { frame: 1 }]);
//! // Frame 1 may have more pictures: a group is complete when a greater key has been seen.
//! assert_eq!(test.run()?, State::Waiting("Video".to_owned()));
//! assert!(test.results::<Both>().is_empty());
//!
//! test.feed(Video { frame: 2 });
//! test.run()?;
//! assert_eq!(test.results::<Both>(), [Both { frame: 1, pictures: 2 }]);
//! // Audio 0 is done with. The pictures of frame 1 are kept: another master with this key may come.
//! assert_eq!((test.position::<Audio>(), test.position::<Video>()), (1, 0));
//!
//! test.end::<Audio>();
//! assert_eq!(test.run()?, State::Ended);
//! assert_eq!(test.input::<Video>().map(|input| (input.matched, input.unmatched)), Some((2, 1)));
//! # Ok::<(), watermill::RunError>(())
//! ```

mod drive;
mod mill;

pub use drive::{Driven, drive};
pub use mill::TestMill;

/// Where a run of a [`TestMill`] came to.
///
/// ```
/// # extern crate watermill_core as watermill;
/// # use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # use watermill::testing::{State, TestMill};
/// # #[derive(StreamRecord)] struct Number { value: i64 }
/// let mut test = TestMill::new(Mill::new(|_: &Number| ()))?;
/// assert_eq!(test.run()?, State::Waiting("Number".to_owned()));
/// test.end::<Number>();
/// assert_eq!(test.run()?, State::Ended);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for the next record of this stream, or for its end.
    Waiting(String),
    /// It reads no more until one of so many calls is finished by its `Ack`.
    Unfinished(u64),
    /// It has ended.
    Ended,
}
