//! One run on MongoDB: what is read and written, and the lanes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bson::Document;
use mongodb::ClientSession;
use watermill_core::broker::{
    AnySource, BoxFuture, Checkpoint, Job, Lane, LaneOutputs, Ownership, Position, Session,
};
use watermill_core::error::BrokerError;

use crate::broker::{MongoBroker, Output};
use crate::change_stream;
use crate::committer::{Delivery, MongoCommitter, Work, fenced};
use crate::driver::Driver;
use crate::failure::{Told, code, driver_failure, failure};
use crate::fault::fault_point;
use crate::inputs::{PlannedInput, plan_input};
use crate::lane_rule::Lanes;
use crate::leases::{self, Held, Leases};
use crate::options::Options;
use crate::outbox::{Outbox, Pending};
use crate::positions::{self, Claimed, Identity};
use crate::result_ids::ResultIds;
use crate::sink::SinkSettings;

/// A run.
pub(crate) struct MongoSession {
    driver: Driver,
    options: Options,
    inputs: Vec<PlannedInput>,
    outputs: Vec<PlannedOutput>,
    /// `None` when positions are in other hands.
    identity: Option<Identity>,
    delivery: Delivery,
    /// Which lanes have begun anew, where that was asked for.
    started_over: Arc<Mutex<Vec<u32>>>,
    leases: Option<Leases>,
    held: BTreeMap<u32, Arc<Held>>,
    /// The only lane was handed out, where there are no leases.
    handed_out: bool,
}

struct PlannedOutput {
    output: Output,
    leave_out: bool,
}

impl MongoSession {
    pub(crate) async fn open(broker: &MongoBroker, job: &Job) -> Result<Self, BrokerError> {
        let options = broker.options.clone();
        let driver = Driver::connect(&options).await?;
        let mut inputs = Vec::new();
        for request in &job.inputs {
            let Some(input) = broker.inputs.get(request.input) else { continue };
            let orders = job.orders.get(request.node).map(Vec::as_slice).unwrap_or_default();
            let (asked, input) = (driver.clone(), input.clone());
            let (stream, keep_raw, orders) = (request.stream.clone(), request.keep_raw, orders.to_vec());
            let set = options.clone();
            let planning =
                driver.run(async move { plan_input(&asked, input, stream, keep_raw, &orders, &set).await });
            inputs.push(planning.await??);
        }
        let outputs: Vec<PlannedOutput> = job
            .outputs
            .iter()
            .filter_map(|request| {
                let output = broker.outputs.get(request.output)?.clone();
                Some(PlannedOutput { output, leave_out: request.leave_out })
            })
            .collect();
        let is_master = job.inputs.iter().any(|input| input.node == 0);
        let lanes = options.lanes.as_ref().filter(|_| is_master);
        let application = options
            .application
            .clone()
            .or_else(|| outputs.first().map(|output| output.output.collection.clone()));
        let whole = job.inputs.len() == job.streams.len() && options.application.is_some();
        let here = !outputs.is_empty() || (whole && !job.results_elsewhere);
        if let Some(lanes) = lanes.filter(|_| !here) {
            let cause = "who walks one of them is told from its former owner by the positions in this database, and they are not kept here: another broker writes the results or reads some of the inputs; write the results by this one, or leave out `MongoBroker::lanes`";
            return Err(failure(
                "walk",
                format_args!("lanes by `{}`", lanes.field()),
                Told(cause.to_owned()),
            ));
        }
        let identity = application.map(|application| Identity {
            application,
            lane: 0,
            lanes: lanes.map_or(1, Lanes::count),
            rule: lanes.map(Lanes::text),
            mill: job.mill.clone(),
            streams: job.streams.clone(),
            outputs: outputs.iter().map(|output| output.output.collection.clone()).collect(),
            letters: job.outputs.last().is_some_and(|output| output.letters),
        });
        let transactions = driver.facts.transactions && !options.without_transactions;
        let delivery = if transactions { Delivery::Transaction } else { Delivery::Idempotent };
        let leases = match (&identity, lanes) {
            (Some(identity), Some(_)) => {
                Some(Leases::start(&driver, identity.clone(), options.lease, options.most_lanes)?)
            }
            _ => None,
        };
        let mut collections: Vec<String> =
            outputs.iter().map(|output| output.output.collection.clone()).collect();
        if here {
            collections.push(positions::COLLECTION.to_owned());
        }
        if leases.is_some() {
            collections.push(leases::COLLECTION.to_owned());
        }
        if inputs.iter().any(PlannedInput::needs_points) {
            collections.push(change_stream::POINTS.to_owned());
        }
        let creating = driver.clone();
        driver.run(async move { create(&creating, &collections).await }).await??;
        tracing::info!(
            target: "watermill",
            function = %job.function,
            database = %options.database,
            delivery = match delivery {
                Delivery::Transaction => "exactly once: results and positions in one transaction",
                Delivery::Idempotent => "idempotent: without transactions, results under `_id`s that a second attempt writes over",
            },
            "MongoDB is reached"
        );
        let started_over = Arc::clone(&broker.started_over);
        let identity = identity.filter(|_| here);
        Ok(Self {
            driver,
            options,
            inputs,
            outputs,
            identity,
            delivery,
            started_over,
            leases,
            held: BTreeMap::new(),
            handed_out: false,
        })
    }

