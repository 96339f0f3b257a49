//! Positions, in a collection beside the results: `watermill_positions`, a document a lane. `docs/mongodb.md` has its layout.

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, doc};
use mongodb::options::{FindOneAndUpdateOptions, ReturnDocument};
use watermill_core::broker::Checkpoint;
use watermill_core::error::BrokerError;

use crate::driver::{Driver, durable};
use crate::failure::{Told, code, driver_failure, failure};
use crate::patience::Patience;

/// Where they are.
pub(crate) const COLLECTION: &str = "watermill_positions";

/// The layout of these documents.
const LAYOUT: i32 = 1;

/// Whose positions they are, and of what.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) application: String,
    pub(crate) lane: u32,
    pub(crate) lanes: u32,
    /// How documents are divided into lanes, where this broker does.
    pub(crate) rule: Option<String>,
    /// What the mill looks like, without the name of its function.
    pub(crate) mill: String,
    pub(crate) streams: Vec<String>,
    pub(crate) outputs: Vec<String>,
    /// The last output is that of dead letters.
    pub(crate) letters: bool,
}

/// What was found, and is ours from now on: whoever held it before can commit nothing any more.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    pub(crate) epoch: i64,
    pub(crate) commit: i64,
    /// From which the `_id`s of results are made, where they are.
    pub(crate) run: ObjectId,
    /// How many results were written to each output.
    pub(crate) written: Vec<u64>,
    pub(crate) checkpoint: Option<Checkpoint>,
}

