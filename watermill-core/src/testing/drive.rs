//! A whole run as one future: for simulations.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::broker::Broker;
use crate::error::RunError;
use crate::handle::{Control, MillControl};
use crate::mill::Mill;
use crate::record::StreamRecord;
use crate::report::RunReport;

/// A run over a broker as one future, from [`drive`].
///
/// ```
/// # extern crate watermill_core as watermill;
/// use std::task::{Context, Poll, Waker};
/// use watermill::prelude::*;
/// use watermill::testing::drive;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Number { value: i64 }
/// let mut run = drive(Mill::new(|_: &Number| ()), MemoryBroker::new().read(vec![Number { value: 1 }]))?;
/// let control = run.control();
/// // Memory is always ready, so the first poll comes to the end.
/// let polled = Pin::new(&mut run).poll(&mut Context::from_waker(Waker::noop()));
/// # use std::{future::Future, pin::Pin};
/// assert!(matches!(polled, Poll::Ready(Ok(report)) if report.calls == 1));
/// assert_eq!(control.watch().commits, 1);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[must_use = "nothing happens unless it is polled"]
pub struct Driven {
    run: Pin<Box<dyn Future<Output = Result<RunReport, RunError>>>>,
    control: Arc<Control>,
}

impl Driven {
    /// Stops and watches the run.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::drive, EndReason};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # let broker = MemoryBroker::new().read(vec![Number { value: 1 }]);
    /// let run = drive(Mill::new(|_: &Number| ()), broker)?;
    /// run.control().stop();
    /// let report = tokio::runtime::Builder::new_current_thread().build()?.block_on(run)?;
    /// assert_eq!(report.end, EndReason::Stopped);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn control(&self) -> MillControl {
        MillControl(Arc::clone(&self.control))
    }
}

impl Future for Driven {
    type Output = Result<RunReport, RunError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.run.as_mut().poll(context)
    }
}

/// Runs a mill over a broker within the future that is returned: where [`Mill::start`] starts a thread, here everything happens while the
/// caller polls. On a [`ManualClock`](crate::clock::ManualClock), with a broker that draws its delays and failures from a seed, a run can be repeated exactly;
/// dropping the future is what a crash is. It needs no runtime unless the function does.
///
/// [`Mill::workers`] still calls the function on threads. [`Mill::fail_without_commit`], signals and the progress bar, which need a
/// thread of their own, are left out.
///
/// # Errors
/// [`RunError`]: the mill cannot be built.
///
/// ```
/// # extern crate watermill_core as watermill;
/// # use watermill::prelude::*;
/// # use watermill::testing::drive;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Number { value: i64 }
/// # let broker = MemoryBroker::new().read(vec![Number { value: 1 }]);
/// let run = drive(Mill::new(|_: &Number| ()), broker)?;
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// assert_eq!(runtime.block_on(run)?.calls, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn drive<M: StreamRecord>(mill: Mill<M>, broker: impl Broker) -> Result<Driven, RunError> {
    let control = Arc::new(Control::default());
    let run = mill.run_within(Box::new(broker), Arc::clone(&control))?;
    Ok(Driven { run: Box::pin(run), control })
}
