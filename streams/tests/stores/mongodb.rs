//! The store in MongoDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use watermill_servers::{Mongo, MongoOptions};
use watermill_streams::store::{MongoStore, Store, StreamRow};
use watermill_streams::{Streams, StreamsError};

use crate::conforms;

fn fresh() -> String {
    let server = Mongo::shared().unwrap();
    format!("{}/{}", server.uri(), server.fresh_database("stores"))
}

#[test]
fn the_store_in_mongodb_conforms() {
    let url = fresh();
    let store = Arc::new(MongoStore::open(&url).unwrap()) as Arc<dyn Store>;
    conforms(&store);
    // Others that have opened the database see what was written, and that it was.
    let other = MongoStore::open(&url).unwrap();
    let before = other.version().unwrap();
    store.write(true, &mut |rows| rows.put_stream(&mut StreamRow::new("from elsewhere", 0))).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    assert_ne!(other.version().unwrap(), before);
    other
        .read(&mut |rows| {
            assert!(rows.stream_named("from elsewhere")?.is_some());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_server_without_transactions_is_refused() {
    let server = Mongo::start(MongoOptions::new().standalone()).unwrap();
    let refused = Streams::open(&format!("{}/db", server.uri())).unwrap_err();
    assert!(matches!(refused, StreamsError::Misuse { .. }), "{refused}");
    assert!(refused.to_string().contains("rs.initiate()"), "{refused}");
}

#[test]
fn a_newer_layout_is_refused() {
    use bson::{Document, doc};

    let url = fresh();
    drop(MongoStore::open(&url).unwrap());
    let change = async {
        let client = mongodb::Client::with_uri_str(&url).await.unwrap();
        let layout = client.default_database().unwrap().collection::<Document>("watermill_layout");
        layout.update_one(doc! {}, doc! { "$set": { "version": 2_i64 } }).await.unwrap();
    };
    tokio::runtime::Runtime::new().unwrap().block_on(change);
    let refused = MongoStore::open(&url).unwrap_err();
    assert!(matches!(refused, StreamsError::Layout { found: 2, known: 1, .. }), "{refused}");
}

#[test]
fn it_is_used_from_within_tasks() {
    let url = fresh();
    // A runtime of one thread: whoever blocks it and waits for it would wait for ever.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let streams = Streams::open(&url).unwrap();
        for number in 0..200 {
            streams.put(&number, "numbers").unwrap();
        }
        assert_eq!(streams.get("numbers").unwrap().len().unwrap(), 200);
    });
}

#[test]
fn what_was_acknowledged_before_others_knew_of_the_end_is_consumed() {
    use watermill_core::prelude::*;

    let url = fresh();
    let (one, two) = (Streams::open(&url).unwrap(), Streams::open(&url).unwrap());
    let numbers = one.get("numbers").unwrap();
    for round in 0..2 {
        numbers.append(&Json(0.into())).unwrap();
        two.get("numbers").unwrap().close().unwrap();
        // It was open a moment ago, as far as this one knows.
        numbers.append(&Json(1.into())).unwrap();
        let consumed = Mill::new(|_: &Json| ()).run_blocking(two.get("numbers").unwrap()).unwrap();
        let refused = numbers.append(&Json(2.into()));
        assert!(matches!(refused, Err(StreamsError::Closed { .. })), "{round}: {refused:?}");
        // While it was consumed, a moment has passed.
        assert_eq!((consumed.calls, numbers.len().unwrap()), (2, 0), "{round}");
        one.get("numbers").unwrap().reopen().unwrap();
    }
}

#[test]
fn one_who_has_to_begin_again_comes_before_those_who_begin() {
    fn change(store: &MongoStore, pause: Duration) -> u32 {
        let mut attempts = 0;
        let done = store.write(true, &mut |rows| {
            attempts += 1;
            let mut stream = rows.stream_named("numbers")?.unwrap();
            std::thread::sleep(if attempts > 20 { Duration::ZERO } else { pause });
            stream.next += 1;
            rows.put_stream(&mut stream)
        });
        done.map(|()| attempts).unwrap()
    }
    let url = fresh();
    let (store, other) = (MongoStore::open(&url).unwrap(), MongoStore::open(&url).unwrap());
    store.write(true, &mut |rows| rows.put_stream(&mut StreamRow::new("numbers", 0))).unwrap();
    // Short ones follow each other, here and in another process.
    for short in [&store, &other] {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    change(short, Duration::ZERO);
                }
            });
            let most = (0..5).map(|_| change(&store, Duration::from_millis(40))).max();
            over.store(true, Ordering::Release);
            assert!(most < Some(20), "one was begun {most:?} times");
        });
    }
}

#[test]
fn consumers_outlive_a_server_that_is_away_for_a_moment() {
    use watermill_core::prelude::*;

    let server = Mongo::start(MongoOptions::new()).unwrap();
    let streams = Streams::open(&format!("{}/away", server.uri())).unwrap();
    let numbers = streams.get("numbers").unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let note = Arc::clone(&seen);
    let count = move |_: &Json| {
        note.fetch_add(1, Ordering::AcqRel);
    };
    let running = Mill::new(count).start(numbers.consumer()).unwrap();
    for round in 1..=3 {
        numbers.append_all(&[1, 2, 3].map(|number| Json(number.into()))).unwrap();
        let since = Instant::now();
        while seen.load(Ordering::Acquire) < 3 * round && since.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(seen.load(Ordering::Acquire), 3 * round);
        server.kill().unwrap();
        // Consumers look every few milliseconds whether something has come.
        std::thread::sleep(Duration::from_millis(200));
        server.restart().unwrap();
    }
    numbers.close().unwrap();
    assert_eq!(running.wait_blocking().unwrap().calls, 9);
}
