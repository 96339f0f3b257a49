//! A typed source: a thread claims or reads messages and decodes them, a batch ahead of the walk where that is fast.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use watermill_core::broker::{AnySource, Batch, BoxFuture, InputEnd, Lag, Position, Source};
use watermill_core::error::{BrokerError, RecordPlace};
use watermill_core::record::StreamRecord;

use crate::decode::{Decoding, Read, excerpt};
use crate::error::StreamsError;
use crate::lane::{Hold, Mode};
use crate::ledger::claims::{self, Claimed, Wish};
use crate::ledger::{is_closed, unfinished};
use crate::store::{Rows, reading, writing};

/// A batch ends when its messages have so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// The first batch has so many messages; how many there are then depends on how fast they are done with.
const FEW: u64 = 16;

/// No batch has more.
const MANY: u64 = 8192;

/// From this size on batches are read ahead.
const FAST: u64 = 512;

/// Those who wait look for leases that have expired at least this often.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a reader needs to know.
pub(crate) struct Settings {
    pub(crate) stream: u64,
    pub(crate) subscription: u64,
    pub(crate) name: Arc<str>,
    pub(crate) hold: Arc<Hold>,
    pub(crate) decoding: Decoding,
    /// Where the last commit left it.
    pub(crate) from: Option<Position>,
    /// What is there is all that is wanted.
    pub(crate) once: bool,
}

/// What the thread and the source share.
struct Shared<R> {
    state: Mutex<State<R>>,
    /// More is wanted, or nothing any more.
    asked: Condvar,
    /// Something has come.
    come: Notify,
}

struct State<R> {
    ready: VecDeque<Result<Batch<R>, BrokerError>>,
    wanted: bool,
    closed: bool,
    /// How many messages the next batch may have.
    most: u64,
    delivered: Option<Instant>,
    lag: u64,
}

impl<R> Shared<R> {
    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct StreamSource<R> {
    shared: Arc<Shared<R>>,
    hold: Arc<Hold>,
    stream: u64,
}

/// Starts a reader.
pub(crate) fn start<R: StreamRecord + DeserializeOwned>(
    settings: Settings,
) -> Result<AnySource, BrokerError> {
    let state =
        State { ready: VecDeque::new(), wanted: false, closed: false, most: FEW, delivered: None, lag: 0 };
    let shared = Arc::new(Shared { state: Mutex::new(state), asked: Condvar::new(), come: Notify::new() });
    let (hold, stream) = (Arc::clone(&settings.hold), settings.stream);
    let own = Arc::clone(&shared);
    let name = Arc::clone(&settings.name);
    let started = std::thread::Builder::new().name("watermill-read".to_owned()).spawn(move || {
        let reader =
            Reader { after: 0, good: 0, pending: VecDeque::new(), finished: None, settings, shared: own };
        reader.run();
    });
    started.map_err(|cause| {
        StreamsError::storage("the thread that reads", "start", cause)
            .of_broker("read", &format!("stream `{name}`"))
    })?;
    Ok(AnySource::new::<R>(StreamSource { shared, hold, stream }))
}

impl<R: StreamRecord> Source<R> for StreamSource<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        Box::pin(async move {
            loop {
                let come = self.shared.come.notified();
                {
                    let mut state = self.shared.state();
                    if let Some(batch) = state.ready.pop_front() {
                        state.delivered = Some(Instant::now());
                        state.wanted = state.most >= FAST;
                        self.shared.asked.notify_all();
                        return batch;
                    }
                    if let Some(delivered) = state.delivered.take() {
                        let took = delivered.elapsed();
                        if took < Duration::from_millis(50) {
                            state.most = (state.most * 4).min(MANY);
                        } else if took > Duration::from_millis(500) {
                            state.most = (state.most / 4).max(1);
                        }
                    }
                    state.wanted = true;
                    self.shared.asked.notify_all();
                }
                come.await;
            }
        })
    }

    fn excerpt(&self, place: &RecordPlace) -> Option<String> {
        let mut shown = None;
        let found = reading(&*self.hold.inner.store, |rows| {
            rows.messages(self.stream, place.offset..place.offset + 1, &mut |_, _, text| {
                shown = Some(excerpt(text));
                false
            })
        });
        found.ok().and(shown)
    }

    fn lag(&self) -> Option<Lag> {
        Some(Lag::Records(self.shared.state().lag))
    }
}

impl<R> Drop for StreamSource<R> {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.asked.notify_all();
        // It may wait for messages.
        self.hold.inner.hub.tell();
    }
}

