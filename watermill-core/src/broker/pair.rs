//! Two brokers as one: `a.and(b)`.

use std::time::Duration;

use super::{
    AnySource, BoxFuture, Broker, CallLog, Catalog, Checkpoint, Committer, Job, Lane, LaneOutputs, Ownership,
    Position, Session,
};
use crate::error::BrokerError;

/// Combining brokers.
///
/// ```
/// use watermill_core::prelude::*;
///
/// let events = MemoryBroker::new().read(vec![Json(serde_json::json!({"time": 1}))]);
/// let kept = Collected::<Json>::new();
/// let report = Mill::new(|event: &Json| event.clone()).run_blocking(events.and(MemoryBroker::new().write(&kept)))?;
/// assert_eq!((report.results, kept.take().len()), (1, 1));
/// # Ok::<(), watermill_core::RunError>(())
/// ```
pub trait BrokerExt: Broker + Sized {
    /// This broker and another one: each stream is read and written where it was declared.
    ///
    /// The broker that writes the results holds the positions of all inputs. Results of one mill that go to two brokers are
    /// refused when the run starts, since they could not be committed in one step.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord)] struct Price { id: u32 }
    /// let orders = MemoryBroker::new().read(vec![Order { id: 1 }]);
    /// let prices = MemoryBroker::new().read(vec![Price { id: 1 }]);
    /// let report = Mill::new(|_: &Order, prices: &Joined<Order, Price>| assert_eq!(prices.only().len(), 1))
    ///     .join(JoinWith::new(Order::fields().id, Price::fields().id))
    ///     .run_blocking(orders.and(prices))?;
    /// assert_eq!(report.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    fn and<B: Broker>(self, other: B) -> Pair<Self, B> {
        let name = format!("{} and {}", self.name(), other.name());
        Pair { first: self, second: other, name }
    }
}

impl<B: Broker> BrokerExt for B {}

/// Two brokers as one, from [`BrokerExt::and`].
///
/// ```
/// use watermill_core::broker::Pair;
/// use watermill_core::prelude::*;
///
/// fn storage(events: Vec<Json>, kept: &Collected<Json>) -> Pair<MemoryBroker, MemoryBroker> {
///     MemoryBroker::new().read(events).and(MemoryBroker::new().write(kept))
/// }
///
/// let both = storage(Vec::new(), &Collected::new());
/// assert_eq!(both.name(), "MemoryBroker and MemoryBroker");
/// assert_eq!((both.catalog()?.inputs.len(), both.catalog()?.outputs.len()), (1, 1));
/// # Ok::<(), watermill_core::RunError>(())
/// ```
pub struct Pair<A, B> {
    first: A,
    second: B,
    name: String,
}

impl<A: Broker, B: Broker> Broker for Pair<A, B> {
    fn name(&self) -> &str {
        &self.name
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        let mut all = self.first.catalog()?;
        let second = self.second.catalog()?;
        all.inputs.extend(second.inputs);
        all.outputs.extend(second.outputs);
        Ok(all)
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        Box::pin(async move {
            let own = self.first.catalog()?;
            let split = Split::new(job, own.inputs.len(), own.outputs.len());
            if split.jobs.iter().all(|job| !job.outputs.is_empty()) {
                return Err(BrokerError {
                    broker: self.name.clone(),
                    action: "write".to_owned(),
                    location: "the results of one mill by two brokers; let one broker write all of them"
                        .to_owned(),
                    cause: "they could not be committed in one step".into(),
                });
            }
            // A broker that this mill does not need is not opened.
            let needed = |job: &Job| !(job.inputs.is_empty() && job.outputs.is_empty());
            let first =
                if needed(&split.jobs[0]) { Some(self.first.open(&split.jobs[0]).await?) } else { None };
            let second =
                if needed(&split.jobs[1]) { Some(self.second.open(&split.jobs[1]).await?) } else { None };
            Ok(Box::new(PairSession { sessions: [first, second], split }) as Box<dyn Session>)
        })
    }
}

/// Which broker each input and output of a job belongs to.
struct Split {
    jobs: [Job; 2],
    /// For each input of the whole job, whose it is.
    inputs: Vec<usize>,
    /// For each output of the whole job, whose it is.
    outputs: Vec<usize>,
}

