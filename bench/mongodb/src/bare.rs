//! A loop over the bare driver, as one would write it: two streaming cursors in the order of the key, a merge, `insert_many`.

use bson::doc;
use mongodb::{Client, Cursor};
use tokio::runtime::Runtime;

use crate::records::{Here, LATER, Next, Speed, speed};
use crate::{Failure, Job};

const BATCH: usize = 5000;

pub(crate) fn run(job: &Job) -> Result<(), Failure> {
    Runtime::new()?.block_on(join(job))
}

async fn join(job: &Job) -> Result<(), Failure> {
    let database = Client::with_uri_str(&job.uri).await?.database(&job.database);
    let sort = || doc! { "time": 1, "_id": 1 };
    let fields = || doc! { "time": 1, "x": 1, "y": 1 };
    let mut here: Cursor<Here> =
        database.collection("here").find(doc! {}).sort(sort()).projection(fields()).batch_size(4000).await?;
    let mut next: Cursor<Next> =
        database.collection("next").find(doc! {}).sort(sort()).projection(fields()).batch_size(4000).await?;
    let to = database.collection::<Speed>(&job.to);
    let mut results = Vec::with_capacity(BATCH);
    let mut there = if next.advance().await? { Some(next.deserialize_current()?) } else { None };
    while here.advance().await? {
        let at = here.deserialize_current()?;
        while there.as_ref().is_some_and(|there| there.time < at.time + LATER) {
            there = if next.advance().await? { Some(next.deserialize_current()?) } else { None };
        }
        let Some(there) = &there else { break };
        if there.time == at.time + LATER {
            results.push(speed(&at, there));
        }
        if results.len() == BATCH {
            to.insert_many(&results).await?;
            results.clear();
        }
    }
    if !results.is_empty() {
        to.insert_many(&results).await?;
    }
    Ok(())
}
