//! The driver and the threads it works on: apart from those of the mill, so that reading, decoding and writing go on while the walk walks.

use std::sync::Arc;
use std::time::Duration;

use bson::{Bson, DateTime, Document, Timestamp, doc};
use mongodb::options::{Acknowledgment, CollectionOptions, ReadConcern, ReadConcernLevel, WriteConcern};
use mongodb::{Client, Collection, Database};
use tokio::runtime::{Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};
use watermill_core::error::BrokerError;

use crate::failure::{driver_failure, failure};
use crate::options::Options;
use crate::uri;

/// The driver of a run. Its clones share the client.
#[derive(Clone)]
pub(crate) struct Driver {
    /// Ends with the last clone.
    threads: Arc<Threads>,
    pub(crate) client: Client,
    pub(crate) database: String,
    pub(crate) facts: Facts,
    /// How long the server may be gone.
    pub(crate) retry_for: Duration,
}

/// What the server says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// It has transactions and change streams: it belongs to a replica set, or stands before shards.
    pub(crate) transactions: bool,
}

struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        // What is under way is waiting for a server; nothing waits for it, and waiting here could block a runtime of the user's.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Driver {
    pub(crate) async fn connect(options: &Options) -> Result<Self, BrokerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("watermill-mongodb")
            .enable_all()
            .build()
            .map_err(|cause| failure("start", "the threads of the driver", cause))?;
        let handle = runtime.handle().clone();
        let threads = Arc::new(Threads(Some(runtime)));
        let reached = || format!("database `{}`", options.database);
        let (uri, database) = (options.uri.clone(), options.database.clone());
        let parsed = handle.spawn(async move { uri::parse(&uri).await });
        let mut settings = joined(parsed.await)?.map_err(|cause| failure("reach", reached(), cause))?;
        let connected = handle.spawn(async move {
            settings.app_name.get_or_insert_with(|| "watermill".to_owned());
            let client = Client::with_options(settings)?;
            let hello = client.database(&database).run_command(doc! { "hello": 1 }).await?;
            Ok::<_, mongodb::error::Error>((client, hello))
        });
        let (client, hello) =
            joined(connected.await)?.map_err(|cause| driver_failure("reach", reached(), cause))?;
        let in_set = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        let facts = Facts { transactions: in_set && hello.contains_key("logicalSessionTimeoutMinutes") };
        let (database, retry_for) = (options.database.clone(), options.retry_for);
        Ok(Self { threads, client, database, facts, retry_for })
    }

    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.threads.0.as_ref().map(Runtime::handle)
    }

    /// Has the driver's threads do something.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, BrokerError> {
        joined(self.start(work)?.await)
    }

    /// The same, without waiting for it.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>, BrokerError> {
        let handle = self.handle().ok_or_else(|| failure("use", "the driver", "its threads have ended"))?;
        Ok(handle.spawn(work))
    }

    pub(crate) fn db(&self) -> Database {
        self.client.database(&self.database)
    }

    /// A collection whose writes are durable when they are acknowledged, and whose reads see nothing that can be rolled back.
    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        let read = if self.facts.transactions { ReadConcernLevel::Majority } else { ReadConcernLevel::Local };
        let options = CollectionOptions::builder()
            .write_concern(durable())
            .read_concern(ReadConcern::from(read))
            .build();
        self.db().collection_with_options(name, options)
    }

    /// What the server's clock says: differences of clocks between machines do not matter to leases.
    pub(crate) async fn server_time(&self) -> Result<DateTime, mongodb::error::Error> {
        let hello = self.db().run_command(doc! { "hello": 1 }).await?;
        Ok(hello.get_datetime("localTime").copied().unwrap_or_else(|_| DateTime::now()))
    }

    /// A point in the log of the server, behind all that was acknowledged.
    pub(crate) async fn operation_time(&self) -> Result<Option<Timestamp>, mongodb::error::Error> {
        let answer = self.db().run_command(doc! { "ping": 1 }).await?;
        Ok(match answer.get("operationTime") {
            Some(Bson::Timestamp(time)) => Some(*time),
            _ => None,
        })
    }
}

/// Acknowledged by most of the servers, and on their disks.
pub(crate) fn durable() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}

pub(crate) fn joined<T>(result: Result<T, JoinError>) -> Result<T, BrokerError> {
    result.map_err(|cause| failure("use", "the driver", cause))
}

/// How long to wait before attempt `number`, from 1: from 20 ms to 2 s.
pub(crate) fn pause(number: u32) -> Duration {
    Duration::from_millis(20 << number.min(7)).min(Duration::from_secs(2))
}
