//! Leases: which process walks which lane, in the collection `watermill_leases`, a document a lane.
//!
//! A lease is taken by whoever finds it free or expired, and renewed three times while it lasts. Each time it is taken its epoch goes up, and the first thing its owner does with
//! it is to write that epoch into the positions of the lane: from then on the former owner can commit nothing, however long it was stopped. So expiry decides only how soon
//! a lane goes on elsewhere, never whether results are right. Times are those of the server's clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{DateTime, Document, doc};
use mongodb::options::{FindOneAndUpdateOptions, ReturnDocument};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use watermill_core::broker::Ownership;
use watermill_core::error::BrokerError;

use crate::driver::{Driver, durable};
use crate::failure::{code, driver_failure, failure, passes};
use crate::positions::{Identity, number};

/// Where they are.
pub(crate) const COLLECTION: &str = "watermill_leases";

/// The leases of a run, and what renews them.
pub(crate) struct Leases {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    driver: Driver,
    identity: Identity,
    /// Nobody else has it.
    owner: String,
    lease: Duration,
    most: u32,
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Default)]
struct Table {
    held: BTreeMap<u32, Entry>,
    /// Taken, and not yet asked for.
    ready: VecDeque<u32>,
    /// Those that have come to their end.
    done: BTreeSet<u32>,
    /// The run comes to its end: no more are taken.
    closing: bool,
    failed: Option<BrokerError>,
}

struct Entry {
    epoch: i64,
    ownership: Ownership,
    renewed: Instant,
}

/// A lane that is held. It is let go of with its last clone.
pub(crate) struct Held {
    shared: Arc<Shared>,
    pub(crate) lane: u32,
    pub(crate) epoch: i64,
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Leases {
    pub(crate) fn start(
        driver: &Driver,
        identity: Identity,
        lease: Duration,
        most: Option<u32>,
    ) -> Result<Self, BrokerError> {
        let handle = driver
            .handle()
            .ok_or_else(|| failure("lease", "lanes", "the driver's threads have ended"))?
            .clone();
        let shared = Arc::new(Shared {
            driver: driver.clone(),
            most: most.unwrap_or(u32::MAX),
            identity,
            owner: format!("{}-{}", std::process::id(), ObjectId::new()),
            lease,
            table: Mutex::default(),
            changed: Notify::new(),
        });
        let task = handle.spawn(keep(Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// The next lane that is ours to walk; `None` when all have come to their end. Dropping the future loses none.
    pub(crate) async fn next(&self) -> Result<Option<u32>, BrokerError> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut table = self.shared.table();
                if let Some(error) = table.failed.take() {
                    return Err(error);
                }
                if let Some(lane) = table.ready.pop_front() {
                    return Ok(Some(lane));
                }
                if table.done.len() >= self.shared.identity.lanes as usize {
                    return Ok(None);
                }
            }
            changed.await;
        }
    }

    pub(crate) fn ownership(&self, lane: u32) -> Option<Ownership> {
        self.shared.table().held.get(&lane).map(|entry| entry.ownership.clone())
    }

    /// The lane, to be walked; `None` when it was lost meanwhile.
    pub(crate) fn hold(&self, lane: u32) -> Option<Held> {
        let table = self.shared.table();
        let epoch = table.held.get(&lane)?.epoch;
        Some(Held { shared: Arc::clone(&self.shared), lane, epoch })
    }
}

impl Held {
    /// The lane has come to its end.
    pub(crate) fn done(&self) {
        self.shared.end(self.lane);
    }

    /// A commit has failed: whether another one has the lane. `epoch` is the one it was made under.
    pub(crate) async fn look(&self, epoch: Option<i64>) {
        let (shared, lane) = (Arc::clone(&self.shared), self.lane);
        let own = epoch.unwrap_or(self.epoch);
        let driver = self.shared.driver.clone();
        let found = driver.run(async move { shared.find(lane).await }).await;
        let epoch = found.ok().and_then(Result::ok).flatten().and_then(|found| number(found.get("epoch")?));
        if epoch.is_some_and(|epoch| epoch != own) {
            self.shared.lose(self.lane, self.epoch);
        }
    }

    /// Gives the lane back, so that another process need not wait for the lease to expire. This one takes no more.
    pub(crate) async fn release(&self) {
        let (shared, lane, epoch) = (Arc::clone(&self.shared), self.lane, self.epoch);
        let driver = self.shared.driver.clone();
        drop(driver.run(async move { shared.release(lane, epoch).await }).await);
    }

    /// The lane belongs to another one already.
    pub(crate) fn lose(&self) {
        self.shared.lose(self.lane, self.epoch);
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, lane: u32) -> String {
        Identity { lane, ..self.identity.clone() }.id()
    }

    fn location(&self) -> String {
        format!("the lanes of `{}` in collection `{COLLECTION}`", self.identity.application)
    }

    fn lose(&self, lane: u32, epoch: i64) {
        let mut table = self.table();
        if table.held.get(&lane).is_some_and(|entry| entry.epoch == epoch) {
            if let Some(entry) = table.held.remove(&lane) {
                tracing::warn!(target: "watermill", lane, epoch, "another process has taken the lane");
                entry.ownership.lose();
            }
            table.ready.retain(|ready| *ready != lane);
        }
        drop(table);
        self.changed.notify_waiters();
    }

