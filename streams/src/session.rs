//! One run over streams: whether it shares them with others, and its lanes.

use std::sync::Arc;
use std::time::Duration;

use watermill_core::broker::{
    AnySource, BoxFuture, Checkpoint, Job, Lane, LaneOutputs, Origin, Ownership, Position, Session,
};
use watermill_core::clock::{Clock, SystemClock};
use watermill_core::error::BrokerError;

use crate::committer::{Plan, StreamCommitter};
use crate::consumer::{Consumer, Input, Output};
use crate::decode::Decoding;
use crate::error::StreamsError;
use crate::keeper::Keeper;
use crate::lane::{Hold, Mode};
use crate::ledger::claims::{self, Wish};
use crate::ledger::whole::{self, State};
use crate::ledger::{self, is_live};
use crate::reader;
use crate::sink::{Outbox, SinkSettings};
use crate::store::{CheckpointRow, reading, writing};
use crate::streams::Inner;
use crate::worker::Worker;

/// Those who wait for others look that often.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A run.
pub(crate) struct StreamSession {
    inner: Arc<Inner>,
    worker: Worker,
    job: Job,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// For each input its subscription.
    subscriptions: Vec<u64>,
    mode: Mode,
    lease: Duration,
    once: bool,
    /// Messages stay, and windows are remembered.
    keep: bool,
    /// Streams of results are not closed.
    leave_open: bool,
    /// Under which name positions are kept; `None` where they are in other hands, or not needed.
    positions: Option<String>,
    /// Under which name a run that had the stream alone may have kept its own.
    former: Option<String>,
    /// What the lane that is walked has.
    hold: Option<Arc<Hold>>,
    handed_out: bool,
    /// A lane has come to its end.
    finished: bool,
}

impl StreamSession {
    pub(crate) fn open(consumer: &Consumer, job: &Job) -> Result<Self, StreamsError> {
        let missing = || {
            StreamsError::misuse(
                "the run asks for what was not declared",
                "tell us: it is a mistake of watermill",
            )
        };
        let inputs: Option<Vec<Input>> =
            job.inputs.iter().map(|wanted| consumer.inputs.get(wanted.input).cloned()).collect();
        let outputs: Option<Vec<Output>> =
            job.outputs.iter().map(|wanted| consumer.outputs.get(wanted.output).cloned()).collect();
        let (inputs, outputs) = (inputs.ok_or_else(missing)?, outputs.ok_or_else(missing)?);
        let inner = Arc::clone(&consumer.inner);
        let now = inner.now();
        let subscriptions = inner.writing(|rows| {
            let mut numbers = Vec::new();
            for input in &inputs {
                let stream = rows.stream(input.stream)?.ok_or_else(|| inner.missing(&input.name))?;
                let mut row = ledger::subscribe(rows, &stream, &consumer.subscription, now)?;
                if row.keep != consumer.keep {
                    row.keep = consumer.keep;
                    rows.put_subscription(&mut row)?;
                }
                numbers.push(row.number);
            }
            Ok(numbers)
        })?;
        // Where results are in other hands, so are positions, and they are those of whole streams.
        let here = !job.results_elsewhere;
        let alone = job.inputs.len() == 1 && job.streams.len() == 1;
        let lot = job.lot.filter(|_| here && alone && !consumer.whole);
        let mode = lot.map_or(Mode::Whole, |lot| Mode::Dealt(lot.max(1) as u64));
        let master = job.inputs.iter().position(|input| input.node == 0).and_then(|at| inputs.get(at));
        let own = master.map(|input| whole::checkpoint_name(&input.name, &consumer.subscription));
        let application = consumer.application.as_ref().map(|name| format!("mill {name}"));
        let first = outputs.iter().flat_map(|output| output.places.streams()).next();
        let first = first.map(|(_, name)| format!("results {name}"));
        let positions = own.clone().or(application).or(first).filter(|_| here && mode == Mode::Whole);
        if here && positions.is_none() && mode == Mode::Whole {
            return Err(StreamsError::misuse(
                "there is no name to keep the positions of this mill under",
                "give it one: `.application(\"name\")`",
            ));
        }
        tracing::info!(
            target: "watermill",
            function = %job.function,
            store = inner.store.name(),
            consumes = match mode {
                Mode::Dealt(_) => "beside others: each message goes to one of them",
                Mode::Whole => "alone: the mill needs all of the stream in its order",
            },
            "streams are opened"
        );
        Ok(Self {
            worker: Worker::start()?,
            former: own.filter(|_| mode != Mode::Whole),
            lease: consumer.lease,
            once: consumer.once,
            keep: consumer.keep,
            leave_open: consumer.leave_open,
            job: job.clone(),
            inner,
            inputs,
            outputs,
            subscriptions,
            mode,
            positions,
            hold: None,
            handed_out: false,
            finished: false,
        })
    }

    fn location(&self) -> String {
        let names: Vec<String> = self.inputs.iter().map(|input| format!("stream `{}`", input.name)).collect();
        if names.is_empty() { format!("the results of `{}`", self.job.function) } else { names.join(", ") }
    }

