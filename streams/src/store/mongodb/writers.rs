//! Who writes. A transaction that a killed process has left open stands in the way of others for as long as the server waits for its end, a minute most often; so processes tell as long as they
//! are there, and who is held up ends the sessions of those that tell nothing any more.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use mongodb::{ClientSession, Collection};

use super::driver::{Driver, wait};
use super::layout::WRITERS;
use crate::error::StreamsError;

/// Processes tell that often that they are there, while they write.
const BEAT: Duration = Duration::from_millis(500);

/// Who has not done so for this time is not there, in milliseconds.
const SILENT: i64 = 2500;

/// The sessions of a store.
pub(super) struct Writers {
    free: Mutex<Vec<ClientSession>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What the sessions are called.
    names: Mutex<Vec<Bson>>,
    active: AtomicUsize,
    /// When it was last told, in milliseconds since `began`; 0 for never.
    told: AtomicU64,
    began: Mutex<Option<Instant>>,
}

impl Shared {
    fn names(&self) -> Vec<Bson> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn now(&self) -> u64 {
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let since = began.get_or_insert_with(Instant::now).elapsed();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Tells that they are there.
    async fn tell(&self, collection: &Collection<Document>) -> Result<(), mongodb::error::Error> {
        let now = self.now();
        for name in self.names() {
            let seen = doc! { "$currentDate": { "seen": true } };
            collection.update_one(doc! { "_id": name }, seen).upsert(true).await?;
        }
        self.told.store(now, Ordering::Release);
        Ok(())
    }

    fn is_due(&self) -> bool {
        let told = self.told.load(Ordering::Acquire);
        told == 0 || self.now().saturating_sub(told) > u64::try_from(BEAT.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A session in use.
pub(super) struct Writer<'a> {
    writers: &'a Writers,
    session: Option<ClientSession>,
}

impl Writer<'_> {
    /// Takes the session out.
    pub(super) fn take(&mut self) -> Option<ClientSession> {
        self.session.take()
    }

    /// Puts it back.
    pub(super) fn put(&mut self, session: Option<ClientSession>) {
        self.session = session;
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.writers.shared.active.fetch_sub(1, Ordering::AcqRel);
        if let Some(session) = self.session.take() {
            self.writers.free.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
    }
}

impl Writers {
    pub(super) fn start(driver: &Driver) -> Self {
        let shared = Arc::new(Shared::default());
        let (weak, collection) = (Arc::downgrade(&shared), driver.collection(WRITERS));
        driver.spawn(async move {
            loop {
                tokio::time::sleep(BEAT).await;
                let Some(shared) = weak.upgrade() else { return };
                if shared.active.load(Ordering::Acquire) > 0
                    && let Err(error) = shared.tell(&collection).await
                {
                    tracing::debug!(target: "watermill", error = %error.kind, "it could not be told that this process is there");
                }
            }
        });
        Self { free: Mutex::default(), shared }
    }

    /// A session.
    pub(super) fn take(&self, driver: &Driver) -> Result<Writer<'_>, StreamsError> {
        let told = |cause| driver.failures.of("begin a transaction", cause);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = match free {
            Some(session) => session,
            None => {
                let client = driver.client()?;
                let session = wait(async { client.start_session().await }).map_err(told)?;
                let mut names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
                names.extend(session.id().get("id").cloned());
                self.shared.told.store(0, Ordering::Release);
                session
            }
        };
        self.shared.active.fetch_add(1, Ordering::AcqRel);
        let writer = Writer { writers: self, session: Some(session) };
        if self.shared.is_due() {
            wait(self.shared.tell(&driver.collection(WRITERS))).map_err(told)?;
        }
        Ok(writer)
    }

    /// Lets go of all sessions.
    pub(super) fn clear(&self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Ends what processes have left open that are not there any more.
    pub(super) fn relieve(&self, driver: &Driver) -> Result<(), mongodb::error::Error> {
        let collection = driver.collection(WRITERS);
        wait(async {
            // By the clock of the server.
            let own = self.shared.names().into_iter().next().unwrap_or(Bson::Null);
            let now = collection
                .find_one_and_update(doc! { "_id": own }, doc! { "$currentDate": { "seen": true } })
                .upsert(true)
                .return_document(ReturnDocument::After)
                .await?;
            let Some(now) = now.as_ref().and_then(|own| own.get_datetime("seen").ok()) else { return Ok(()) };
            let before = bson::DateTime::from_millis(now.timestamp_millis() - SILENT);
            let mut silent = collection.find(doc! { "seen": { "$lt": before } }).await?;
            let mut sessions = Vec::new();
            while silent.advance().await? {
                let found = silent.deserialize_current()?;
                sessions.extend(found.get("_id").cloned());
            }
            if sessions.is_empty() {
                return Ok(());
            }
            tracing::debug!(target: "watermill", count = sessions.len(), "what processes have left open that are not there any more is ended");
            let killed: Vec<Document> = sessions.iter().map(|id| doc! { "id": id.clone() }).collect();
            driver.plain().run_command(doc! { "killSessions": killed }).await?;
            collection.delete_many(doc! { "_id": { "$in": sessions }, "seen": { "$lt": before } }).await?;
            Ok(())
        })
    }
}
