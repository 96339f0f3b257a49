//! The commit of a lane: results, EndOfStream marks and positions in one step.
//!
//! The walk does not wait for it. What it writes meanwhile belongs to the next commit, which begins when this one is durable; so one at most is under way, and if it fails the
//! run goes no further.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::ClientSession;
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{ReadConcern, TransactionOptions};
use tokio::task::JoinHandle;
use watermill_core::broker::{BoxFuture, Checkpoint, Committer};
use watermill_core::error::BrokerError;

use crate::driver::{Driver, durable, joined};
use crate::failure::{Told, failure, may_pass};
use crate::fault::fault_point;
use crate::leases::Held;
use crate::outbox::{Inserting, Outbox, Write, commands};
use crate::patience::Patience;
use crate::positions::{COLLECTION, Claimed, Identity};

/// What suits MongoDB: a transaction takes some milliseconds.
const INTERVAL: Duration = Duration::from_millis(100);

/// How results and positions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// In one transaction.
    Transaction,
    /// Results first, under `_id`s that a second attempt writes over, and then positions.
    Idempotent,
}

/// What commits a lane.
pub(crate) struct MongoCommitter {
    /// `None` while it commits.
    pub(crate) work: Option<Box<Work>>,
    /// The commit that is not durable yet.
    pub(crate) under_way: Option<UnderWay>,
    pub(crate) outbox: Arc<Mutex<Outbox>>,
    pub(crate) most_uncommitted: usize,
    /// Its lease, where it has one.
    pub(crate) held: Option<Arc<Held>>,
}

/// A commit that the driver's threads are at.
pub(crate) struct UnderWay {
    task: JoinHandle<(Box<Work>, Result<(), BrokerError>)>,
    /// How many results each output has had with it.
    counts: Vec<u64>,
    /// It is the lane's last one.
    finished: bool,
}

/// What a commit needs.
pub(crate) struct Work {
    pub(crate) driver: Driver,
    /// `None` where they are in other hands.
    pub(crate) positions: Option<(Identity, Claimed)>,
    /// Collections that end get a mark.
    pub(crate) write_eos: bool,
    /// Which outputs have ended in commits before.
    pub(crate) ended: Vec<bool>,
    /// In which all transactions of the lane are made, where there are some: who takes the lane over ends it, and with it what is open.
    pub(crate) session: Option<ClientSession>,
}

/// Everything that one commit writes.
struct Contents {
    /// For each collection what is written to it.
    writes: Vec<(String, Vec<Write>)>,
    /// The outputs that end with it, by number, and where they are.
    marks: Vec<(usize, String)>,
    filter: Document,
    update: Document,
}

impl Contents {
    /// The commands that write it all.
    fn commands(&self, inserting: Inserting) -> impl Iterator<Item = RawDocumentBuf> {
        self.writes.iter().flat_map(move |(collection, writes)| commands(collection, writes, inserting))
    }
}

