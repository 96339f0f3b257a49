//! Where runs begin, and what ends them.

use std::time::{Duration, Instant, SystemTime};

use watermill_core::EndReason;
use watermill_core::prelude::*;
use watermill_kafka::KafkaBroker;
use watermill_servers::kafka::{Kafka, NewRecord, unique};

use crate::common::{Here, MARK, Next, Speed, broker, end, expected, fill, here, put, read, results, speeds};

fn copies(application: &str, kafka: &Kafka, from: &str, to: &str) -> KafkaBroker {
    KafkaBroker::new(kafka.bootstrap(), application).read::<Here>(from).write::<Here>(to)
}

fn times(kafka: &Kafka, topic: &str) -> Vec<i64> {
    let mut times: Vec<i64> = read::<Here>(kafka, topic).0.into_iter().map(|(_, here)| here.time).collect();
    times.sort_unstable();
    times
}

const IDLE: Duration = Duration::from_millis(1500);

#[test]
fn runs_begin_at_the_beginning_at_the_end_or_at_a_time() {
    let kafka = Kafka::shared().unwrap();
    // Records of long ago would be deleted soon.
    let hour = SystemTime::now() - Duration::from_secs(3600);
    let since = hour.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    let at = |topic: &str, time: i64| {
        let value = serde_json::to_vec(&here(time, 0)).unwrap();
        let record = NewRecord::new(topic).partition(time as u32 % 2).value(value);
        record.timestamp(since + 1000 * time)
    };
    type Start = Box<dyn Fn(KafkaBroker) -> KafkaBroker>;
    let starts: [(Start, i64); 4] = [
        (Box::new(|broker| broker), 0),
        (Box::new(KafkaBroker::from_latest), 20),
        (Box::new(move |broker| broker.from_time(hour + Duration::from_millis(14_500))), 15),
        (Box::new(move |broker| broker.from_time(hour + Duration::from_secs(500))), 20),
    ];
    for (start, first) in starts {
        let (from, to) = (kafka.fresh_topic("times", 2).unwrap(), kafka.fresh_topic("copies", 2).unwrap());
        kafka.client().produce(&(0..20).map(|time| at(&from, time)).collect::<Vec<_>>()).unwrap();
        let application = unique("starts");
        let run = || {
            let broker = start(copies(&application, kafka, &from, &to)).until_current_end();
            Mill::new(Here::clone).run_blocking(broker).unwrap()
        };
        let report = run();
        assert!(matches!(report.end, EndReason::CurrentEnd { .. }), "{report}");
        assert_eq!(times(kafka, &to), (first..20).collect::<Vec<_>>());
        // What was committed counts, from then on.
        kafka.client().produce(&(20..30).map(|time| at(&from, time)).collect::<Vec<_>>()).unwrap();
        run();
        run();
        assert_eq!(times(kafka, &to), (first..30).collect::<Vec<_>>());
    }
}

/// Both readings of one topic begin at the same place, though records come between their looks.
#[test]
fn readings_of_one_topic_begin_at_one_place() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("busy", 1).unwrap(), kafka.fresh_topic("speeds", 1).unwrap());
    fill(kafka, &from, 1, 0..100);
    let run = speeds().start(broker(kafka, &unique("latest"), &from, &to).from_latest()).unwrap();
    // Records come until the run has read some for sure: what was there before it looked, it never sees.
    let mut count = 100;
    let begun = Instant::now();
    while run.watch().records < 100 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it reads nothing");
        put(kafka, &from, 0, &serde_json::to_vec(&here(count, 0)).unwrap());
        count += 1;
    }
    put(kafka, &from, 0, MARK);
    let report = run.wait_blocking().unwrap();
    let speeds = &results(kafka, &to, 1)[0].0;
    let first = speeds.first().map_or(count, |speed| speed.from);
    assert!(first >= 100, "{report}");
    let whole: Vec<Speed> = expected(count, 0).into_iter().filter(|speed| speed.from >= first).collect();
    assert_eq!(*speeds, whole, "{report}");
    let (left, right) = (&report.inputs[0], &report.inputs[1]);
    assert_eq!(left.records.max(right.records), (count - first).cast_unsigned(), "{report}");
}

#[test]
fn a_run_until_the_current_end_goes_on_from_there() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("locations", 3).unwrap(), kafka.fresh_topic("speeds", 3).unwrap());
    let application = unique("current");
    let run = || speeds().run_blocking(broker(kafka, &application, &from, &to).until_current_end()).unwrap();
    // Nothing is there yet.
    assert_eq!(run().results, 0);
    // A group is known when a later record has come.
    for (count, more) in [(299, 0..300), (419, 300..420), (420, 420..421), (420, 421..421)] {
        fill(kafka, &from, 3, more);
        let report = run();
        assert!(matches!(report.end, EndReason::CurrentEnd { .. }), "{report}");
        for (partition, (records, marks)) in (0..).zip(results(kafka, &to, 3)) {
            assert_eq!((records, marks), (expected(count, partition), 0), "{report}");
        }
    }
    end(kafka, &from, 3);
    let report = run();
    assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
    assert!(results(kafka, &to, 3).iter().all(|(records, marks)| records.len() == 411 && *marks == 1));
    assert_eq!(run().end, EndReason::EndedBefore);
}