    /// The stream of the masters and its subscription, where windows are remembered.
    fn history(&self) -> Option<(u64, u64)> {
        let at = self.job.inputs.iter().position(|input| input.node == 0).filter(|_| self.keep)?;
        Some((self.inputs.get(at)?.stream, *self.subscriptions.get(at)?))
    }

    fn lease_milliseconds(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX / 4).max(3)
    }

    /// Waits until there is something for a lane, and takes what it needs.
    async fn begin(&mut self) -> Result<bool, StreamsError> {
        loop {
            let lease = self.lease_milliseconds();
            let hold = Arc::new(Hold::new(Arc::clone(&self.inner), self.mode, &self.subscriptions, lease));
            let (again, finished) = (self.handed_out, self.finished);
            let (of_lane, former) = (Arc::clone(&hold), self.former.clone());
            let begun = self.worker.run(move || begin(&of_lane, former.as_deref(), again, finished)).await?;
            match begun {
                Begun::Ready => {
                    self.hold = Some(hold);
                    return Ok(true);
                }
                Begun::Ended => return Ok(false),
                // A job that is run now and then comes another time.
                Begun::Wait if self.once => return Ok(false),
                Begun::Wait => {
                    let clock = SystemClock::new();
                    clock.sleep_until(clock.now() + LOOK_EVERY).await;
                }
            }
        }
    }

    async fn open_lane(&mut self, lane: &Lane) -> Result<LaneOutputs, StreamsError> {
        if self.hold.is_none() {
            if lane.count > 1 && !self.inputs.is_empty() {
                return Err(StreamsError::misuse(
                    "a stream is joined to a master that has several lanes, and each of them would need all of it",
                    "let the master have one lane, or read it into a stream first",
                ));
            }
            if self.inputs.is_empty() {
                self.hold = Some(Arc::new(Hold::new(Arc::clone(&self.inner), self.mode, &[], 0)));
            } else {
                self.begin().await?;
            }
        }
        let missing = || StreamsError::misuse("the lane has gone", "run it again");
        let hold = self.hold.clone().ok_or_else(missing)?;
        let (inner, positions) = (Arc::clone(&self.inner), self.positions.clone());
        let (job, subscriptions) = (self.job.clone(), self.subscriptions.clone());
        let numbers: Vec<(usize, u64)> = self
            .job
            .inputs
            .iter()
            .zip(&self.inputs)
            .map(|(request, input)| (request.node, input.stream))
            .collect();
        let (mode, index) = (self.mode, lane.index);
        let (checkpoint, resume) = self
            .worker
            .run(move || match (&positions, mode) {
                (Some(name), _) => claim_positions(&inner, name, index, &job, &numbers),
                (None, Mode::Dealt(_)) => Ok((None, ended(&inner, &subscriptions)?)),
                (None, Mode::Whole) => Ok((None, None)),
            })
            .await?;
        let outbox = Outbox::default();
        let mut sinks = Vec::new();
        let mut outputs = Vec::new();
        for (at, (output, request)) in self.outputs.iter().zip(&self.job.outputs).enumerate() {
            let places = &output.places;
            sinks.push(places.open(SinkSettings { outbox: outbox.clone(), leave_out: request.leave_out }));
            outputs.extend(places.streams().iter().map(|target| (at, Some(target.clone()))));
            outputs.extend(places.has_functions().then_some((at, None)));
        }
        let inputs = self.subscriptions.iter().zip(&self.inputs);
        let plan = Plan {
            job: self.job.clone(),
            inputs: inputs.map(|(subscription, input)| (*subscription, input.stream)).collect(),
            outputs,
            checkpoint,
            lanes: lane.count,
            history: self.history(),
            leave_open: self.leave_open,
        };
        let keeper = if hold.who.is_empty() { None } else { Some(Keeper::start(&hold, self.lease)?) };
        let committer =
            StreamCommitter { plan: Arc::new(plan), hold, outbox, worker: self.worker.clone(), keeper };
        Ok(LaneOutputs { sinks, committer: Box::new(committer), resume })
    }
}

/// What came of an attempt to begin a lane.
enum Begun {
    Ready,
    Wait,
    /// The stream has come to its end.
    Ended,
}

fn begin(hold: &Hold, former: Option<&str>, again: bool, finished: bool) -> Result<Begun, StreamsError> {
    let inner = &hold.inner;
    let now = inner.now();
    let lot = match hold.mode {
        Mode::Whole if again && is_ended(hold)? => return Ok(Begun::Ended),
        Mode::Whole => return Ok(if hold.take()? { Begun::Ready } else { Begun::Wait }),
        Mode::Dealt(lot) => lot,
    };
    let Some(who) = hold.who.first() else { return Ok(Begun::Ready) };
    let (row, closed, there, stands) = reading(&*inner.store, |rows| {
        let row = rows.subscription(who.subscription)?;
        let wish = Wish { most: lot, lot, filled: 0, after: 0 };
        let there = row.is_some() && claims::look(rows, who, wish, now)?;
        let stands = match former {
            Some(name) => rows.checkpoint(name, 0)?.is_some(),
            None => false,
        };
        let stream = row.as_ref().map(|row| rows.stream(row.stream)).transpose()?.flatten();
        Ok((row, stream.is_some_and(|stream| stream.closed.is_some()), there, stands))
    })?;
    let Some(row) = row else { return Err(inner.missing("that was dropped")) };
    if is_live(&row.owner, row.expires, row.lease, now) {
        return Ok(Begun::Wait);
    }
    if let Some(name) = former.filter(|_| stands) {
        writing(&*inner.store, true, |rows| whole::deal_out(rows, name, who.subscription))?;
    }
    // The first lane begins at once, and waits for messages itself.
    Ok(match (row.ended, again) {
        (true, true) => Begun::Ended,
        // It has ended by silence. Only a stream that was closed may hold something that others give back.
        (false, true) if finished && !closed => Begun::Ended,
        (false, true) if !there => Begun::Wait,
        _ => Begun::Ready,
    })
}