/// Why an attempt came to nothing.
enum Broken {
    Driver(Error),
    /// The server refuses one of the documents.
    Refused(BrokerError),
    /// The positions are not as they were left.
    Moved,
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl Work {
    async fn commit(
        &mut self,
        writes: Vec<(String, Vec<Write>)>,
        counts: &[u64],
        checkpoint: &Checkpoint,
    ) -> Result<(), BrokerError> {
        let Some((identity, claimed)) = &self.positions else {
            // Nothing is written here, and what was read is kept elsewhere.
            return Ok(());
        };
        let (filter, update) = identity.commit(claimed, checkpoint, counts)?;
        let ends = |output: usize| {
            let now = checkpoint.ended_outputs.get(output).copied().unwrap_or(false);
            self.write_eos && now && !self.ended.get(output).copied().unwrap_or(false)
        };
        let contents = Contents {
            marks: writes
                .iter()
                .enumerate()
                .filter(|(output, _)| ends(*output))
                .map(|(output, (collection, _))| (output, collection.clone()))
                .collect(),
            writes,
            filter,
            update,
        };
        let mut session = self.session.take();
        let written = self.write(identity, claimed, &contents, session.as_mut()).await;
        self.session = session;
        written?;
        fault_point!("committed");
        if let Some((_, claimed)) = &mut self.positions {
            claimed.commit += 1;
        }
        self.ended.clone_from(&checkpoint.ended_outputs);
        Ok(())
    }

    /// Makes attempts until one has come through.
    async fn write(
        &self,
        identity: &Identity,
        claimed: &Claimed,
        contents: &Contents,
        mut session: Option<&mut ClientSession>,
    ) -> Result<(), BrokerError> {
        let location = || format!("the results of `{}`", identity.id());
        let mut patience = Patience::new(self.driver.retry_for);
        let mut again = false;
        loop {
            let done = match session.as_deref_mut() {
                Some(session) => self.in_transaction(identity, contents, session).await,
                None => {
                    self.one_by_one(identity, claimed, contents, std::mem::replace(&mut again, true)).await
                }
            };
            match done {
                Ok(()) => return Ok(()),
                Err(Broken::Refused(error)) => return Err(error),
                Err(Broken::Driver(error)) => patience.after(error, "commit", location()).await?,
                Err(Broken::Moved) => {}
            }
            // An attempt whose end was not told may have come through all the same.
            let (epoch, commit) = loop {
                match identity.look(&self.driver).await {
                    Ok(Some(found)) => break found,
                    Ok(None) => {
                        let cause = "they were deleted while it ran";
                        return Err(failure(
                            "commit",
                            format_args!("the positions of {}", location()),
                            cause,
                        ));
                    }
                    Err(error) => patience.after(error, "look at", location()).await?,
                }
            };
            if epoch != claimed.epoch {
                return Err(failure("commit", location(), Told(fenced(&identity.application))));
            }
            if commit == claimed.commit + 1 {
                return Ok(());
            }
            if commit != claimed.commit {
                let cause = "another run has committed under the same epoch, which takes positions that were changed by hand";
                return Err(failure("commit", location(), cause));
            }
        }
    }

    async fn in_transaction(
        &self,
        identity: &Identity,
        contents: &Contents,
        session: &mut ClientSession,
    ) -> Result<(), Broken> {
        let options = TransactionOptions::builder()
            .read_concern(ReadConcern::snapshot())
            .write_concern(durable())
            .build();
        session.start_transaction().with_options(options).await?;
        fault_point!("begun");
        if let Err(broken) = self.fill(identity, contents, session).await {
            // The server ends it by itself if it is not told.
            let _ = session.abort_transaction().await;
            return Err(broken);
        }
        fault_point!("filled");
        let since = Instant::now();
        loop {
            let Err(error) = session.commit_transaction().await else { return Ok(()) };
            // As the driver's specification has it: the same commit again, where its end was not told; all of it again, where it was undone. Beyond that
            // the positions say what has become of it.
            let unknown = error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT);
            let in_time = since.elapsed() < self.driver.retry_for;
            if unknown && in_time && !error.contains_label(TRANSIENT_TRANSACTION_ERROR) && !is_gone(&error) {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            return Err(error.into());
        }
    }

    async fn fill(
        &self,
        identity: &Identity,
        contents: &Contents,
        session: &mut ClientSession,
    ) -> Result<(), Broken> {
        let database = self.driver.db();
        let positions = database.collection::<Document>(COLLECTION);
        for command in contents.commands(Inserting::Plain) {
            let answer = database.run_raw_command(command.clone()).session(&mut *session).await?;
            fault_point!("half-written");
            accepted(&answer, &command)?;
        }
        for (output, collection) in &contents.marks {
            let (filter, update) = noted_end(identity, *output);
            let options = mongodb::options::FindOneAndUpdateOptions::builder()
                .upsert(true)
                .return_document(mongodb::options::ReturnDocument::After)
                .build();
            let ends = positions
                .find_one_and_update(filter, update)
                .with_options(options)
                .session(&mut *session)
                .await?;
            if all_ended(identity, *output, ends.as_ref()) {
                let (filter, update) = mark(identity);
                let target = database.collection::<Document>(collection);
                target.replace_one(filter, update).upsert(true).session(&mut *session).await?;
            }
        }
        // Last, so that nobody who takes the lane over has to wait for a transaction that a killed process has left open, unless it was killed right here.
        let found = positions
            .update_one(contents.filter.clone(), contents.update.clone())
            .session(&mut *session)
            .await?;
        if found.matched_count == 0 {
            return Err(Broken::Moved);
        }
        Ok(())
    }

    /// Without transactions. A second attempt writes the same over the first.
    async fn one_by_one(
        &self,
        identity: &Identity,
        claimed: &Claimed,
        contents: &Contents,
        again: bool,
    ) -> Result<(), Broken> {
        // Who was fenced must not write: what he would write over belongs to another one.
        match identity.look(&self.driver).await? {
            Some((epoch, commit)) if epoch == claimed.epoch && commit == claimed.commit => {}
            _ => return Err(Broken::Moved),
        }
        let database = self.driver.db();
        let concern = bson::serialize_to_document(&durable()).unwrap_or_default();
        // What an earlier run had left was taken away, so only a second attempt finds something of the first.
        let inserting = if again { Inserting::Over } else { Inserting::Plain };
        for mut command in contents.commands(inserting) {
            if let Ok(concern) = RawDocumentBuf::try_from(&concern) {
                command.append(bson::raw::cstr!("writeConcern"), concern);
            }
            let answer = database.run_raw_command(command.clone()).await?;
            fault_point!("half-written");
            accepted(&answer, &command)?;
        }
        let positions = self.driver.collection(COLLECTION);
        for (output, collection) in &contents.marks {
            let (filter, update) = noted_end(identity, *output);
            let options = mongodb::options::FindOneAndUpdateOptions::builder()
                .upsert(true)
                .return_document(mongodb::options::ReturnDocument::After)
                .write_concern(durable())
                .build();
            let ends = positions.find_one_and_update(filter, update).with_options(options).await?;
            if all_ended(identity, *output, ends.as_ref()) {
                let (filter, update) = mark(identity);
                self.driver.collection(collection).replace_one(filter, update).upsert(true).await?;
            }
        }
        fault_point!("filled");
        let found = positions.update_one(contents.filter.clone(), contents.update.clone()).await?;
        if found.matched_count == 0 { Err(Broken::Moved) } else { Ok(()) }
    }
}

/// Whether no commit of the transaction will be heard of any more over this session.
fn is_gone(error: &Error) -> bool {
    // 50 is `MaxTimeMSExpired`, which the specification excludes.
    crate::failure::code(error) == Some(50) || !may_pass(error)
}

/// What is told to a process whose lane or whose whole run another one has taken over.
pub(crate) fn fenced(application: &str) -> String {
    format!(
        "another process has taken over its positions since: only one process at a time may run `{application}`, or walk one of its lanes; this one has committed nothing since"
    )
}

/// An answer of the server may be one of success and still say that documents were refused.
fn accepted(answer: &Document, command: &RawDocumentBuf) -> Result<(), Broken> {
    let collection =
        || command.get_str("insert").or_else(|_| command.get_str("update")).unwrap_or_default().to_owned();
    if let Ok(errors) = answer.get_array("writeErrors")
        && let Some(first) = errors.iter().find_map(Bson::as_document)
    {
        let code = first.get_i32("code").unwrap_or_default();
        let message = first.get_str("errmsg").unwrap_or("it gives no reason");
        let list = if command.get_str("insert").is_ok() { "documents" } else { "updates" };
        let number =
            first.get_i32("index").ok().and_then(|index| usize::try_from(index).ok()).unwrap_or_default();
        let document = command.get_array(list).ok().and_then(|all| all.into_iter().flatten().nth(number));
        let id = document.and_then(|document| {
            let document = document.as_document()?;
            let path = if list == "documents" { "_id" } else { "q._id" };
            Some(crate::place::value_at(document, path).into_relaxed_extjson().to_string())
        });
        let id = id.unwrap_or_else(|| "?".to_owned());
        let hint = match code {
            11000 => {
                "; another document has this key already: write by `ResultCollection::replace_by` or `upsert_by`, or take the unique index away"
            }
            121 => "; the collection has a validator: mend the results, or change it by `collMod`",
            _ => "",
        };
        let cause = format!("the server refuses it ({code}): {message}{hint}");
        let location = format!("a result to collection `{}`, `_id` {id}", collection());
        return Err(Broken::Refused(failure("write", location, Told(cause))));
    }
    if let Ok(concern) = answer.get_document("writeConcernError") {
        let cause = format!(
            "it is not on enough servers: {}",
            concern.get_str("errmsg").unwrap_or("no reason is given")
        );
        // What is not known to be durable is written again.
        return Err(Broken::Refused(failure(
            "write",
            format_args!("results to collection `{}`", collection()),
            Told(cause),
        )));
    }
    Ok(())
}

/// Notes that a lane has ended an output. Lanes that end at the same time conflict here, so that one of them sees that it is the last.
fn noted_end(identity: &Identity, output: usize) -> (Document, Document) {
    let filter = doc! { "_id": format!("{}/ends", identity.application) };
    (filter, doc! { "$addToSet": { format!("ended.{output}"): i64::from(identity.lane) } })
}

fn all_ended(identity: &Identity, output: usize, ends: Option<&Document>) -> bool {
    let ended = ends.and_then(|ends| ends.get_document("ended").ok());
    let lanes = ended.and_then(|ended| ended.get_array(output.to_string()).ok());
    lanes.is_some_and(|lanes| lanes.len() >= identity.lanes as usize)
}

/// The document that ends a stream. One for each application: written again it is the same one.
fn mark(identity: &Identity) -> (Document, Document) {
    (doc! { "_id": format!("{}/eos", identity.application) }, doc! { "eos__": true })
}

impl Committer for MongoCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.settle_last().await?;
            let gone =
                || failure("commit", "the results of a lane", "an earlier commit was given up in the middle");
            let mut work = self.work.take().ok_or_else(gone)?;
            let (writes, counts) = self.take();
            let (driver, checkpoint, finished) =
                (work.driver.clone(), checkpoint.clone(), checkpoint.finished);
            let written = counts.clone();
            let task = driver.start(async move {
                let result = work.commit(writes, &written, &checkpoint).await;
                (work, result)
            })?;
            self.under_way = Some(UnderWay { task, counts, finished });
            if finished { self.settle_last().await } else { Ok(()) }
        })
    }

    fn settle(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(self.settle_last())
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn is_full(&self) -> bool {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner).is_full(self.most_uncommitted)
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let settled = self.settle_last().await;
            self.outbox.lock().unwrap_or_else(PoisonError::into_inner).clear();
            if let Some(held) = self.held.take() {
                held.release().await;
            }
            settled
        })
    }
}