/// The mark of another input is not the end of the master, which goes on with the next run; a table is whole with what there is.
#[test]
fn the_current_end_of_the_master_counts_though_another_input_has_its_mark() {
    let kafka = Kafka::shared().unwrap();
    let topic = |name| kafka.fresh_topic(name, 1).unwrap();
    for lookup in [false, true] {
        let (left, right, to) = (topic("left"), topic("right"), topic("both"));
        let application = unique("master");
        let run = || {
            let broker = KafkaBroker::new(kafka.bootstrap(), &application)
                .read::<Here>(&left)
                .read::<Next>(&right)
                .write::<Here>(to.as_str())
                .until_current_end();
            let function = |here: &Here, _: &Joined<Here, Next>| here.clone();
            let join = match lookup {
                true => JoinWith::lookup(Here::fields().time, Next::fields().time),
                false => JoinWith::new(Here::fields().time, Next::fields().time),
            };
            Mill::new(function).join(join.left()).run_blocking(broker).unwrap()
        };
        fill(kafka, &left, 1, 0..10);
        fill(kafka, &right, 1, 0..5);
        if !lookup {
            end(kafka, &right, 1);
        }
        let report = run();
        assert_eq!(times(kafka, &to), (0..10).collect::<Vec<_>>(), "{report}");
        fill(kafka, &left, 1, 10..15);
        let report = run();
        assert!(matches!(report.end, EndReason::CurrentEnd { .. }), "{report}");
        assert_eq!(times(kafka, &to), (0..15).collect::<Vec<_>>(), "{report}");
        assert_eq!(read::<Here>(kafka, &to).1.len(), 0);
    }
}

/// An open window and masters without a match yet are left for the next run.
#[test]
fn what_cannot_be_decided_at_the_current_end_is_left_for_the_next_run() {
    let kafka = Kafka::shared().unwrap();
    let topic = |name| kafka.fresh_topic(name, 1).unwrap();
    let (left, right, to) = (topic("left"), topic("right"), topic("both"));
    let application = unique("undecided");
    let run = || {
        let broker = KafkaBroker::new(kafka.bootstrap(), &application)
            .read::<Here>(&left)
            .read::<Next>(&right)
            .write::<Here>(to.as_str())
            .until_current_end();
        let function = |all: &[Here], joined: &Joined<Here, Next>| {
            let matched = all.iter().filter(|here| !joined[*here].is_empty()).count();
            Here { time: all[0].time, x: (100 * all.len() + matched) as f64 }
        };
        let join = JoinWith::new(Here::fields().time, Next::fields().time).left();
        Mill::new(function).join(join).window(Window::count(4)).run_blocking(broker).unwrap()
    };
    for (masters, matches) in [(0..5, 0..2), (5..6, 2..6), (6..10, 6..9)] {
        fill(kafka, &left, 1, masters);
        fill(kafka, &right, 1, matches);
        run();
    }
    end(kafka, &left, 1);
    end(kafka, &right, 1);
    run();
    let windows: Vec<(i64, f64)> =
        read::<Here>(kafka, &to).0.iter().map(|(_, one)| (one.time, one.x)).collect();
    assert_eq!(windows, [(0, 404.0), (4, 404.0), (8, 201.0)]);
}

#[test]
fn a_mill_that_has_ended_goes_on_only_when_it_is_told_to() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("ended", 3).unwrap(), kafka.fresh_topic("copies", 3).unwrap());
    let application = unique("goes-on");
    let mill = || Mill::new(Here::clone);
    let plain = || copies(&application, kafka, &from, &to);
    fill(kafka, &from, 3, 0..50);
    end(kafka, &from, 3);
    assert_eq!(mill().run_blocking(plain()).unwrap().calls, 150);
    fill(kafka, &from, 3, 50..70);
    assert_eq!(mill().run_blocking(plain()).unwrap().end, EndReason::EndedBefore);
    let report = mill().stop_when_idle(IDLE).run_blocking(plain().continue_after_eos()).unwrap();
    assert_eq!((report.calls, &report.end), (60, &EndReason::Idle));
    // From now on it has not ended, with the option and without.
    fill(kafka, &from, 3, 70..75);
    end(kafka, &from, 3);
    let report = mill().run_blocking(plain()).unwrap();
    assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
    let (records, marks) = read::<Here>(kafka, &to);
    assert_eq!((records.len(), marks), (225, vec![0, 0, 1, 1, 2, 2]));
}

#[test]
fn silence_ends_a_stream_where_that_was_asked_for() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("quiet", 3).unwrap(), kafka.fresh_topic("copies", 3).unwrap());
    let application = unique("silence");
    // One of the partitions is empty.
    fill(kafka, &from, 2, 0..50);
    let mill = || Mill::new(Here::clone).eos_after::<Here>(IDLE);
    let report = mill().run_blocking(copies(&application, kafka, &from, &to)).unwrap();
    assert!(matches!(report.end, EndReason::InputEnded { .. }), "{report}");
    let (records, marks) = read::<Here>(kafka, &to);
    assert_eq!((records.len(), marks), (100, vec![0, 1, 2]));
    fill(kafka, &from, 2, 50..60);
    let again = mill().run_blocking(copies(&application, kafka, &from, &to)).unwrap();
    assert_eq!(again.end, EndReason::EndedBefore);
}
