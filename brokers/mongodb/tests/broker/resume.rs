//! Taking up a run: equal keys, documents that were deleted or came since, other mills, other owners.

use bson::doc;
use watermill_core::EndReason;
use watermill_core::prelude::*;

use watermill_mongodb::ReadCollection;

use crate::common::{Database, Here, Next, Speed, ended, expected, here, speeds, standalone, told};

fn pairs() -> Mill<Here> {
    let pair = |here: &Here, next: &Joined<Here, Next>| Speed {
        from: here.time,
        to: next[here].len() as i64,
        speed: next[here].iter().map(|next| next.x).sum(),
    };
    Mill::new(pair).join(JoinWith::new(Here::fields().time, Next::fields().time).left())
}

#[test]
fn runs_of_equal_keys_are_cut_anywhere() {
    for database in [Database::fresh(), Database::on(standalone())] {
        // Twenty of each key on one side, and seven on the other.
        database.index("here", &["time"]);
        database.index("next", &["time"]);
        let document = |number: i64, each: i64| doc! { "time": number / each, "x": number as f64 };
        database.insert("here", (0..200).map(|number| document(number, 20)));
        database.insert("next", (0..70).map(|number| document(number, 7)));
        let broker = || database.broker().read::<Here>("here").read::<Next>("next").write::<Speed>("out");
        let mut runs = 0;
        while !ended(&pairs().stop_after_records(13).commit_after_calls(3).run_blocking(broker()).unwrap()) {
            runs += 1;
            assert!(runs < 100);
        }
        assert!(runs > 10);
        let out = database.read::<Speed>("out", doc! { "_id": 1 }).0;
        let wanted: Vec<Speed> = (0..200)
            .map(|number| number / 20)
            .map(|time| Speed { from: time, to: 7, speed: (time * 7..time * 7 + 7).sum::<i64>() as f64 })
            .collect();
        assert_eq!(out, wanted);
    }
}

#[test]
fn documents_that_are_deleted_behind_the_position_or_come_before_it_change_nothing() {
    let database = Database::fresh();
    database.fill("here", 0..100);
    let read = || ReadCollection::new("here").order_by(["time"]);
    let broker = || database.broker().read::<Here>(read()).write::<Here>("out").application("copy");
    let copy = || Mill::new(|here: &Here| here.clone()).commit_after_calls(1);
    copy().stop_after_records(40).run_blocking(broker()).unwrap();
    let done = database.read::<Here>("out", doc! { "time": 1 }).0;
    let last = done.last().unwrap().time;
    // What was read is cleared away, and late ones come: both are none of the next run's business.
    database.delete("here", doc! { "time": { "$lte": last } });
    database.insert("here", [doc! { "time": 3_i64, "x": 0.5 }]);
    copy().run_blocking(broker()).unwrap();
    let out = database.read::<Here>("out", doc! { "time": 1 }).0;
    assert_eq!(out, (0..100).map(here).collect::<Vec<_>>());
}

#[test]
fn a_run_that_has_ended_says_so_and_goes_on_only_when_it_is_told_to() {
    let database = Database::fresh();
    database.fill("here", 0..100);
    let read = || ReadCollection::new("here").order_by(["time"]);
    let broker = || database.broker().read::<Here>(read()).write::<Here>("copies");
    let copy = || Mill::new(|here: &Here| here.clone());
    copy().run_blocking(broker()).unwrap();
    database.insert("here", (100..150).map(|time| bson::serialize_to_document(&here(time)).unwrap()));
    assert_eq!(copy().run_blocking(broker()).unwrap().end, EndReason::EndedBefore);
    copy().run_blocking(broker().continue_after_eos()).unwrap();
    let copies = database.read::<Here>("copies", doc! { "time": 1 }).0;
    assert_eq!(copies, (0..150).map(here).collect::<Vec<_>>());
    // All anew, into another collection.
    let other = database.broker().read::<Here>("here").read::<Next>("here").write::<Speed>("others");
    speeds().stop_after_records(30).run_blocking(other.clone().application("again")).unwrap();
    database.delete("others", doc! {});
    speeds().run_blocking(other.application("again").start_over()).unwrap();
    assert_eq!(database.speeds("others").0, expected(150));
}

#[test]
fn positions_of_another_mill_are_refused() {
    let database = Database::fresh();
    database.fill("here", 0..100);
    let broker = || database.broker().read::<Here>("here").read::<Next>("here").write::<Speed>("speeds");
    speeds().stop_after_records(30).run_blocking(broker()).unwrap();
    let text = told(&pairs().run_blocking(broker()).unwrap_err());
    for part in ["speeds/0", "its joins or its window have changed", "start_over", "application"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    database.update("watermill_positions", doc! {}, doc! { "$set": { "layout": 9 } });
    let text = told(&speeds().run_blocking(broker()).unwrap_err());
    assert!(text.contains("its layout is 9"), "{text}");
}

#[test]
fn who_takes_the_positions_over_fences_the_one_before() {
    for database in [Database::fresh(), Database::on(standalone())] {
        database.fill("here", 0..400);
        let broker = || database.broker().read::<Here>("here").write::<Here>("out").application("copy");
        let (started, gate) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let (tell, wait) = (started.0, std::sync::Mutex::new(gate.1));
        let first = std::thread::spawn({
            let broker = broker();
            move || {
                let copy = move |here: &Here| {
                    if here.time == 100 {
                        tell.send(()).unwrap();
                        wait.lock().unwrap().recv().unwrap();
                    }
                    here.clone()
                };
                Mill::new(copy).commit_after_calls(10).run_blocking(broker)
            }
        });
        started.1.recv().unwrap();
        Mill::new(|here: &Here| here.clone()).run_blocking(broker()).unwrap();
        gate.0.send(()).unwrap();
        let text = told(&first.join().unwrap().unwrap_err());
        assert!(text.contains("another process has taken over its positions"), "{text}");
        let out = database.read::<Here>("out", doc! { "time": 1 }).0;
        assert_eq!(out, (0..400).map(here).collect::<Vec<_>>());
        assert_eq!(database.positions().len(), 1);
    }
}

#[test]
fn without_results_positions_are_kept_under_a_name() {
    let database = Database::fresh();
    database.fill("here", 0..100);
    let look = || Mill::new(|_: &Here| ()).commit_after_calls(1);
    let nameless = || database.broker().read::<Here>("here");
    for _ in 0..2 {
        assert_eq!(look().run_blocking(nameless()).unwrap().calls, 100);
    }
    let first = look().stop_after_records(30).run_blocking(nameless().application("look")).unwrap().calls;
    let rest = look().run_blocking(nameless().application("look")).unwrap().calls;
    assert_eq!(first + rest, 100);
}
