//! The producer of a lane, and its transactions.
//!
//! A lane has a producer of its own, whose transactional id is the application and the lane. Whoever takes a lane over thereby fences the former owner
//! at once, and an open transaction of his is aborted before positions are read: nobody waits for a timeout. One producer for all lanes of a thread would need fewer
//! connections, but its id would not tell whose transaction is open.
//!
//! A transaction is opened only when all that belongs to it is there, so that it is open for some milliseconds, whatever the function takes; and
//! it can be made again, since what belongs to it is kept until it is durable. The three classes of errors are treated so:
//!
//! - **retriable**: the same call again, after a pause;
//! - **abortable**: the transaction is aborted and made again;
//! - **fatal**: a new producer takes the place of this one, unless another producer has fenced it. When that happens while a transaction is being committed, nobody
//!   knows whether it was.
//!
//! Before a new producer sends anything, the committed offsets are looked at. Nobody else can change them any more, since they were fenced, and they
//! tell whether the transaction was made, or not, or whether the lane was another's meanwhile. So nothing is written twice whoever believes to own
//! the lane: that the group refuses what comes from a former member only makes it known sooner.
//!
//! All calls here block, for a bounded time; they are made on threads where that is allowed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, TopicPartitionList};
use watermill_core::error::BrokerError;

use crate::context::{Context, Health};
use crate::failure::{Told, client_failure, failure};
use crate::fault::fault_point;
use crate::group::{Group, Stands};
use crate::offsets_caller::OffsetsCaller;
use crate::outbox::{Message, Outbox};
use crate::transaction::{
    CALL, Failed, PAUSE, Undelivered, abort, again, call, classed, drain, is_fenced, is_retriable, send,
};

/// How long it may take to connect before it is gone on without.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The longest pause before a transaction is made again that has failed several times.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Without transactions, results are sent as soon as there are so many bytes of them.
const SEND_AT: usize = 32 << 10;

/// The producer of a lane, with what it is to send.
pub(crate) struct LaneProducer {
    config: ClientConfig,
    /// The names of the topics, as messages number them.
    topics: Vec<String>,
    /// Those to whose partition of this lane no other lane writes.
    own: Vec<usize>,
    lane: u32,
    transactional: bool,
    retry_for: Duration,
    producer: Option<Arc<BaseProducer<Context>>>,
    /// Made with the first transaction.
    offsets_caller: Option<OffsetsCaller>,
    health: Health,
    /// Another producer of the same id has begun after this one.
    fenced: bool,
    pub(crate) outbox: Outbox,
}

/// What belongs to a transaction beside the messages.
pub(crate) struct Commit<'a> {
    pub(crate) offsets: &'a TopicPartitionList,
    pub(crate) group: &'a Group,
    /// Where the committed offsets stand, as a new producer finds them.
    pub(crate) stands: &'a dyn Fn(&mut LaneProducer) -> Result<Stands, BrokerError>,
    /// The lane was lost: whatever this would commit is done elsewhere.
    pub(crate) is_lost: &'a dyn Fn() -> bool,
}

impl LaneProducer {
    pub(crate) fn new(
        config: ClientConfig,
        topics: Vec<String>,
        own: Vec<usize>,
        lane: u32,
        transactional: bool,
        retry_for: Duration,
        health: &Health,
    ) -> Self {
        let (producer, health, outbox) = (None, health.sibling(), Outbox::default());
        Self {
            config,
            topics,
            own,
            lane,
            transactional,
            retry_for,
            producer,
            offsets_caller: None,
            health,
            fenced: false,
            outbox,
        }
    }

