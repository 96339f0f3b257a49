//! The same by a mill.

use watermill::prelude::*;

use crate::records::{Here, LATER, Next, speed};
use crate::{Failure, Job};

pub(crate) fn run(job: &Job, exactly_once: bool) -> Result<(), Failure> {
    let broker = MongoBroker::new(&job.uri, &job.database)
        .read::<Here>("here")
        .read::<Next>("next")
        .write::<crate::records::Speed>(job.to.as_str());
    let broker = if exactly_once { broker } else { broker.without_transactions() };
    Mill::new(|here: &Here, next: &Joined<Here, Next>| speed(here, &next[here][0]))
        .join(JoinWith::new(Here::fields().time + LATER, Next::fields().time))
        .run_blocking(broker)?;
    Ok(())
}