    fn lanes(&self) -> u32 {
        self.options.lanes.as_ref().filter(|_| self.leases.is_some()).map_or(1, Lanes::count)
    }

    async fn start_session(&self) -> Result<ClientSession, BrokerError> {
        let client = self.driver.client.clone();
        let started = self.driver.run(async move { client.start_session().await }).await?;
        started.map_err(|cause| driver_failure("begin", "a session", cause))
    }

    /// Takes the positions of a lane over: whoever had them before can commit nothing from then on.
    async fn claim(
        &self,
        identity: &Identity,
        held: Option<&Arc<Held>>,
        session: Option<Document>,
    ) -> Result<Claimed, BrokerError> {
        let start_over = self.options.start_over && {
            let mut before = self.started_over.lock().unwrap_or_else(PoisonError::into_inner);
            let first = !before.contains(&identity.lane);
            before.push(identity.lane);
            first
        };
        let (driver, identity, epoch) = (self.driver.clone(), identity.clone(), held.map(|held| held.epoch));
        let application = identity.application.clone();
        let claimed = self
            .driver
            .run(async move { identity.claim(&driver, epoch, start_over, session.as_ref()).await })
            .await??;
        fault_point!("claimed");
        claimed.ok_or_else(|| {
            if let Some(held) = held {
                held.lose();
            }
            failure("take over", format_args!("the positions of `{application}`"), Told(fenced(&application)))
        })
    }

    async fn open_outputs(&mut self, lane: &Lane) -> Result<LaneOutputs, BrokerError> {
        let held = match &self.leases {
            Some(leases) => {
                let held = leases.hold(lane.index).map(Arc::new).ok_or_else(|| {
                    failure(
                        "walk",
                        format_args!("lane {}", lane.index),
                        "another process has taken it meanwhile",
                    )
                })?;
                self.held.insert(lane.index, Arc::clone(&held));
                Some(held)
            }
            None => None,
        };
        let outbox = Arc::new(Mutex::new(Outbox::default()));
        let mut claimed = None;
        let mut resume = None;
        let mut session = None;
        if let Some(identity) = &self.identity {
            let identity = Identity { lane: lane.index, lanes: lane.count, ..identity.clone() };
            if self.delivery == Delivery::Transaction {
                session = Some(self.start_session().await?);
            }
            let own = session.as_ref().map(|session| session.id().clone());
            let found = self.claim(&identity, held.as_ref(), own).await?;
            resume = self.checkpoint(&found);
            if self.delivery == Delivery::Idempotent {
                self.tidy_up(&identity, &found).await?;
            }
            claimed = Some((identity, found));
        }
        let mut sinks = Vec::new();
        for (number, planned) in self.outputs.iter().enumerate() {
            let collection = planned.output.collection.clone();
            let written =
                claimed.as_ref().and_then(|(_, claimed)| claimed.written.get(number).copied()).unwrap_or(0);
            let ids = claimed
                .as_ref()
                .filter(|_| self.delivery == Delivery::Idempotent)
                .map(|(_, claimed)| ResultIds::new(claimed.run, lane.index, number));
            let pending = Pending {
                collection: collection.clone(),
                writes: Vec::new(),
                written,
                committed: written,
                ids,
            };
            outbox.lock().unwrap_or_else(PoisonError::into_inner).outputs.push(pending);
            let outbox = Arc::clone(&outbox);
            let settings = SinkSettings { output: number, collection, leave_out: planned.leave_out, outbox };
            sinks.push((planned.output.open)(settings));
        }
        if resume.as_ref().is_some_and(|checkpoint: &Checkpoint| checkpoint.finished)
            && let Some(held) = &held
        {
            held.done();
        }
        let ended = resume.as_ref().map(|resume| resume.ended_outputs.clone()).unwrap_or_default();
        let work = Work {
            driver: self.driver.clone(),
            positions: claimed,
            write_eos: self.options.write_eos,
            ended,
            session,
        };
        let most_uncommitted = self.options.most_uncommitted;
        let committer =
            MongoCommitter { work: Some(Box::new(work)), under_way: None, outbox, most_uncommitted, held };
        Ok(LaneOutputs { sinks, committer: Box::new(committer), resume })
    }