impl Split {
    fn new(job: &Job, first_inputs: usize, first_outputs: usize) -> Self {
        let empty = || Job {
            function: job.function.clone(),
            mill: job.mill.clone(),
            streams: job.streams.clone(),
            orders: job.orders.clone(),
            lot: job.lot,
            ..Job::default()
        };
        let mut split = Self { jobs: [empty(), empty()], inputs: Vec::new(), outputs: Vec::new() };
        for request in &job.inputs {
            let mut request = request.clone();
            let owner = usize::from(request.input >= first_inputs);
            request.input -= owner * first_inputs;
            split.jobs[owner].inputs.push(request);
            split.inputs.push(owner);
        }
        for request in &job.outputs {
            let mut request = request.clone();
            let owner = usize::from(request.output >= first_outputs);
            request.output -= owner * first_outputs;
            split.jobs[owner].outputs.push(request);
            split.outputs.push(owner);
        }
        for owner in 0..2 {
            split.jobs[owner].results_elsewhere =
                job.results_elsewhere || !split.jobs[1 - owner].outputs.is_empty();
        }
        split
    }
}

struct PairSession {
    sessions: [Option<Box<dyn Session>>; 2],
    split: Split,
}

impl Session for PairSession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        let master = self.split.inputs.first().copied().unwrap_or(0);
        match &mut self.sessions[master] {
            Some(session) => session.next_lane(),
            None => Box::pin(std::future::ready(Ok(None))),
        }
    }

    fn ownership(&mut self, lane: &Lane) -> Option<Ownership> {
        let master = self.split.inputs.first().copied().unwrap_or(0);
        self.sessions[master].as_mut()?.ownership(lane)
    }

    fn outputs<'a>(&'a mut self, lane: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        Box::pin(async move {
            let mut sinks = [Vec::new().into_iter(), Vec::new().into_iter()];
            let mut committers = [None, None];
            let mut resume = None;
            // Where the results are; where there are none, where the master is.
            let positions = self.split.outputs.first().or(self.split.inputs.first()).copied().unwrap_or(0);
            for (owner, session) in self.sessions.iter_mut().enumerate() {
                let Some(session) = session else { continue };
                let outputs = session.outputs(lane).await?;
                sinks[owner] = outputs.sinks.into_iter();
                committers[owner] = Some(outputs.committer);
                if owner == positions {
                    resume = outputs.resume;
                }
            }
            let sinks = self.split.outputs.iter().filter_map(|owner| sinks[*owner].next()).collect();
            let outputs = self.split.outputs.clone();
            let committer = PairCommitter { committers, outputs, positions };
            Ok(LaneOutputs { sinks, committer: Box::new(committer), resume })
        })
    }

    fn sources<'a>(
        &'a mut self,
        lane: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        Box::pin(async move {
            let mut sources = [Vec::new().into_iter(), Vec::new().into_iter()];
            for (owner, session) in self.sessions.iter_mut().enumerate() {
                let Some(session) = session else { continue };
                let own: Vec<Option<Position>> = self
                    .split
                    .inputs
                    .iter()
                    .zip(from)
                    .filter(|(whose, _)| **whose == owner)
                    .map(|(_, position)| position.clone())
                    .collect();
                sources[owner] = session.sources(lane, &own).await?.into_iter();
            }
            Ok(self.split.inputs.iter().filter_map(|owner| sources[*owner].next()).collect())
        })
    }
}

struct PairCommitter {
    committers: [Option<Box<dyn Committer>>; 2],
    outputs: Vec<usize>,
    /// Whose the positions are.
    positions: usize,
}

impl Committer for PairCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let other = self.committers[1 - self.positions].is_some();
            // First where the positions are: what is committed there counts. The other one may delete what was read, so that has to be durable.
            for owner in [self.positions, 1 - self.positions] {
                let Some(committer) = &mut self.committers[owner] else { continue };
                let ended = self.outputs.iter().zip(&checkpoint.ended_outputs);
                let own = Checkpoint {
                    ended_outputs: ended
                        .filter(|(whose, _)| **whose == owner)
                        .map(|(_, ended)| *ended)
                        .collect(),
                    ..checkpoint.clone()
                };
                committer.commit(&own).await?;
                if owner == self.positions && other {
                    committer.settle().await?;
                }
            }
            Ok(())
        })
    }

    fn settle(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            for owner in [self.positions, 1 - self.positions] {
                let Some(committer) = &mut self.committers[owner] else { continue };
                committer.settle().await?;
            }
            Ok(())
        })
    }

    fn interval(&self) -> Option<Duration> {
        self.committers.iter().flatten().filter_map(|committer| committer.interval()).min()
    }

    fn is_full(&self) -> bool {
        self.committers.iter().flatten().any(|committer| committer.is_full())
    }

    fn call_log(&self) -> Option<CallLog> {
        self.committers.iter().flatten().find_map(|committer| committer.call_log())
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let mut result = Ok(());
            for committer in self.committers.iter_mut().flatten() {
                let aborted = committer.abort().await;
                if result.is_ok() {
                    result = aborted;
                }
            }
            result
        })
    }
}
