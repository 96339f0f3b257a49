//! What users build: which collections are read and written, and how.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use watermill_core::broker::{
    AnySink, AnySource, BoxFuture, Broker, Catalog, InputDecl, Job, OutputDecl, Session,
};
use watermill_core::error::BrokerError;
use watermill_core::record::{RecordType, StreamRecord};

use crate::changes::ChangeReader;
use crate::driver::Driver;
use crate::failure::{NAME, Told, failure};
use crate::fields::fields_of;
use crate::lane_rule::Lanes;
use crate::options::Options;
use crate::read_collection::{ReadCollection, WatchCollection};
use crate::reader::CollectionReader;
use crate::result_collection::ResultCollection;
use crate::session::MongoSession;
use crate::sink::{MongoSink, SinkSettings};
use crate::source::start;

/// Reads and writes collections of MongoDB.
///
/// A collection is read in the order of the key by which the mill joins it, so that the same function runs over collections as over files and topics. Results and positions are written in one
/// transaction, so every record counts exactly once, whatever is killed; where the server has no transactions, results are written so that a second attempt writes
/// over the first. No method here panics or touches the network: mistakes are reported when the mill is built or started.
///
/// ```
/// use watermill_core::broker::Broker;
/// use watermill_core::record::Json;
/// use watermill_mongodb::MongoBroker;
///
/// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots")
///     .read::<Json>("locations")
///     .write::<Json>("speeds");
/// assert_eq!(mongo.catalog()?.inputs[0].location, "collection `locations`");
/// # Ok::<(), watermill_core::RunError>(())
/// ```
///
/// # Collections
/// What is read must be there, with an index on the key and `_id`; an error says how to make it. Documents become records by serde, without a way over JSON: fields may be
/// `bson::DateTime`, `bson::oid::ObjectId`, `bson::Decimal128`, `bson::Binary` and whatever else serde reads. The document `{"eos__": true}` ends a stream. Collections of results are made where they are not there.
///
/// # Positions
/// They are in the collection `watermill_positions` of this database, under the name of the [`application`](Self::application).
#[derive(Clone)]
#[must_use]
pub struct MongoBroker {
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) options: Options,
    pub(crate) started_over: Arc<Mutex<Vec<u32>>>,
}

/// A declared input.
#[derive(Clone)]
pub(crate) struct Input {
    record: RecordType,
    name: Option<String>,
    pub(crate) read: ReadCollection,
    /// The fields that records are made of, by their names in documents.
    pub(crate) fields: Option<Vec<&'static str>>,
    pub(crate) open: Open<CollectionReader>,
    pub(crate) open_changes: Open<ChangeReader>,
}

/// Makes a source of a reader; knows the record.
pub(crate) type Open<Reader> =
    Arc<dyn Fn(&Driver, String, Reader) -> Result<AnySource, BrokerError> + Send + Sync>;

/// A declared output.
#[derive(Clone)]
pub(crate) struct Output {
    record: RecordType,
    pub(crate) collection: String,
    pub(crate) open: Arc<dyn Fn(SinkSettings) -> AnySink + Send + Sync>,
}

impl MongoBroker {
    /// The database `database` of the server at `uri`, a connection string as every driver takes it: with hosts, user and password, TLS, and any other option.
    ///
    /// ```
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://user:secret@db-1:27017,db-2:27017/?replicaSet=rs&tls=true", "robots");
    /// ```
    pub fn new(uri: impl Into<String>, database: impl Into<String>) -> Self {
        let options = Options::new(uri.into(), database.into());
        Self { inputs: Vec::new(), outputs: Vec::new(), options, started_over: Arc::default() }
    }

    /// Reads records of type `R` from a collection: its name, or a [`ReadCollection`] that says more.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").read::<Json>("locations");
    /// ```
    pub fn read<R: StreamRecord + DeserializeOwned>(self, collection: impl Into<ReadCollection>) -> Self {
        self.input::<R>(None, collection.into())
    }

    /// Reads a further stream of records of type `R`, told apart from the others by `name`.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots")
    ///     .read_as::<Json>("left", "left-locations")
    ///     .read_as::<Json>("right", "right-locations");
    /// ```
    pub fn read_as<R: StreamRecord + DeserializeOwned>(
        self,
        name: impl Into<String>,
        collection: impl Into<ReadCollection>,
    ) -> Self {
        self.input::<R>(Some(name.into()), collection.into())
    }

