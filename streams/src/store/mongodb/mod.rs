//! [`MongoStore`]: streams in MongoDB, in the collections of Python's minibatch.
//!
//! | file | holds |
//! |---|---|
//! | `driver.rs` | the driver, and how threads wait for it |
//! | `layout.rs` | the collections, and what is done with databases that have others |
//! | `ledger.rs` | what is known of a stream, as documents |
//! | `message.rs`, `values.rs` | a message as a document; JSON as BSON, and back |
//! | `segments.rs` | which messages have which numbers |
//! | `windows.rs` | windows of messages that are kept |
//! | `transaction.rs` | reads and writes of a transaction; `rows.rs`, `messages.rs`: what they are to the ledger |
//! | `appends.rs` | appends without a transaction, and whether a stream is open |
//! | `candidates.rs` | messages that wait, as far as this process knows |
//! | `writers.rs` | who writes, and what killed processes have left open |
//! | `failure.rs` | what the driver tells, in our words |

mod appends;
mod candidates;
mod driver;
mod failure;
mod layout;
mod ledger;
mod message;
mod messages;
mod pending;
mod rows;
mod segments;
mod taken;
mod transaction;
mod values;
mod windows;
mod writers;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bson::doc;

use super::{Append, Store, Work};
use crate::error::StreamsError;
use appends::Gates;
use candidates::Candidates;
use driver::{Driver, wait};
use layout::BUFFER;
use segments::Remembered;
use taken::Taken;
use transaction::{Broken, MongoRows};
use writers::Writers;

/// So long a transaction is begun again when others are in its way, or the server is gone.
const PATIENCE: Duration = Duration::from_secs(90);

/// After this time it is looked for transactions that killed processes have left open.
const HELD_UP: Duration = Duration::from_millis(500);

/// So long those who begin wait for one who has to begin again.
const COURTESY: Duration = Duration::from_millis(250);

/// So often it is read without a transaction, and looked whether something has changed meanwhile.
const GLANCES: u32 = 5;

/// Whoever asks more often whether something has changed is told the same again.
const ASKED: Duration = Duration::from_millis(2);

/// Streams in MongoDB, shared with Python's minibatch 0.6.0.
///
/// Any number of threads, processes and machines use one database at once. The server has to be a replica set, of one node at least, for there are no transactions otherwise.
///
/// ```
/// use watermill_streams::store::MongoStore;
/// use watermill_streams::{Streams, StreamsError};
///
/// fn plant() -> Result<Streams, StreamsError> {
///     Ok(Streams::on(MongoStore::open("mongodb://localhost/plant")?))
/// }
/// // The database is part of the address.
/// assert!(matches!(MongoStore::open("mongodb://localhost"), Err(StreamsError::Url { .. })));
/// ```
///
/// # Layout
///
/// | collection | a document | fields |
/// |---|---|---|
/// | `stream` | a stream | minibatch's `name`, `status` (`open` or `closed`), `created`, `closed`, `interval`, `last_read`; ours in `watermill`: `number`, `interval` in milliseconds, `max_age` |
/// | `buffer` | a message | minibatch's `stream` (its name), `created`, `data`, `processed`; ours, of one that has a number: `watermill`, a text of the stream's number and that of the first message that was numbered with it, as `7/1200` |
/// | `window` | a window of messages that are kept | minibatch's `stream`, `created`, `data` (of its messages), `processed: true`, `query`; ours in `watermill`: `number`, `subscription`, `messages`, `until` |
/// | `watermill_streams` | what consumers of a stream have | `first`, `next`, the subscriptions and their claims |
/// | `watermill_segments` | messages that were given numbers at once | `base`, and the `_id`s of the messages in their order |
/// | `watermill_refused` | a message that was left out | `stream`, `message`, `subscription` |
/// | `watermill_checkpoints` | where a mill stands | `name`, `lane`, `epoch`, `state` |
/// | `watermill_writers` | a session of a process that writes | `seen`: when it was last heard of |
/// | `watermill_layout` | one document | `version`, 1 |
///
/// A stream that Python has made is used as it is, and given what is ours when it is first asked for; one that was made here has all that minibatch's model wants.
///
/// # Messages
///
/// Appending inserts documents just as minibatch does, `processed: false`, so that whoever comes first consumes them: Python, or consumers of watermill. A consumer of watermill gives numbers to as
/// many as it wants, in the order of their `_id`s, and sets `processed` in the transaction in which it claims them, since minibatch knows no leases: Python does not see them from then on,
/// also when they are given back. What a consumer is done with is deleted, or stays with `processed: true` if it keeps its messages. A message that Python takes or deletes at the same moment is Python's; one that it puts back
/// (`undo`) after it was claimed here is not consumed here again.
///
/// minibatch marks what it has read without looking whether somebody else did meanwhile: of two consumers of which one is Python's, Python may see a message that was consumed here. Ours never sees one
/// twice.
///
/// # Values
///
/// JSON becomes BSON: objects, arrays, texts, booleans and `null` as themselves, whole numbers as `int32` or `int64`, those with a fraction as `double`. A whole number that is larger than those of
/// MongoDB is refused. What Python writes and JSON does not know becomes text: dates as in RFC 3339, an `ObjectId` in hexadecimal, a `Decimal128` as it is written, binary data in base 64; numbers that
/// are none (`nan`, `inf`) become `null`, and all other types what MongoDB's Extended JSON has for them. minibatch wants messages to be objects; here any value can be one, and a message
/// that is no JSON at all is kept as binary data of the subtype 128.
///
/// # Closing
///
/// That a stream is open is known from a look that may be a quarter of a second old. An append that was acknowledged later than a second after its look looks again, and takes its messages out if the
/// stream was closed meanwhile. So consumers take a closed stream for ended when they have known for more than a second that it is closed, or it was closed more than a minute
/// ago, and they still see nothing in it: nothing that was acknowledged
/// is left behind.
///
/// # Time
///
/// A killed process may leave a transaction open, which the server would end after a minute. Others that are held up by it end it after a second or three.
pub struct MongoStore {
    driver: Driver,
    writers: Writers,
    gates: Gates,
    segments: Mutex<Remembered>,
    candidates: Mutex<Candidates>,
    taken: Mutex<Taken>,
    /// Those who were in each other's way come one after the other.
    turn: Mutex<()>,
    /// How often this process has written.
    written: AtomicU64,
    /// When it was last asked whether others have, and the answer.
    asked: Mutex<Option<(Instant, u64)>>,
}