impl Identity {
    /// The `_id` of its document.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.application, self.lane)
    }

    fn location(&self) -> String {
        format!("the positions `{}` in collection `{COLLECTION}`", self.id())
    }

    /// Takes the positions over. `epoch` is that of a lease; without one, each who takes them over has one more than the last.
    ///
    /// # Errors
    /// When the server fails, when they are of another mill, or (`None`) when a later owner has them.
    pub(crate) async fn claim(
        &self,
        driver: &Driver,
        epoch: Option<i64>,
        start_over: bool,
        session: Option<&Document>,
    ) -> Result<Option<Claimed>, BrokerError> {
        let mut patience = Patience::new(driver.retry_for);
        loop {
            match self.try_claim(driver, epoch, start_over, session).await {
                Ok(found) => return found.map_or(Ok(None), |found| self.read(&found).map(Some)),
                Err(error) if code(&error) == Some(11000) => {
                    // Without a lease two were first at the same time: then this one is second.
                    if epoch.is_some() {
                        return Ok(None);
                    }
                }
                Err(error) => patience.after(error, "take over", self.location()).await?,
            }
        }
    }

    async fn try_claim(
        &self,
        driver: &Driver,
        epoch: Option<i64>,
        start_over: bool,
        session: Option<&Document>,
    ) -> Result<Option<Document>, mongodb::error::Error> {
        let collection = driver.collection(COLLECTION);
        // What its former owner has open would keep us waiting until the server ends it, after a minute.
        let former = collection.find_one(doc! { "_id": self.id() }).await?;
        let is_later = |former: &Document| {
            epoch.is_some_and(|own| former.get("epoch").and_then(number).is_some_and(|other| other >= own))
        };
        if let Some(former) = former
            .as_ref()
            .filter(|former| !is_later(former))
            .and_then(|former| former.get_document("session").ok())
        {
            let kill = doc! { "killSessions": [former.clone()] };
            if let Err(error) = driver.client.database("admin").run_command(kill).await {
                tracing::debug!(target: "watermill", error = %error.kind, "the session of the former owner is left to expire");
            }
        }
        let (filter, mut update) = match epoch {
            Some(epoch) => {
                (doc! { "_id": self.id(), "epoch": { "$lt": epoch } }, doc! { "$set": { "epoch": epoch } })
            }
            None => (doc! { "_id": self.id() }, doc! { "$inc": { "epoch": 1_i64 } }),
        };
        if let Some(session) = session {
            match update.get_document_mut("$set") {
                Ok(set) => drop(set.insert("session", session.clone())),
                Err(_) => drop(update.insert("$set", doc! { "session": session.clone() })),
            }
        }
        if start_over {
            update.insert("$unset", doc! { "layout": "", "checkpoint": "" });
        }
        let options = FindOneAndUpdateOptions::builder()
            .upsert(true)
            .return_document(ReturnDocument::After)
            .write_concern(durable())
            .build();
        let Some(found) = collection.find_one_and_update(filter, update).with_options(options).await? else {
            return Ok(None);
        };
        if found.contains_key("layout") {
            return Ok(Some(found));
        }
        // Before anything is written, so that whoever goes on after a crash knows what was.
        let own = self.begun();
        let epoch = found.get("epoch").cloned().unwrap_or(Bson::Null);
        let options = FindOneAndUpdateOptions::builder()
            .return_document(ReturnDocument::After)
            .write_concern(durable())
            .build();
        collection
            .find_one_and_update(doc! { "_id": self.id(), "epoch": epoch }, doc! { "$set": own })
            .with_options(options)
            .await
    }

    /// What stands in a document whose lane has committed nothing.
    fn begun(&self) -> Document {
        let written: Vec<i64> = vec![0; self.outputs.len()];
        doc! {
            "layout": LAYOUT,
            "commit": 0_i64,
            "run": ObjectId::new(),
            "mill": &self.mill,
            "streams": &self.streams,
            "outputs": &self.outputs,
            "lanes": i64::from(self.lanes),
            "rule": self.rule.clone().map_or(Bson::Null, Bson::String),
            "written": written,
            "time": DateTime::now(),
        }
    }

    fn read(&self, found: &Document) -> Result<Claimed, BrokerError> {
        let refused = |cause: String| {
            let cause = format!(
                "{cause}; give this one a name of its own by `MongoBroker::application`, or begin anew by `MongoBroker::start_over`"
            );
            failure("go on from", self.location(), Told(cause))
        };
        let layout = found.get("layout").and_then(number);
        if layout != Some(i64::from(LAYOUT)) {
            let layout = layout.map_or_else(|| "unknown".to_owned(), |layout| layout.to_string());
            return Err(refused(format!(
                "its layout is {layout}, and this version of the broker knows {LAYOUT}"
            )));
        }
        let texts = |name: &str| -> Vec<String> {
            let all = found.get_array(name).map(Vec::as_slice).unwrap_or_default();
            all.iter().filter_map(Bson::as_str).map(str::to_owned).collect()
        };
        let lanes = found.get("lanes").and_then(number);
        let rule = found.get_str("rule").ok().map(str::to_owned);
        if lanes != Some(i64::from(self.lanes)) || rule != self.rule {
            return Err(refused(format!(
                "it was left by a run of {} lanes{}, and now there are {}{}",
                lanes.unwrap_or_default(),
                rule.map(|rule| format!(" by {rule}")).unwrap_or_default(),
                self.lanes,
                self.rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default(),
            )));
        }
        let streams = texts("streams");
        if streams != self.streams {
            return Err(refused(format!("it was left by another mill, which reads {}", streams.join(", "))));
        }
        let outputs = texts("outputs");
        // A run that stopped at a bad record may be taken up with a place for such.
        let added = usize::from(self.letters && self.outputs.len() == outputs.len() + 1);
        if outputs != self.outputs[..self.outputs.len() - added] {
            return Err(refused(format!("it was left by another mill, which writes {}", outputs.join(", "))));
        }
        let mill = found.get_str("mill").unwrap_or_default();
        if mill != self.mill {
            let line = |mill: &str| mill.trim().replace('\n', " / ");
            return Err(refused(format!(
                "its joins or its window have changed since that run; it was `{}`, and is `{}`",
                line(mill),
                line(&self.mill)
            )));
        }
        let damaged =
            || failure("go on from", self.location(), Told("it was changed by hand, or damaged".to_owned()));
        let checkpoint = match found.get("checkpoint") {
            None | Some(Bson::Null) => None,
            Some(checkpoint) => {
                let mut checkpoint: Checkpoint = bson::deserialize_from_bson(checkpoint.clone())
                    .map_err(|cause| failure("go on from", self.location(), cause))?;
                checkpoint.ended_outputs.resize(self.outputs.len(), false);
                if checkpoint.positions.len() != self.streams.len() {
                    return Err(damaged());
                }
                Some(checkpoint)
            }
        };
        let mut written: Vec<u64> = found
            .get_array("written")
            .map(|all| all.iter().filter_map(number).map(i64::cast_unsigned).collect())
            .unwrap_or_default();
        written.resize(self.outputs.len(), 0);
        Ok(Claimed {
            epoch: found.get("epoch").and_then(number).ok_or_else(damaged)?,
            commit: found.get("commit").and_then(number).ok_or_else(damaged)?,
            run: found.get_object_id("run").map_err(|_| damaged())?,
            written,
            checkpoint,
        })
    }

    /// What a commit asks the document to be, and what it makes of it.
    pub(crate) fn commit(
        &self,
        claimed: &Claimed,
        checkpoint: &Checkpoint,
        written: &[u64],
    ) -> Result<(Document, Document), BrokerError> {
        let checkpoint =
            bson::serialize_to_bson(checkpoint).map_err(|cause| failure("commit", self.location(), cause))?;
        let written: Vec<i64> = written.iter().map(|count| count.cast_signed()).collect();
        let filter = doc! { "_id": self.id(), "epoch": claimed.epoch, "commit": claimed.commit };
        let set = doc! {
            "commit": claimed.commit + 1,
            "checkpoint": checkpoint,
            "written": written,
            "outputs": &self.outputs,
            "time": DateTime::now(),
        };
        Ok((filter, doc! { "$set": set }))
    }

    /// Whose the document is now: its epoch and the number of its last commit.
    pub(crate) async fn look(&self, driver: &Driver) -> Result<Option<(i64, i64)>, mongodb::error::Error> {
        let found = driver.collection(COLLECTION).find_one(doc! { "_id": self.id() }).await?;
        Ok(found.and_then(|found| Some((number(found.get("epoch")?)?, number(found.get("commit")?)?))))
    }

    /// Which lanes have committed their end, whoever walks them.
    pub(crate) async fn finished(&self, driver: &Driver) -> Result<Vec<u32>, BrokerError> {
        let ids: Vec<String> = (0..self.lanes).map(|lane| Self { lane, ..self.clone() }.id()).collect();
        let filter = doc! { "_id": { "$in": ids }, "checkpoint.finished": true };
        let failed = |cause| driver_failure("look at", self.location(), cause);
        let mut cursor = driver.collection(COLLECTION).find(filter).await.map_err(failed)?;
        let mut lanes = Vec::new();
        while cursor.advance().await.map_err(failed)? {
            let lane: Option<u32> =
                cursor.current().get_str("_id").ok().and_then(|id| id.rsplit('/').next()?.parse().ok());
            lanes.extend(lane);
        }
        Ok(lanes)
    }
}

/// A number of whatever type: other programs may have written it.
pub(crate) fn number(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) if number.fract() == 0.0 => Some(*number as i64),
        _ => None,
    }
}
