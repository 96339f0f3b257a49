//! Lanes by ranges of a field, shared by two runs as two processes share them.

use std::time::Duration;

use bson::doc;
use serde::{Deserialize, Serialize};
use watermill_core::prelude::*;
use watermill_core::{EndReason, RunReport};
use watermill_derive::StreamRecord;
use watermill_mongodb::{Lanes, MongoBroker};

use crate::common::{Database, told};

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Sold {
    customer: bson::Bson,
    time: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Paid {
    customer: bson::Bson,
    time: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Bill {
    customer: String,
    time: i64,
    paid: usize,
}

const TIMES: i64 = 120;

/// Customers on both sides of the bounds, on them, and of other types.
fn customers() -> Vec<bson::Bson> {
    let mut all: Vec<bson::Bson> = [3_i64, 9, 10, 11, 19, 20, 29, 30, 4711].map(bson::Bson::Int64).into();
    all.extend([bson::Bson::Double(10.0), bson::Bson::String("cash".to_owned()), bson::Bson::Null]);
    all
}

fn fill(database: &Database) {
    for collection in ["sold", "paid"] {
        database.index(collection, &["time"]);
        let documents = (0..TIMES).flat_map(|time| {
            customers().into_iter().map(move |customer| doc! { "customer": customer, "time": time })
        });
        database.insert(collection, documents);
    }
    database.run(doc! { "createIndexes": "bills", "indexes": [
        { "key": { "customer": 1, "time": 1 }, "name": "once", "unique": true },
    ] });
}

/// In five lanes of which none sees the others' customers.
fn broker(database: &Database) -> MongoBroker {
    database
        .broker()
        .read::<Sold>("sold")
        .read::<Paid>("paid")
        .write::<Bill>("bills")
        .application("bills")
        .lanes(Lanes::by_range("customer", [10_i64, 20, 30, 5000]))
        .lease(Duration::from_millis(1500))
}

fn bills() -> Mill<Sold> {
    let bill = |sold: &Sold, paid: &Joined<Sold, Paid>| {
        let own = paid[sold].iter().filter(|paid| told_of(&paid.customer) == told_of(&sold.customer));
        Bill { customer: told_of(&sold.customer), time: sold.time, paid: own.count() }
    };
    Mill::new(bill).join(JoinWith::new(Sold::fields().time, Paid::fields().time))
}

/// With its type, since numbers of two types are two customers here.
fn told_of(customer: &bson::Bson) -> String {
    customer.clone().into_canonical_extjson().to_string()
}

fn assert_complete(database: &Database) {
    let mut found: Vec<(String, i64, usize)> = database
        .read::<Bill>("bills", doc! { "_id": 1 })
        .0
        .into_iter()
        .map(|bill| (bill.customer, bill.time, bill.paid))
        .collect();
    found.sort();
    let mut wanted: Vec<(String, i64, usize)> = customers()
        .iter()
        .flat_map(|customer| (0..TIMES).map(move |time| (told_of(customer), time, 1)))
        .collect();
    wanted.sort();
    assert!(found == wanted, "{} bills instead of {}", found.len(), wanted.len());
}

fn ended(report: &RunReport) -> bool {
    matches!(report.end, EndReason::InputEnded { .. } | EndReason::EndedBefore)
}

#[test]
fn ranges_are_shared_by_two_runs() {
    let database = Database::fresh();
    fill(&database);
    let runs: Vec<_> = [2, 3]
        .into_iter()
        .map(|most| {
            let broker = broker(&database).most_lanes(most);
            std::thread::spawn(move || bills().commit_after_calls(20).run_blocking(broker).unwrap())
        })
        .collect();
    let reports: Vec<RunReport> = runs.into_iter().map(|run| run.join().unwrap()).collect();
    assert!(reports.iter().all(ended), "{reports:?}");
    assert_complete(&database);
    let calls: Vec<u64> = reports.iter().map(|report| report.calls).collect();
    assert_eq!(calls.iter().sum::<u64>(), database.all("bills", doc! {}).len() as u64, "{calls:?}");
    let lanes: Vec<String> =
        database.positions().iter().map(|lane| lane.get_str("_id").unwrap().to_owned()).collect();
    assert_eq!(lanes, ["bills/0", "bills/1", "bills/2", "bills/3", "bills/4"]);
}

#[test]
fn ranges_go_on_where_runs_were_stopped_and_are_not_divided_another_way() {
    let database = Database::fresh();
    fill(&database);
    let run =
        |broker: MongoBroker| bills().commit_after_calls(10).stop_after_records(60).run_blocking(broker);
    let mut stops = 0;
    while !ended(&run(broker(&database)).unwrap()) {
        stops += 1;
        assert!(stops < 60);
        // Nobody may go on with them as if they were others.
        let others = broker(&database).lanes(Lanes::by_range("customer", [10_i64, 20, 30, 6000]));
        let text = told(&run(others).unwrap_err());
        assert!(text.contains("customer at") && text.contains("start_over"), "{text}");
    }
    assert!(stops > 2, "{stops}");
    assert_complete(&database);
}
