//! The driver, and how threads wait for it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bson::{Document, RawDocumentBuf, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, DatabaseOptions, ReadConcern, WriteConcern,
};
use mongodb::{Client, Collection, Database};
use tokio::runtime::{EnterGuard, Runtime};

use super::failure::Failures;
use crate::error::StreamsError;

/// The driver of a store.
pub(super) struct Driver {
    runtime: Option<Runtime>,
    client: Option<Client>,
    /// For transactions, which have concerns of their own.
    plain: Database,
    /// For all else: what is acknowledged is durable, and what is read cannot be rolled back.
    durable: Database,
    pub(super) failures: Failures,
}

impl Drop for Driver {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // Handles of the driver want its runtime when they are let go of.
        let entered = runtime.enter();
        self.client = None;
        drop(entered);
        // Waiting here could block a runtime of the user's.
        runtime.shutdown_background();
    }
}

impl Driver {
    pub(super) fn connect(url: &str) -> Result<Self, StreamsError> {
        let refused = |why: String| StreamsError::Url { url: shown(url), why };
        let failures = Failures { store: shown(url) };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("watermill-mongodb")
            .enable_all()
            .build()
            .map_err(|cause| {
                StreamsError::storage(&failures.store, "start the threads of the driver", cause)
            })?;
        let entered = runtime.enter();
        let mut options = wait(ClientOptions::parse(url)).map_err(|cause| refused(cause.kind.to_string()))?;
        options.app_name.get_or_insert_with(|| "watermill".to_owned());
        let name = options.default_database.clone().filter(|name| !name.is_empty()).ok_or_else(|| {
            refused("it names no database: write it behind the host, `mongodb://host/database`".to_owned())
        })?;
        let client = Client::with_options(options).map_err(|cause| refused(cause.kind.to_string()))?;
        let durably = DatabaseOptions::builder()
            .write_concern(majority())
            .read_concern(ReadConcern::majority())
            .build();
        let (plain, durable) = (client.database(&name), client.database_with_options(&name, durably));
        let hello =
            wait(plain.run_command(doc! { "hello": 1 })).map_err(|cause| failures.of("reach it", cause))?;
        let in_set = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        if !in_set || !hello.contains_key("logicalSessionTimeoutMinutes") {
            return Err(StreamsError::misuse(
                format!(
                    "{} belongs to no replica set, and so has no transactions, which streams need",
                    failures.store
                ),
                "let the server be a replica set, which may have one node: start it by `mongod --replSet rs0`, and call `rs.initiate()` once",
            ));
        }
        drop(entered);
        Ok(Self { runtime: Some(runtime), client: Some(client), plain, durable, failures })
    }

    /// As long as this is held, the driver can be used on this thread.
    pub(super) fn enter(&self) -> Result<EnterGuard<'_>, StreamsError> {
        let gone = || self.failures.told("use the driver", "its threads have ended");
        self.runtime.as_ref().map(Runtime::enter).ok_or_else(gone)
    }

    pub(super) fn client(&self) -> Result<&Client, StreamsError> {
        self.client.as_ref().ok_or_else(|| self.failures.told("use the driver", "it has ended"))
    }

    /// The database, to be used within transactions.
    pub(super) fn plain(&self) -> &Database {
        &self.plain
    }

    /// A collection, to be used within transactions.
    pub(super) fn raw(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.plain.collection(name)
    }

    /// A collection, to be used without a transaction.
    pub(super) fn collection(&self, name: &str) -> Collection<Document> {
        self.durable.collection(name)
    }

    /// The same, for documents as they are sent.
    pub(super) fn durable_raw(&self, name: &str) -> Collection<RawDocumentBuf> {
        let options = CollectionOptions::builder()
            .write_concern(majority())
            .read_concern(ReadConcern::majority())
            .build();
        self.durable.collection_with_options(name, options)
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }
}

/// Acknowledged by most of the servers, and on their disks.
pub(super) fn majority() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}

/// The address without user and password.
pub(super) fn shown(url: &str) -> String {
    let without_options = url.split('?').next().unwrap_or_default();
    match (without_options.find("://"), without_options.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}://{}", &without_options[..start], &without_options[end + 1..])
        }
        _ => without_options.to_owned(),
    }
}

/// Wakes a thread.
struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Waits for a future of the driver on this thread, which may belong to a runtime of the user's: that one's `block_on` would panic there. The caller has entered the driver's runtime, whose
/// thread sees to what the future waits for.
pub(super) fn wait<F: IntoFuture>(future: F) -> F::Output {
    // Where the thread runs a task of the user's, that task's budget would be used up by ours, which could never go on.
    let mut future = pin!(tokio::task::unconstrained(future.into_future()));
    let parked = Arc::new(Parked { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parked));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while !parked.woken.swap(false, Ordering::AcqRel) {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("mongodb://ada:secret@host:1/db?tls=true"), "mongodb://host:1/db");
        assert_eq!(shown("mongodb://host/db"), "mongodb://host/db");
    }
}