    /// What was found, as the engine wants it.
    fn checkpoint(&self, found: &Claimed) -> Option<Checkpoint> {
        let mut checkpoint = found.checkpoint.clone()?;
        if self.options.continue_after_eos && checkpoint.finished {
            checkpoint.finished = false;
            checkpoint.ended_outputs.iter_mut().for_each(|ended| *ended = false);
            for position in &mut checkpoint.positions {
                (position.ended, position.marked) = (false, false);
            }
        }
        Some(checkpoint)
    }

    /// Takes away what an earlier run has written and not committed, where that can be told by its `_id`s: a function that answers differently now
    /// would leave some of it.
    async fn tidy_up(&self, identity: &Identity, found: &Claimed) -> Result<(), BrokerError> {
        for (number, planned) in self.outputs.iter().enumerate() {
            let written = found.written.get(number).copied().unwrap_or(0);
            let filter = ResultIds::new(found.run, identity.lane, number).from(written);
            let (driver, collection) = (self.driver.clone(), planned.output.collection.clone());
            let location = format!("what an earlier run has not committed in collection `{collection}`");
            self.driver
                .run(async move { driver.collection(&collection).delete_many(filter).await })
                .await?
                .map_err(|cause| driver_failure("take away", location, cause))?;
        }
        Ok(())
    }

    fn open_sources(
        &mut self,
        lane: &Lane,
        from: &[Option<Position>],
    ) -> Result<Vec<AnySource>, BrokerError> {
        let lanes = self.options.lanes.as_ref().filter(|_| self.leases.is_some());
        if lane.count > 1 && lanes.is_none() {
            let cause = "the master is read by a broker with several lanes, and a collection would be read whole in each; read the master from MongoDB too, or from a topic of one partition";
            if let Some(input) = self.inputs.first() {
                return Err(failure("join", input.location(&self.driver), Told(cause.to_owned())));
            }
        }
        let mut sources = Vec::new();
        for (number, planned) in self.inputs.iter().enumerate() {
            let position = from.get(number).and_then(Option::as_ref);
            let source = planned.open(&self.driver, lanes.map(|lanes| (lanes, lane.index)), position)?;
            sources.push(source);
        }
        Ok(sources)
    }
}

/// Makes the collections that are not there: within a transaction not every server can.
async fn create(driver: &Driver, collections: &[String]) -> Result<(), BrokerError> {
    for name in collections {
        match driver.db().create_collection(name).await {
            Ok(()) => {}
            // It is there.
            Err(error) if code(&error) == Some(48) => {}
            Err(error) => return Err(driver_failure("make", format_args!("collection `{name}`"), error)),
        }
    }
    Ok(())
}

impl Session for MongoSession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        Box::pin(async move {
            let count = self.lanes();
            if let Some(leases) = &self.leases {
                return Ok(leases.next().await?.map(|index| Lane { index, count }));
            }
            let first = !std::mem::replace(&mut self.handed_out, true);
            Ok(first.then_some(Lane { index: 0, count: 1 }))
        })
    }

    fn ownership(&mut self, lane: &Lane) -> Option<Ownership> {
        self.leases.as_ref()?.ownership(lane.index)
    }

    fn outputs<'a>(&'a mut self, lane: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        Box::pin(self.open_outputs(lane))
    }

    fn sources<'a>(
        &'a mut self,
        lane: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        Box::pin(std::future::ready(self.open_sources(lane, from)))
    }
}
