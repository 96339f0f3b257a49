//! Windows over records that are in memory already. Making them does not count.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use watermill::broker::BoxFuture;
use watermill::clock::Clock;
use watermill::prelude::*;

use super::Job;
use crate::Failure;
use crate::measure::Outcome;
use crate::records::RobotLocation;

/// Masters of a window; of relaxed ones, those that arrive between two of them.
const IN_WINDOW: usize = 10;

fn locations(count: u64) -> Vec<RobotLocation> {
    (0..count as i64).map(|time| RobotLocation { time, x: time as f64, y: 0.0 }).collect()
}

fn sum(window: &[RobotLocation]) {
    black_box(window.iter().map(|location| location.x).sum::<f64>());
}

/// The loop one would write. The unit is a record, as of the mills.
pub(crate) fn chunks(job: &Job) -> Result<Outcome, Failure> {
    let all = locations(job.size);
    Outcome::timed(|| {
        all.chunks(IN_WINDOW).for_each(sum);
        Ok((all.len() as u64, 0))
    })
}

pub(crate) fn overlapping_chunks(job: &Job) -> Result<Outcome, Failure> {
    let all = locations(job.size);
    Outcome::timed(|| {
        all.windows(IN_WINDOW).step_by(IN_WINDOW / 5).for_each(sum);
        Ok((all.len() as u64, 0))
    })
}

fn run(mill: Mill<RobotLocation>, broker: MemoryBroker) -> Result<Outcome, Failure> {
    Outcome::timed(|| {
        let report = mill.run_blocking(broker)?;
        Ok((report.inputs[0].matched, 0))
    })
}

pub(crate) fn count(job: &Job) -> Result<Outcome, Failure> {
    let broker = MemoryBroker::new().read(locations(job.size));
    run(Mill::new(sum).window(Window::count(IN_WINDOW)), broker)
}

pub(crate) fn fixed(job: &Job) -> Result<Outcome, Failure> {
    let broker = MemoryBroker::new().read(locations(job.size));
    run(Mill::new(sum).window(Window::fixed(IN_WINDOW as i64).by(RobotLocation::fields().time)), broker)
}

pub(crate) fn sliding(job: &Job) -> Result<Outcome, Failure> {
    let broker = MemoryBroker::new().read(locations(job.size));
    let window = Window::sliding(IN_WINDOW as i64, IN_WINDOW as i64 / 5).by(RobotLocation::fields().time);
    run(Mill::new(sum).window(window), broker)
}

/// A clock on which a microsecond passes whenever it is looked at, so that each batch comes in another window: as if ten million
/// records came in a second.
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn sleep_until(&self, _: SystemTime) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// Ten records arrive, then the window closes: each of them is a batch of its own.
pub(crate) fn relaxed(job: &Job) -> Result<Outcome, Failure> {
    let broker = MemoryBroker::new().read(locations(job.size)).batch(IN_WINDOW);
    let window = Window::relaxed(Duration::from_micros(1));
    let mill = Mill::new(sum).window(window).clock(Ticking(AtomicU64::new(0)));
    run(mill.commit_every(Duration::from_secs(100_000)), broker)
}