impl MongoStore {
    /// The database that a URL names, `mongodb://host/database`, with the options of MongoDB's drivers.
    ///
    /// # Errors
    /// When the URL names none, the server cannot be reached or belongs to no replica set, or the database has a layout of another version.
    ///
    /// ```
    /// use watermill_streams::StreamsError;
    /// use watermill_streams::store::MongoStore;
    ///
    /// let error = MongoStore::open("mongodb://localhost").unwrap_err();
    /// assert!(matches!(error, StreamsError::Url { .. }));
    /// assert!(error.to_string().contains("it names no database"));
    /// ```
    pub fn open(url: &str) -> Result<Self, StreamsError> {
        let driver = Driver::connect(url)?;
        let entered = driver.enter()?;
        layout::prepare(&driver)?;
        let writers = Writers::start(&driver);
        drop(entered);
        Ok(Self {
            driver,
            writers,
            gates: Gates::default(),
            segments: Mutex::default(),
            candidates: Mutex::default(),
            taken: Mutex::default(),
            turn: Mutex::default(),
            written: AtomicU64::new(0),
            asked: Mutex::default(),
        })
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        locked(&self.segments)
    }

    fn candidates(&self) -> MutexGuard<'_, Candidates> {
        locked(&self.candidates)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        locked(&self.taken)
    }

    /// Lets those come first who have to begin again. Short transactions that follow each other without a pause, as those of a source, would be in the way of a longer one each time.
    fn let_pass(&self) {
        let since = Instant::now();
        while matches!(self.turn.try_lock(), Err(TryLockError::WouldBlock)) && since.elapsed() < COURTESY {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes away what was processed in a stream that is there no more. Nobody sees it, and there may be more of it than a transaction may take.
    fn sweep(&self, name: &str, number: u64) {
        let gone = doc! {
            "stream": name, "processed": true,
            "$or": [{ "watermill": { "$exists": false } }, { "watermill": { "$regex": format!("^{number}/") } }],
        };
        if let Err(error) = wait(async { self.driver.collection(BUFFER).delete_many(gone).await }) {
            tracing::warn!(target: "watermill", stream = name, error = %error.kind, "messages of a stream that was dropped are left, and nobody sees them");
        }
    }

    /// Has a stream that Python has made numbered.
    fn adopt(&self, name: &str) -> Result<(), StreamsError> {
        self.write(true, &mut |rows| rows.stream_named(name).map(drop))
    }
}

impl Store for MongoStore {
    fn name(&self) -> &str {
        &self.driver.failures.store
    }

    fn write(&self, _: bool, work: &mut Work<'_>) -> Result<(), StreamsError> {
        let _entered = self.driver.enter()?;
        let since = Instant::now();
        let (mut failed, mut turn, mut relieved) = (0, None, since);
        let mut contended = Vec::new();
        self.let_pass();
        loop {
            let done = {
                let mut writer = self.writers.take(&self.driver)?;
                let mut rows = MongoRows::new(self, writer.take());
                let done = rows.transact(&contended, work);
                contended = rows.ledgers.keys().copied().collect();
                writer.put(rows.close());
                done
            };
            match done {
                Ok(()) => {
                    self.written.fetch_add(1, Ordering::Release);
                    return Ok(());
                }
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Again(error)) if since.elapsed() > PATIENCE => return Err(error),
                Err(Broken::Again(error)) => {
                    failed += 1;
                    tracing::trace!(target: "watermill", failed, error = &error as &dyn std::error::Error, "a transaction is begun again");
                    if since.elapsed() > HELD_UP && relieved.elapsed() > HELD_UP {
                        relieved = Instant::now();
                        if let Err(cause) = self.writers.relieve(&self.driver) {
                            tracing::debug!(target: "watermill", error = %cause.kind, "it could not be looked for what others have left open");
                        }
                    }
                    if turn.is_none() {
                        turn = Some(locked(&self.turn));
                    }
                    std::thread::sleep(pause(failed));
                }
            }
        }
    }

    fn read(&self, work: &mut Work<'_>) -> Result<(), StreamsError> {
        let _entered = self.driver.enter()?;
        for _ in 0..GLANCES {
            let mut rows = MongoRows::new(self, None);
            let done = work(&mut rows);
            match (rows.unnumbered_stream(), done) {
                (Some(name), Err(_)) => self.adopt(&name)?,
                (_, Err(error)) => return Err(error),
                (_, Ok(())) if rows.is_torn()? => {}
                (_, Ok(())) => return Ok(()),
            }
        }
        // So much is going on that only a transaction sees all of it as of the same moment.
        self.write(false, work)
    }

    fn version(&self) -> Result<u64, StreamsError> {
        let written = self.written.load(Ordering::Acquire);
        let mut asked = locked(&self.asked);
        let known = asked.filter(|(when, _)| when.elapsed() < ASKED);
        let others = match known {
            Some((_, others)) => others,
            None => {
                let _entered = self.driver.enter()?;
                let when = Instant::now();
                // Every answer of a replica set tells the time of the last write.
                let answer = wait(async { self.driver.plain().run_command(doc! { "ping": 1 }).await });
                let time = answer.ok().and_then(|answer| answer.get_timestamp("operationTime").ok());
                let others = match time {
                    Some(time) => (u64::from(time.time) << 32) | u64::from(time.increment),
                    // All that can be said is that something may have changed. A server that is away for a moment is waited for by whoever looks then, which this command does not.
                    None => asked.map_or(0, |(_, others)| others) + 1,
                };
                *asked = Some((when, others));
                others
            }
        };
        Ok(others.wrapping_add(written << 48))
    }

    fn append(&self, at: i64, appends: &[Append<'_>]) -> Option<Vec<Result<Option<u64>, StreamsError>>> {
        let answers = match self.driver.enter() {
            Ok(_entered) => self.append_all(at, appends),
            Err(error) => appends.iter().map(|_| Err(error.clone())).collect(),
        };
        self.written.fetch_add(1, Ordering::Release);
        Some(answers)
    }
}

impl Drop for MongoStore {
    fn drop(&mut self) {
        // Sessions want the driver's runtime when they are let go of.
        if let Ok(_entered) = self.driver.enter() {
            self.writers.clear();
        }
    }
}

impl std::fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MongoStore").field(&self.driver.failures.store).finish()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long to wait before an attempt: longer each time, and not as long as others do.
fn pause(failed: u32) -> Duration {
    use std::hash::{BuildHasher, RandomState};

    let most = 1000_u64 << failed.min(5);
    Duration::from_micros(most / 2 + RandomState::new().hash_one(failed) % most)
}