    /// Whether another producer of this lane has begun after this one: what it does, this one can do no more.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.transactional
    }

    /// The topics that are written, with their numbers.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (usize, &str)> {
        self.topics.iter().map(String::as_str).enumerate()
    }

    /// Whether this lane alone writes to its partition of the topic of this number.
    pub(crate) fn is_own(&self, number: usize) -> bool {
        self.own.contains(&number)
    }

    fn place(&self) -> String {
        match self.topics.as_slice() {
            [topic] => format!("lane {}, topic `{topic}`", self.lane),
            topics => format!("lane {}, topics {}", self.lane, topics.join(", ")),
        }
    }

    fn failed(&self, action: &str, cause: KafkaError) -> BrokerError {
        let error = client_failure(action, self.place(), cause);
        // That nobody answers says more than which call was not answered.
        match self.health.hopeless(Duration::ZERO) {
            Some(reason) => BrokerError { cause: Told(reason).into(), ..error },
            None => error,
        }
    }

    /// Connects. Fences whoever had this lane before, and ends his transaction.
    pub(crate) fn start(&mut self) -> Result<(), BrokerError> {
        self.producer = None;
        let context = Context { health: self.health.clone(), late: true, ..Context::default() };
        let made = self.config.create_with_context::<_, BaseProducer<Context>>(context);
        let producer = made.map_err(|cause| self.failed("make a producer for", cause))?;
        if self.transactional {
            // Until it is connected: else it looks for its coordinator too early, and again only half a second later.
            let topic = self.topics.first().map(String::as_str);
            if let Err(error) = producer.client().fetch_metadata(topic, CONNECT_WITHIN) {
                tracing::debug!(target: "watermill", error = &error as &dyn std::error::Error, "not connected yet");
            }
            let until = self.health.until(self.retry_for);
            while let Err(error) = producer.init_transactions(call(until)) {
                producer.poll(Duration::ZERO);
                self.fenced |= is_fenced(&error);
                let again = is_retriable(&error) && self.health.fatal().is_none();
                if !again || Instant::now() >= until {
                    return Err(self.failed("begin transactions for", error));
                }
                std::thread::sleep(PAUSE);
            }
        }
        self.producer = Some(Arc::new(producer));
        fault_point!("fenced");
        Ok(())
    }

    /// Without transactions: sends what waits, if that is enough to be worth it.
    pub(crate) fn send_early(&mut self) -> Result<(), BrokerError> {
        if self.transactional || self.outbox.size() < SEND_AT {
            return Ok(());
        }
        self.send_unsent()?;
        self.outbox.clear();
        Ok(())
    }

    fn send_unsent(&mut self) -> Result<(), BrokerError> {
        let Some(producer) = &self.producer else {
            return Err(failure("write", self.place(), "its producer is gone"));
        };
        let until = self.health.until(self.retry_for);
        match send(producer, &self.health, &self.topics, &mut self.outbox, until) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed("write", error)),
        }
    }

    /// Without transactions: waits until all that was sent has arrived.
    pub(crate) fn send_all(&mut self) -> Result<(), BrokerError> {
        self.send_unsent()?;
        self.outbox.clear();
        let Some(producer) = &self.producer else { return Ok(()) };
        let until = self.health.until(self.retry_for);
        match drain(producer, &self.health, &self.topics, until) {
            Ok(()) => Ok(()),
            Err(Undelivered::Message(code, place)) => {
                let cause = KafkaError::MessageProduction(code);
                Err(client_failure("write a result to", place, cause))
            }
            Err(Undelivered::Late) => {
                let reason = self.health.last().unwrap_or_else(|| "no server answers".to_owned());
                Err(failure("write", self.place(), Told(reason)))
            }
        }
    }

    /// Makes the outbox and `commit` durable in one transaction, trying again as long as that makes sense.
    pub(crate) fn commit(&mut self, commit: &Commit<'_>) -> Result<(), BrokerError> {
        let until = self.health.until(self.retry_for);
        let mut pause = PAUSE;
        loop {
            if (commit.is_lost)() {
                return Err(failure("commit", self.place(), "the lane went to another process"));
            }
            if self.producer.is_none() {
                self.start()?;
                match (commit.stands)(self)? {
                    Stands::Before => {}
                    Stands::Behind => break,
                    Stands::Elsewhere => {
                        self.fenced = true;
                        return Err(failure(
                            "commit",
                            self.place(),
                            "another process has walked it meanwhile",
                        ));
                    }
                }
            }
            self.outbox.sent = 0;
            let (again, cause) = match self.attempt(commit, until) {
                Ok(()) => break,
                Err(Failed::Refused(error)) => return Err(error),
                Err(Failed::Aborted(cause)) => (true, cause),
                Err(Failed::Fatal { error, fenced }) => {
                    self.fenced |= fenced;
                    self.producer = None;
                    (!fenced, error)
                }
            };
            tracing::warn!(
                target: "watermill",
                lane = self.lane,
                error = &cause as &dyn std::error::Error,
                again,
                "a transaction has failed"
            );
            if !again || Instant::now() >= until || self.health.fatal().is_some() {
                return Err(self.failed("commit", cause));
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        self.health.well();
        self.outbox.clear();
        Ok(())
    }

    /// Makes a transaction of an empty message to `partition` of each of `topics` and of `offsets`, and aborts it: what stood open there of this
    /// lane ends with it.
    pub(crate) fn abort_at(
        &mut self,
        topics: &[usize],
        partition: i32,
        offsets: &TopicPartitionList,
        group: &Group,
    ) -> Result<(), BrokerError> {
        let until = Instant::now() + CALL;
        let mut empty = Outbox::default();
        for topic in topics {
            let (key, timestamp, headers) = (None, None, None);
            empty.messages.push(Message { topic: *topic, partition, key, value: 0..0, timestamp, headers });
        }
        let waiting = std::mem::replace(&mut self.outbox, empty);
        let ended = self.fill(offsets, group, until).and_then(|()| match &self.producer {
            Some(producer) => abort(producer, until),
            None => Ok(()),
        });
        self.outbox = waiting;
        ended.map_err(|failed| match failed {
            Failed::Aborted(cause) | Failed::Fatal { error: cause, .. } => {
                self.failed("end a transaction that the servers have left open for", cause)
            }
            Failed::Refused(error) => error,
        })
    }

    fn attempt(&mut self, commit: &Commit<'_>, until: Instant) -> Result<(), Failed> {
        self.fill(commit.offsets, commit.group, until)?;
        let Some(producer) = &self.producer else {
            return Err(Failed::Aborted(KafkaError::Canceled));
        };
        let committed = again(until, || {
            fault_point!("commit");
            producer.commit_transaction(call(until))
        });
        committed.map_err(|error| classed(producer, error, until, true))?;
        fault_point!("committed");
        Ok(())
    }

    /// Begins a transaction, and puts all into it that belongs to it.
    fn fill(&mut self, offsets: &TopicPartitionList, group: &Group, until: Instant) -> Result<(), Failed> {
        let Some(producer) = &self.producer else {
            return Err(Failed::Aborted(KafkaError::Canceled));
        };
        drop(self.health.take_undelivered());
        again(until, || producer.begin_transaction())
            .map_err(|error| classed(producer, error, until, false))?;
        fault_point!("begun");
        let sent = send(producer, &self.health, &self.topics, &mut self.outbox, until);
        sent.map_err(|error| classed(producer, error, until, false))?;
        // Anew for every transaction: it says which generation of the group this is.
        let Some(group) = group.metadata().map(Arc::new) else {
            abort(producer, until)?;
            return Err(Failed::Aborted(KafkaError::Canceled));
        };
        let caller = match &self.offsets_caller {
            Some(caller) => caller,
            None => {
                let started = OffsetsCaller::start(self.lane).map_err(|cause| {
                    Failed::Refused(failure("commit", format!("lane {}", self.lane), cause))
                })?;
                self.offsets_caller.insert(started)
            }
        };
        // The servers take the offsets while messages are under way. Whatever becomes of those: nothing else can be asked of the producer before it is done with the offsets.
        let answered = caller.begin(producer, offsets, group.clone(), call(until));
        // Drained here: the commit by itself would wait for a tenth of a second at a time.
        let drained = drain(producer, &self.health, &self.topics, until);
        let mut answer = caller.answer(answered);
        while let (Some(Err(error)), Ok(())) = (&answer, &drained)
            && is_retriable(error)
            && Instant::now() < until
        {
            std::thread::sleep(PAUSE);
            let answered = caller.begin(producer, offsets, group.clone(), call(until));
            answer = caller.answer(answered);
        }
        let Some(answer) = answer else {
            self.offsets_caller = None;
            let error = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
            return Err(Failed::Fatal { error, fenced: false });
        };
        match drained {
            Ok(()) => {
                fault_point!("drained");
            }
            Err(Undelivered::Message(code @ RDKafkaErrorCode::MessageSizeTooLarge, place)) => {
                abort(producer, until)?;
                let cause = KafkaError::MessageProduction(code);
                return Err(Failed::Refused(client_failure("write a result to", place, cause)));
            }
            Err(Undelivered::Message(code, _)) => {
                return Err(classed(producer, KafkaError::MessageProduction(code), until, false));
            }
            Err(Undelivered::Late) => {
                let late = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
                return Err(classed(producer, late, until, false));
            }
        }
        answer.map_err(|error| classed(producer, error, until, false))?;
        fault_point!("offsets-sent");
        Ok(())
    }
}
