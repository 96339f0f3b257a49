//! What is to be seen of a mill that is fed: results, positions, accounts.

use std::sync::{Arc, Mutex};

use super::TestMill;
use crate::broker::feed::lock;
use crate::last_call::LastCall;
use crate::record::{RecordType, StreamRecord};
use crate::report::{InputReport, RunReport};

impl TestMill {
    /// Takes the results of type `R` that were written since the last time. Bad records that were put aside are those of type
    /// [`DeadLetter`](crate::DeadLetter).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::{State, TestMill}};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # #[derive(StreamRecord)] struct Half { value: i64 }
    /// # let mut test = TestMill::new(Mill::new(|number: &Number| Half { value: number.value / 2 }))?;
    /// test.feed(Number { value: 4 });
    /// test.run()?;
    /// assert_eq!((test.results::<Half>().len(), test.results::<Half>().len()), (1, 0));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn results<R: StreamRecord>(&mut self) -> Vec<R> {
        let record = RecordType::of::<R>();
        self.ports
            .iter()
            .find(|(port, _)| *port == record)
            .and_then(|(_, kept)| kept.downcast_ref::<Arc<Mutex<Vec<R>>>>())
            .map(|kept| std::mem::take(&mut *lock(kept)))
            .unwrap_or_default()
    }

    /// The index of the first record of `R` that a commit would still hold back: all before it are finished.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::{State, TestMill}};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # #[derive(StreamRecord)] struct Half { value: i64 }
    /// # let mut test = TestMill::new(Mill::new(|number: &Number| Half { value: number.value / 2 }))?;
    /// test.feed_all([1, 2].map(|value| Number { value }));
    /// test.run()?;
    /// assert_eq!(test.position::<Number>(), 2);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn position<R: StreamRecord>(&self) -> u64 {
        self.position_of::<R>(None)
    }

    /// As [`position`](TestMill::position), of the stream of this name.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::TestMill};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sound { frame: u32 }
    /// # #[derive(StreamRecord)] struct Picture { frame: u32 }
    /// # let join = JoinWith::new(Sound::fields().frame, Picture::fields().frame).from("left");
    /// # let mut test = TestMill::new(Mill::new(|_: &Sound, _: &Joined<Sound, Picture>| ()).join(join))?;
    /// test.feed(Sound { frame: 2 });
    /// test.feed_as("left", Picture { frame: 1 });
    /// test.feed_as("left", Picture { frame: 2 });
    /// test.run()?;
    /// // The picture of frame 1 matches nothing any more; that of frame 2 may.
    /// assert_eq!(test.position_as::<Picture>("left"), 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn position_as<R: StreamRecord>(&self, name: &str) -> u64 {
        self.position_of::<R>(Some(name))
    }

    /// What a commit would record of the mill's window, where positions alone do not say it: see
    /// [`Checkpoint::window`](crate::broker::Checkpoint::window).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill::testing::TestMill;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { time: i64 }
    /// # #[derive(StreamRecord, Debug, PartialEq)] struct Count { readings: usize }
    /// let mill = || {
    ///     let count = |readings: &[Reading]| Count { readings: readings.len() };
    ///     Mill::new(count).window(Window::fixed(60).with_empty().by(Reading::fields().time))
    /// };
    /// let mut test = TestMill::new(mill())?;
    /// test.feed_all([Reading { time: 0 }, Reading { time: 150 }]);
    /// test.run()?;
    /// assert_eq!(test.results::<Count>(), [1, 0].map(|readings| Count { readings }));
    /// assert_eq!(test.position::<Reading>(), 1);
    ///
    /// // The empty window is not there a second time.
    /// let mut test = TestMill::going_on(mill(), test.window())?;
    /// test.feed(Reading { time: 150 });
    /// test.end::<Reading>();
    /// test.run()?;
    /// assert_eq!(test.results::<Count>(), [Count { readings: 1 }]);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn window(&self) -> Option<String> {
        self.control.watch().window.clone()
    }

    /// The accounting of the stream of `R`: matched, unmatched, skipped, pending. `None` when the mill has no such stream.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::{State, TestMill}};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # #[derive(StreamRecord)] struct Half { value: i64 }
    /// # let mut test = TestMill::new(Mill::new(|number: &Number| Half { value: number.value / 2 }))?;
    /// test.feed(Number { value: 1 });
    /// test.run()?;
    /// assert_eq!(test.input::<Number>().map(|input| (input.records, input.matched)), Some((1, 1)));
    /// assert!(test.input::<Half>().is_none());
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn input<R: StreamRecord>(&self) -> Option<InputReport> {
        self.input_of::<R>(None)
    }

    /// As [`input`](TestMill::input), of the stream of this name.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::TestMill};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sound { frame: u32 }
    /// # #[derive(StreamRecord)] struct Picture { frame: u32 }
    /// # let join = JoinWith::new(Sound::fields().frame, Picture::fields().frame).from("left");
    /// # let mut test = TestMill::new(Mill::new(|_: &Sound, _: &Joined<Sound, Picture>| ()).join(join))?;
    /// test.feed(Sound { frame: 2 });
    /// test.feed_as("left", Picture { frame: 1 });
    /// test.feed_as("left", Picture { frame: 2 });
    /// test.run()?;
    /// assert_eq!(test.input_as::<Picture>("left").map(|input| input.unmatched), Some(1));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn input_as<R: StreamRecord>(&self, name: &str) -> Option<InputReport> {
        self.input_of::<R>(Some(name))
    }

    /// The report of the run, once it has ended.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::{State, TestMill}};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # #[derive(StreamRecord)] struct Half { value: i64 }
    /// # let mut test = TestMill::new(Mill::new(|number: &Number| Half { value: number.value / 2 }))?;
    /// test.feed(Number { value: 1 });
    /// test.run()?;
    /// assert!(test.report().is_none());
    /// test.end::<Number>();
    /// test.run()?;
    /// assert_eq!(test.report().map(|report| report.results), Some(1));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> Option<&RunReport> {
        self.report.as_ref()
    }

    /// What the last call was given, of a mill with [`checkpoint`](crate::Mill::checkpoint).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill::testing::TestMill;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// let mut test = TestMill::new(Mill::new(|_: &Number| ()).checkpoint())?;
    /// for value in 0..5 {
    ///     test.feed(Number { value });
    ///     test.run()?;
    ///     let call = test.checkpoint().expect("a call was made");
    ///     assert_eq!(call.master::<Number>().map(|number| number.value), Some(value));
    /// }
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn checkpoint(&self) -> Option<LastCall> {
        self.control.last_call()
    }
    fn position_of<R: StreamRecord>(&self, name: Option<&str>) -> u64 {
        let watch = self.control.watch();
        self.index::<R>(name).and_then(|index| watch.positions.get(index)).map_or(0, |position| position.next)
    }

    fn input_of<R: StreamRecord>(&self, name: Option<&str>) -> Option<InputReport> {
        let index = self.index::<R>(name)?;
        match &self.report {
            Some(report) => report.inputs.get(index).cloned(),
            None => self.control.watch().inputs.get(index).cloned(),
        }
    }
}
