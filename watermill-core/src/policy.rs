//! What is done with bad records.

/// What is done with a record that cannot be used: it does not decode, or its keys break the rules.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct A { key: i64 }
/// #[derive(StreamRecord)]
/// struct B { key: i64 }
///
/// // The second key goes down.
/// let broker = || MemoryBroker::new().read([5, 3, 7].map(|key| A { key }).into()).read(vec![B { key: 5 }]);
/// let mill = || Mill::new(|_: &A| ()).join(JoinWith::new(A::fields().key, B::fields().key).unmatched());
/// assert!(mill().run_blocking(broker()).is_err());
/// let report = mill().on_bad::<A>(OnBad::Skip).run_blocking(broker())?;
/// assert_eq!((report.inputs[0].skipped, report.calls), (1, 1));
///
/// use watermill::DeadLetter;
/// let letters = Collected::<DeadLetter>::new();
/// mill().on_bad::<A>(OnBad::DeadLetter).run_blocking(broker().write(&letters))?;
/// assert_eq!(letters.take()[0].kind, "key_went_down");
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnBad {
    /// The run stops with the error; nothing is lost, and a restart stops at the same record.
    #[default]
    Fail,
    /// The record is left out, counted in the report, and logged as a warning. Input that is cut, or whose structure is
    /// broken, still stops the run: what stands behind it cannot be known.
    Skip,
    /// The record is put aside as a [`DeadLetter`](crate::DeadLetter), with its raw bytes and where it stood, and counted in the report. Letters are
    /// a stream of their own, which needs a place: `.write::<DeadLetter>(..)` on the broker. They become durable together
    /// with the results, each exactly once, also over restarts. Input that is cut, or whose structure is broken, still stops the run.
    DeadLetter,
}