    /// Reads records of type `R` from a collection, and then each document that is inserted or changed, as a change stream tells it: without a gap between the two, and nothing twice.
    /// See [`WatchCollection`] for what else can be told.
    ///
    /// Changes come in the order in which they were made, so a mill that joins them needs keys that go up with it, or [`reorder_within`](watermill_core::Mill::reorder_within). The function's
    /// [`Meta`](watermill_core::function::Meta) has the time of a change, and in the header `operation` what it was. On a server without change streams the collection is read on by its key
    /// as by [`ReadCollection::follow`], and a line in the log says so.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").watch::<Json>("locations");
    /// ```
    pub fn watch<R: StreamRecord + DeserializeOwned>(self, collection: impl Into<WatchCollection>) -> Self {
        self.input::<R>(None, watched(collection.into()))
    }

    /// Watches a further collection of records of type `R`, told apart from the others by `name`.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").watch_as::<Json>("left", "left-locations");
    /// ```
    pub fn watch_as<R: StreamRecord + DeserializeOwned>(
        self,
        name: impl Into<String>,
        collection: impl Into<WatchCollection>,
    ) -> Self {
        self.input::<R>(Some(name.into()), watched(collection.into()))
    }

    fn input<R: StreamRecord + DeserializeOwned>(
        mut self,
        name: Option<String>,
        read: ReadCollection,
    ) -> Self {
        self.inputs.push(Input {
            record: RecordType::of::<R>(),
            name,
            read,
            fields: fields_of::<R>().map(<[_]>::to_vec),
            open: Arc::new(|driver, location, reader| start::<R>(driver, location, reader)),
            open_changes: Arc::new(|driver, location, reader| start::<R>(driver, location, reader)),
        });
        self
    }

    /// Writes results of type `R` to a collection: its name, or a [`ResultCollection`] that says more.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").write::<Json>("speeds");
    /// ```
    pub fn write<R: StreamRecord + Serialize>(mut self, collection: impl Into<ResultCollection<R>>) -> Self {
        let ResultCollection { name, placement } = collection.into();
        self.outputs.push(Output {
            record: RecordType::of::<R>(),
            collection: name,
            open: Arc::new(move |settings| AnySink::new::<R>(MongoSink::new(settings, placement.clone()))),
        });
        self
    }