    fn end(&self, lane: u32) {
        let mut table = self.table();
        table.done.insert(lane);
        table.held.remove(&lane);
        drop(table);
        self.changed.notify_waiters();
    }

    async fn find(&self, lane: u32) -> Result<Option<Document>, mongodb::error::Error> {
        self.driver.collection(COLLECTION).find_one(doc! { "_id": self.id(lane) }).await
    }

    async fn release(&self, lane: u32, epoch: i64) {
        {
            let mut table = self.table();
            table.closing = true;
            table.held.remove(&lane);
        }
        let filter = doc! { "_id": self.id(lane), "owner": &self.owner, "epoch": epoch };
        let update = doc! { "$set": { "expires": DateTime::from_millis(0) } };
        // If it does not arrive, the lease expires.
        drop(self.driver.collection(COLLECTION).update_one(filter, update).await);
    }

    /// Renews what is held, and says which of it is not ours any more.
    async fn renew(&self, now: DateTime) -> Result<(), mongodb::error::Error> {
        let held: Vec<(u32, i64)> =
            self.table().held.iter().map(|(lane, entry)| (*lane, entry.epoch)).collect();
        let expires = DateTime::from_millis(now.timestamp_millis() + self.lease.as_millis() as i64);
        for (lane, epoch) in held {
            let since = Instant::now();
            let filter = doc! { "_id": self.id(lane), "owner": &self.owner, "epoch": epoch };
            let update = doc! { "$set": { "expires": expires } };
            let renewed = self.driver.collection(COLLECTION).update_one(filter, update).await?;
            if renewed.matched_count == 0 {
                self.lose(lane, epoch);
            } else if let Some(entry) = self.table().held.get_mut(&lane) {
                entry.renewed = since;
            }
        }
        Ok(())
    }

    /// Takes what is free or has expired.
    async fn take(&self, now: DateTime) -> Result<(), mongodb::error::Error> {
        for lane in 0..self.identity.lanes {
            {
                let table = self.table();
                if table.closing || table.held.len() >= self.most as usize {
                    return Ok(());
                }
                if table.held.contains_key(&lane) || table.done.contains(&lane) {
                    continue;
                }
            }
            if let Some(epoch) = self.take_one(lane, now).await? {
                let mut table = self.table();
                let entry = Entry { epoch, ownership: Ownership::new(), renewed: Instant::now() };
                table.held.insert(lane, entry);
                table.ready.push_back(lane);
                drop(table);
                tracing::info!(target: "watermill", lane, epoch, "the lane is leased");
                self.changed.notify_waiters();
            }
        }
        Ok(())
    }

    async fn take_one(&self, lane: u32, now: DateTime) -> Result<Option<i64>, mongodb::error::Error> {
        let expires = DateTime::from_millis(now.timestamp_millis() + self.lease.as_millis() as i64);
        let filter = doc! { "_id": self.id(lane), "expires": { "$lt": now } };
        let update =
            doc! { "$inc": { "epoch": 1_i64 }, "$set": { "owner": &self.owner, "expires": expires } };
        let options = FindOneAndUpdateOptions::builder()
            .upsert(true)
            .return_document(ReturnDocument::After)
            .write_concern(durable())
            .build();
        match self
            .driver
            .collection(COLLECTION)
            .find_one_and_update(filter, update)
            .with_options(options)
            .await
        {
            Ok(found) => Ok(found.and_then(|found| number(found.get("epoch")?))),
            // It is there, and has not expired.
            Err(error) if code(&error) == Some(11000) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was not renewed for as long as a lease lasts may be another one's by now.
    fn expire(&self) {
        let lost: Vec<(u32, i64)> = self
            .table()
            .held
            .iter()
            .filter(|(_, entry)| entry.renewed.elapsed() > self.lease)
            .map(|(lane, entry)| (*lane, entry.epoch))
            .collect();
        for (lane, epoch) in lost {
            self.lose(lane, epoch);
        }
    }

    async fn turn(&self) -> Result<(), BrokerError> {
        let failed = |error| driver_failure("lease", self.location(), error);
        let now = self.driver.server_time().await.map_err(failed)?;
        self.renew(now).await.map_err(failed)?;
        for lane in self.identity.finished(&self.driver).await? {
            // Our own tell it by themselves.
            if !self.table().held.contains_key(&lane) {
                self.end(lane);
            }
        }
        self.take(now).await.map_err(failed)
    }
}

/// Renews and takes leases, as long as the run goes on.
async fn keep(shared: Arc<Shared>) {
    let mut failing: Option<Instant> = None;
    loop {
        shared.expire();
        match shared.turn().await {
            Ok(()) => failing = None,
            Err(error) => {
                let since = *failing.get_or_insert_with(Instant::now);
                if !passes(&error) || since.elapsed() > shared.driver.retry_for {
                    shared.table().failed = Some(error);
                    shared.changed.notify_waiters();
                    return;
                }
            }
        }
        tokio::time::sleep(shared.lease / 3).await;
    }
}