impl MongoCommitter {
    /// Waits until the last commit is durable.
    async fn settle_last(&mut self) -> Result<(), BrokerError> {
        let Some(under_way) = &mut self.under_way else { return Ok(()) };
        // Given up here, it can still be waited for.
        let ended = (&mut under_way.task).await;
        let Some(UnderWay { counts, finished, .. }) = self.under_way.take() else { return Ok(()) };
        let (work, result) = joined(ended)?;
        let epoch = work.positions.as_ref().map(|(_, claimed)| claimed.epoch);
        self.work = Some(work);
        match (&result, &self.held) {
            (Err(_), Some(held)) => held.look(epoch).await,
            (Ok(()), held) => {
                let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
                for (pending, count) in outbox.outputs.iter_mut().zip(counts) {
                    pending.committed = count;
                }
                if let Some(held) = held.as_ref().filter(|_| finished) {
                    held.done();
                }
            }
            (Err(_), None) => {}
        }
        result
    }

    /// What waits, by collection, and how many results each output has had with it.
    fn take(&self) -> (Vec<(String, Vec<Write>)>, Vec<u64>) {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        outbox.bytes = 0;
        let counts = outbox.outputs.iter().map(|pending| pending.written).collect();
        let writes = outbox
            .outputs
            .iter_mut()
            .map(|pending| (pending.collection.clone(), std::mem::take(&mut pending.writes)))
            .collect();
        (writes, counts)
    }
}