    /// Under which name positions are kept: mills that write to the same collection need one each. By default it is the name of the first collection that is written. A mill without
    /// results that reads from MongoDB alone remembers how far it came only with a name.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").read::<Json>("locations").application("alarms");
    /// ```
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.options.application = Some(name.into());
        self
    }

    /// Writes the document `{"eos__": true}` to each collection of results that ends, together with the last of them.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").read::<Json>("a").write::<Json>("b").write_eos();
    /// ```
    pub fn write_eos(mut self) -> Self {
        self.options.write_eos = true;
        self
    }

    /// Makes the indexes that are missing on what is read. On a large collection that takes its time, and on a server that others use it is a thing to be asked for.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").read::<Json>("locations").create_indexes();
    /// ```
    pub fn create_indexes(mut self) -> Self {
        self.options.create_indexes = true;
        self
    }

    /// Goes on where an earlier run has come to the end of its streams: by itself that is remembered, and a run that is started again says so and ends.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// // Each night what has come since.
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").read::<Json>("a").write::<Json>("b").continue_after_eos();
    /// ```
    pub fn continue_after_eos(mut self) -> Self {
        self.options.continue_after_eos = true;
        self
    }

    /// Forgets what an earlier run has committed, once: this run begins anew. Its results stay.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").read::<Json>("a").write::<Json>("b").start_over();
    /// ```
    pub fn start_over(mut self) -> Self {
        self.options.start_over = true;
        self
    }

    /// Writes results as on a server without transactions, though it has them: under `_id`s by which a second attempt writes over the first, and positions after them. Others
    /// may see results before they are committed, and twice the same one after a crash, until the run goes on.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").read::<Json>("a").write::<Json>("b").without_transactions();
    /// ```
    pub fn without_transactions(mut self) -> Self {
        self.options.without_transactions = true;
        self
    }

    /// How long the server may be gone before the run fails: 120 seconds, unless told otherwise.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").retry_for(Duration::from_secs(600));
    /// ```
    pub fn retry_for(mut self, limit: Duration) -> Self {
        self.options.retry_for = limit;
        self
    }

    /// Divides what is read into lanes, which are walked side by side and spread over all processes that run the same [`application`](Self::application), which has to be named then. The master
    /// must be read by this broker, and results be written by it: the positions in this database tell who may commit.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::{Lanes, MongoBroker};
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots")
    ///     .read::<Json>("locations")
    ///     .application("speeds")
    ///     .lanes(Lanes::by_hash("robot", 4));
    /// ```
    pub fn lanes(mut self, lanes: Lanes) -> Self {
        self.options.lanes = Some(lanes);
        self
    }

    /// How many lanes this process walks at most; without it, all that it finds free.
    ///
    /// ```
    /// # use watermill_mongodb::{Lanes, MongoBroker};
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots")
    ///     .application("speeds")
    ///     .lanes(Lanes::by_hash("robot", 4))
    ///     .most_lanes(2);
    /// ```
    pub fn most_lanes(mut self, lanes: u32) -> Self {
        self.options.most_lanes = Some(lanes.max(1));
        self
    }

    /// How long a lane stays with a process that is not heard of any more: 10 seconds, unless told otherwise.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_mongodb::MongoBroker;
    /// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").lease(Duration::from_secs(30));
    /// ```
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// Declarations that contradict each other.
    fn check(&self) -> Result<(), BrokerError> {
        self.options.check()?;
        for (index, input) in self.inputs.iter().enumerate() {
            let named = || format!("collection `{}`", input.read.name);
            check_name("read", &input.read.name)?;
            if input
                .read
                .order
                .as_ref()
                .is_some_and(|fields| fields.iter().any(|field| field.is_empty() || field.starts_with('$')))
            {
                return Err(failure("read", named(), Told("the names of the fields of its order are paths: not empty, and without `$` before them".to_owned())));
            }
            let same = |other: &&Input| other.record == input.record && other.name == input.name;
            if let Some(other) = self.inputs[..index].iter().find(same) {
                let cause = format!(
                    "`{}` is read from `{}` already; give each a name with `read_as`",
                    input.record, other.read.name
                );
                return Err(failure("read", named(), Told(cause)));
            }
        }
        for output in &self.outputs {
            let named = || format!("collection `{}`", output.collection);
            check_name("write", &output.collection)?;
            if self.inputs.iter().any(|input| input.read.name == output.collection) {
                let cause = "it is read by the same broker; a mill that reads its own results has no end";
                return Err(failure("write", named(), cause));
            }
        }
        Ok(())
    }
}

fn watched(WatchCollection { read, changes }: WatchCollection) -> ReadCollection {
    ReadCollection { changes: Some(changes), ..read }
}

fn check_name(action: &str, name: &str) -> Result<(), BrokerError> {
    let named = || format!("collection `{name}`");
    if name.is_empty() || name.len() > 200 || name.contains(['$', '\0']) || name.starts_with("system.") {
        let cause =
            "that is no name of a collection: not empty, up to 200 bytes, without `$`, and not of `system.`";
        return Err(failure(action, named(), cause));
    }
    if [crate::positions::COLLECTION, crate::leases::COLLECTION, crate::change_stream::POINTS].contains(&name)
    {
        return Err(failure(action, named(), "positions and leases are kept there"));
    }
    Ok(())
}

impl Broker for MongoBroker {
    fn name(&self) -> &str {
        NAME
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        self.check()?;
        let location = |collection: &str| format!("collection `{collection}`");
        Ok(Catalog {
            inputs: self
                .inputs
                .iter()
                .map(|input| InputDecl {
                    record: input.record,
                    name: input.name.clone(),
                    location: location(&input.read.name),
                })
                .collect(),
            outputs: self
                .outputs
                .iter()
                .map(|output| OutputDecl { record: output.record, location: location(&output.collection) })
                .collect(),
        })
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        Box::pin(async move {
            let session = MongoSession::open(self, job).await?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}

impl fmt::Debug for MongoBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URI, which may hold a password.
        let collections = |all: Vec<&String>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        f.debug_struct("MongoBroker")
            .field("database", &self.options.database)
            .field("inputs", &collections(self.inputs.iter().map(|input| &input.read.name).collect()))
            .field("outputs", &collections(self.outputs.iter().map(|output| &output.collection).collect()))
            .finish_non_exhaustive()
    }
}