/// The thread.
struct Reader<R> {
    settings: Settings,
    shared: Arc<Shared<R>>,
    /// What was delivered ends before this message.
    after: u64,
    /// How many records were delivered.
    good: u64,
    /// What is claimed, or known to be there, and not delivered.
    pending: VecDeque<Range<u64>>,
    /// For whole streams: what an earlier run has left unfinished, up to where nothing was ever taken.
    finished: Option<(Vec<Range<u64>>, u64)>,
}

/// What came of an attempt to get messages.
enum Found {
    /// There are some.
    Some,
    /// There are none for now.
    Nothing,
    End(InputEnd),
    /// The lane is to begin anew.
    Over,
}

impl<R: StreamRecord + DeserializeOwned> Reader<R> {
    fn run(mut self) {
        while self.is_wanted() {
            let (inner, seen) = (Arc::clone(&self.settings.hold.inner), self.settings.hold.inner.hub.count());
            let step = inner.store.version().and_then(|version| self.step().map(|going| (version, going)));
            match step {
                Ok((_, Going::On)) => {}
                Ok((_, Going::Ended)) => return,
                Ok((version, Going::Wait)) => {
                    if let Err(error) = self.wait(seen, version) {
                        return self.fail(error);
                    }
                }
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Waits until a batch is wanted. Not any more, when this is false.
    fn is_wanted(&self) -> bool {
        let state = self.shared.state();
        let idle = |state: &mut State<R>| !(state.closed || state.wanted && state.ready.is_empty());
        let state = self.shared.asked.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    fn hand_over(&self, batch: Result<Batch<R>, BrokerError>) {
        let mut state = self.shared.state();
        state.ready.push_back(batch);
        state.wanted = false;
        drop(state);
        self.shared.come.notify_one();
    }

    fn fail(&self, error: StreamsError) {
        self.hand_over(Err(error.of_broker("read", &format!("stream `{}`", self.settings.name))));
    }

    /// Waits until something may have changed.
    fn wait(&self, seen: u64, version: u64) -> Result<(), StreamsError> {
        let inner = &self.settings.hold.inner;
        let interval = reading(&*inner.store, |rows| {
            Ok(rows.stream(self.settings.stream)?.map_or(10, |row| row.interval))
        })?;
        let interval = Duration::from_millis(interval.max(1));
        let since = Instant::now();
        loop {
            inner.hub.wait(seen, interval);
            let changed = inner.hub.count() != seen || inner.store.version()? != version;
            if changed || since.elapsed() >= LOOK_EVERY || self.shared.state().closed {
                return Ok(());
            }
        }
    }

    fn step(&mut self) -> Result<Going, StreamsError> {
        if self.pending.is_empty() {
            let found = match self.settings.hold.mode {
                Mode::Dealt(lot) => self.claim(lot)?,
                Mode::Whole => self.look()?,
            };
            match found {
                Found::Some => {}
                Found::Nothing => return Ok(Going::Wait),
                Found::Over => return Ok(Going::Ended),
                Found::End(end) => {
                    let (mut batch, _) = self.settings.decoding.batch(Read::default(), self.after);
                    batch.end = Some(end);
                    self.hand_over(Ok(batch));
                    return Ok(Going::Ended);
                }
            }
        }
        let read = self.read()?;
        if read.messages.is_empty() && self.pending.is_empty() && self.settings.hold.mode == Mode::Whole {
            // All that was there is finished, or gone.
            return Ok(Going::On);
        }
        let (batch, refused) = self.settings.decoding.batch(read, self.after);
        self.good += batch.records.len() as u64;
        if !refused.is_empty() {
            let of = self.settings.subscription;
            self.settings.hold.held().refused.extend(refused.into_iter().map(|number| (of, number)));
        }
        self.hand_over(Ok(batch));
        Ok(Going::On)
    }

    /// Claims messages.
    fn claim(&mut self, lot: u64) -> Result<Found, StreamsError> {
        let Settings { hold, subscription, once, .. } = &self.settings;
        let (hold, once) = (Arc::clone(hold), *once);
        let Some(who) = hold.claimant(*subscription) else { return Ok(Found::Over) };
        let most = match (once, lot) {
            (false, _) => self.shared.state().most,
            (true, 1) => MANY,
            (true, lot) => lot,
        };
        let wish = Wish { most, lot, filled: self.good % lot, after: self.after };
        let (store, now) = (&*hold.inner.store, hold.inner.now());
        if once && self.good > 0 {
            // One window is all that is wanted; one that closes by itself, when its time has come, closes now.
            return Ok(Found::End(if lot == 1 { InputEnd::Exhausted } else { InputEnd::Paused }));
        }
        let nothing_yet = if once { Found::End(InputEnd::Paused) } else { Found::Nothing };
        if !reading(store, |rows| claims::look(rows, who, wish, now))? {
            return Ok(nothing_yet);
        }
        let mut held = hold.held();
        if held.closed {
            return Ok(Found::Over);
        }
        match writing(store, false, |rows| claims::claim(rows, who, wish, now))? {
            Claimed::Taken(taken) => {
                self.pending.extend(taken.iter().map(|claim| claim.first..claim.until));
                held.claims.extend(taken);
                Ok(Found::Some)
            }
            Claimed::Earlier => {
                hold.ownership.revoke();
                Ok(Found::Over)
            }
            Claimed::Ended => Ok(Found::End(InputEnd::Mark)),
            // What others have they may give back; but who has an open window emits it, so that they do not wait for each other.
            Claimed::Nothing { closed: true, others } if !others || !held.claims.is_empty() => {
                Ok(Found::End(InputEnd::Mark))
            }
            Claimed::Nothing { .. } => Ok(nothing_yet),
        }
    }

    /// Looks for messages of a stream that is held whole.
    fn look(&mut self) -> Result<Found, StreamsError> {
        let (inner, name) = (Arc::clone(&self.settings.hold.inner), Arc::clone(&self.settings.name));
        if self.finished.is_none() {
            self.begin()?;
        }
        let look = |rows: &mut dyn Rows| {
            let stream = rows.stream(self.settings.stream)?.ok_or_else(|| inner.missing(&name))?;
            let ahead = if self.after < stream.next { 0 } else { rows.unnumbered(stream.number, MANY)? };
            let closed = is_closed(rows, &stream);
            Ok((stream, ahead, closed))
        };
        let (mut stream, ahead, closed) = reading(&*inner.store, look)?;
        if ahead > 0 {
            stream = writing(&*inner.store, false, |rows| {
                let mut stream = rows.stream(self.settings.stream)?.ok_or_else(|| inner.missing(&name))?;
                rows.number(&mut stream, MANY)?;
                Ok(stream)
            })?;
        }
        self.shared.state().lag = stream.next.saturating_sub(self.after);
        if self.after < stream.next {
            self.pending.push_back(self.after..stream.next);
            return Ok(Found::Some);
        }
        Ok(match (closed && ahead == 0, self.settings.once) {
            (true, _) => Found::End(InputEnd::Mark),
            (false, true) => Found::End(InputEnd::Paused),
            (false, false) => Found::Nothing,
        })
    }

    /// Where a stream that is held whole begins, and what of it is finished.
    fn begin(&mut self) -> Result<(), StreamsError> {
        let Settings { hold, stream, subscription, name, from, .. } = &self.settings;
        let (mut ranges, next, first) = reading(&*hold.inner.store, |rows| {
            let row = rows.stream(*stream)?.ok_or_else(|| hold.inner.missing(name))?;
            let own = rows.subscription(*subscription)?.ok_or_else(|| hold.inner.missing(name))?;
            Ok((unfinished::of(rows, &own, own.next)?, own.next, row.first))
        })?;
        let lowest = ranges.first().map_or(next, |range| range.start);
        self.after = match from {
            None => lowest.max(first.min(lowest)),
            Some(from) => {
                let lasts: Vec<u64> =
                    from.last.iter().chain(&from.also_last).map(|last| last.offset).collect();
                ranges.extend(lasts.iter().map(|last| *last..last + 1));
                lasts.into_iter().chain([from.next]).min().unwrap_or(from.next)
            }
        };
        self.finished = Some((unfinished::merged(ranges), next));
        Ok(())
    }

    /// Reads from what is pending, as much as a batch may hold.
    fn read(&mut self) -> Result<Read, StreamsError> {
        let mut read = Read::default();
        let most = usize::try_from(self.shared.state().most.max(FEW)).unwrap_or(usize::MAX);
        let mut full = false;
        let (pending, finished) = (&mut self.pending, &self.finished);
        let (stream, mut after) = (self.settings.stream, self.after);
        reading(&*self.settings.hold.inner.store, |rows| {
            while let Some(range) = pending.front_mut() {
                rows.messages(stream, range.clone(), &mut |number, appended, text| {
                    if read.messages.len() >= most || read.bytes.len() >= BATCH_BYTES {
                        full = true;
                        return false;
                    }
                    after = number + 1;
                    range.start = after;
                    let wanted = finished
                        .as_ref()
                        .is_none_or(|(ranges, next)| number >= *next || unfinished::has(ranges, number));
                    if wanted {
                        read.bytes.extend_from_slice(text);
                        read.messages.push((number, appended, read.bytes.len()));
                    }
                    true
                })?;
                if full {
                    break;
                }
                after = after.max(range.end);
                pending.pop_front();
            }
            Ok(())
        })?;
        self.after = after;
        Ok(read)
    }
}

/// How the thread goes on.
enum Going {
    On,
    Wait,
    Ended,
}