/// Whether the mill of a lane has come to the end of all its streams.
fn is_ended(hold: &Hold) -> Result<bool, StreamsError> {
    reading(&*hold.inner.store, |rows| {
        for who in &hold.who {
            if !rows.subscription(who.subscription)?.is_some_and(|row| row.ended) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// Where a mill that shares its stream has come to the end of it.
fn ended(inner: &Inner, subscriptions: &[u64]) -> Result<Option<Checkpoint>, StreamsError> {
    let Some(number) = subscriptions.first() else { return Ok(None) };
    let row = reading(&*inner.store, |rows| rows.subscription(*number))?;
    Ok(row.is_some_and(|row| row.ended).then(|| {
        let mut checkpoint = Checkpoint::default();
        checkpoint.finished = true;
        checkpoint
    }))
}

/// Takes the positions of a lane over, so that whoever had them before can commit nothing any more; and what its last commit recorded.
fn claim_positions(
    inner: &Inner,
    name: &str,
    lane: u32,
    job: &Job,
    numbers: &[(usize, u64)],
) -> Result<(Option<CheckpointRow>, Option<Checkpoint>), StreamsError> {
    let row = writing(&*inner.store, true, |rows| {
        let found = rows.checkpoint(name, lane)?;
        let mut row = found.unwrap_or_else(|| CheckpointRow {
            name: name.to_owned(),
            lane,
            ..CheckpointRow::default()
        });
        row.epoch += 1;
        rows.put_checkpoint(&row)?;
        Ok(row)
    })?;
    let Some(state) = State::read(&row)? else { return Ok((Some(row), None)) };
    let mut checkpoint = state.checkpoint;
    if state.streams != job.streams {
        return Err(StreamsError::misuse(
            format!(
                "the positions kept under `{name}` are those of another mill, which reads {}; this one reads {}",
                state.streams.join(", "),
                job.streams.join(", ")
            ),
            "give this mill a subscription of its own, `.subscription(\"name\")`, or end the former one with `Stream::unsubscribe`",
        ));
    }
    if state.mill != job.mill {
        tracing::warn!(target: "watermill", name, "the mill is another one than that of the last run: it goes on at its positions, with windows of its own");
        checkpoint.window = None;
    }
    for (node, number) in numbers {
        // A stream that was dropped and made anew begins anew.
        if let Some(position) = checkpoint.positions.get_mut(*node)
            && state.numbers.get(*node).is_some_and(|before| before != number)
        {
            *position = Position::at(0);
        }
    }
    Ok((Some(row), Some(checkpoint)))
}

impl Session for StreamSession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        Box::pin(async move {
            if self.once && self.handed_out {
                return Ok(None);
            }
            // What the lane before had, it has given back.
            self.finished |= self.hold.take().is_some_and(|hold| hold.held().finished);
            let location = self.location();
            let begun = self.begin().await.map_err(|error| error.of_broker("read", &location))?;
            self.handed_out = true;
            Ok(begun.then_some(Lane { index: 0, count: 1 }))
        })
    }

    fn ownership(&mut self, _: &Lane) -> Option<Ownership> {
        self.hold.as_ref().map(|hold| hold.ownership.clone())
    }

    fn outputs<'a>(&'a mut self, lane: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        Box::pin(async move {
            let location = self.location();
            self.open_lane(lane).await.map_err(|error| error.of_broker("open", &location))
        })
    }

    fn sources<'a>(
        &'a mut self,
        _: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        Box::pin(async move {
            let mut sources = Vec::new();
            for (at, (input, request)) in self.inputs.iter().zip(&self.job.inputs).enumerate() {
                let Some(hold) = &self.hold else { break };
                // As they were asked for.
                let position = from.get(at);
                let settings = reader::Settings {
                    stream: input.stream,
                    subscription: self.subscriptions.get(at).copied().unwrap_or_default(),
                    name: Arc::clone(&input.name),
                    hold: Arc::clone(hold),
                    decoding: Decoding {
                        stream: request.stream.clone(),
                        origin: Arc::new(Origin::Stream { name: input.name.to_string() }),
                        keep_raw: request.keep_raw,
                    },
                    from: position.cloned().flatten(),
                    once: self.once,
                };
                sources.push((input.open)(settings)?);
            }
            Ok(sources)
        })
    }
}
