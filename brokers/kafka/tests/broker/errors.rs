//! One clear error for each thing that can be wrong, which says what to do.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use watermill_core::prelude::*;
use watermill_core::{EndReason, RunError, RunReport};
use watermill_derive::StreamRecord;
use watermill_kafka::KafkaBroker;
use watermill_servers::kafka::tools::CONSUMER_GROUPS;
use watermill_servers::kafka::{GroupOffset, Kafka, KafkaOptions, NewRecord, unique};

use crate::common::{Here, Next, broker, end, fill, here, logged, put, read, speeds, told};

/// The error of a run, and that it comes soon.
fn error_of(broker: KafkaBroker, contents: &[&str]) -> String {
    let begin = Instant::now();
    let error = told(&Mill::new(|_: &Here| ()).run_blocking(broker).unwrap_err());
    for content in contents {
        assert!(error.contains(content), "{content:?} is not in: {error}");
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}: {error}", begin.elapsed());
    assert!(error.len() < 800, "{error}");
    error
}

#[test]
fn options_that_would_break_promises_and_wrong_ones_are_refused() {
    let kafka = Kafka::shared().unwrap();
    let topic = kafka.fresh_topic("options", 1).unwrap();
    let plain = || KafkaBroker::new(kafka.bootstrap(), unique("options")).read::<Here>(&topic);
    let reserved = [
        ("group.id", "it is the application"),
        ("enable.auto.commit", "committed together with the results"),
        ("isolation.level", "aborted are never read"),
        ("partitioner", "ResultTopic::key"),
        ("transactional.id", "made from the application"),
    ];
    for (name, why) in reserved {
        error_of(plain().option(name, "x"), &[&format!("the option `{name}`"), "cannot be set", why]);
    }
    error_of(plain().option("no.such.option", "1"), &["no.such.option", "No such configuration property"]);
    error_of(plain().option("fetch.min.bytes", "many"), &["fetch.min.bytes"]);
    error_of(KafkaBroker::new("", "application").read::<Here>(&topic), &["host:port"]);
    error_of(KafkaBroker::new(kafka.bootstrap(), " ").read::<Here>(&topic), &["its name is empty"]);
    error_of(plain().read::<Next>("no name/of a topic"), &["no name of a topic"]);
    error_of(plain().create_topics(0, 1), &["0 partitions"]);
    let own = plain().write::<Here>(topic.as_str());
    let error = told(&Mill::new(Here::clone).run_blocking(own).unwrap_err());
    assert!(error.contains("reads its own results"), "{error}");
}

#[test]
fn a_server_that_is_not_there() {
    let soon = Duration::from_secs(3);
    let unknown =
        KafkaBroker::new("no-such-host.invalid:9092", "unknown").read::<Here>("events").retry_for(soon);
    let error = error_of(unknown, &["`no-such-host.invalid:9092`", "resolve"]);
    assert!(error.contains("check the name of the server"), "{error}");
    // Nothing listens there.
    let refused = KafkaBroker::new("127.0.0.1:1", "refused").read::<Here>("events").retry_for(soon);
    error_of(refused, &["cannot reach", "`127.0.0.1:1`", "refused", "check that the servers are up"]);
}

#[test]
fn missing_topics_are_told_with_the_command_or_made() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (unique("missing"), unique("missing"));
    let both = || {
        KafkaBroker::new(kafka.bootstrap(), unique("missing")).read::<Here>(&from).write::<Here>(to.as_str())
    };
    let error = told(&Mill::new(Here::clone).run_blocking(both()).unwrap_err());
    let command = format!("kafka-topics.sh --bootstrap-server {} --create --topic {from}", kafka.bootstrap());
    for content in
        [format!("`{from}`, `{to}`"), command, ".create_topics(partitions, replication)".to_owned()]
    {
        assert!(error.contains(&content), "{content:?} is not in: {error}");
    }
    let mill = Mill::new(Here::clone);
    let report = mill.run_blocking(both().create_topics(3, 1).until_current_end()).unwrap();
    assert!(matches!(report.end, EndReason::CurrentEnd { .. }), "{report}");
    for topic in [&from, &to] {
        assert_eq!(kafka.client().describe_topic(topic).unwrap().len(), 3);
    }
    let error = told(
        &Mill::new(Here::clone)
            .run_blocking(
                KafkaBroker::new(kafka.bootstrap(), unique("missing"))
                    .read::<Here>(unique("missing"))
                    .create_topics(3, 9)
                    .write::<Here>(to.as_str()),
            )
            .unwrap_err(),
    );
    assert!(error.contains("replication"), "{error}");
}

#[test]
fn topics_that_do_not_fit_each_other() {
    let kafka = Kafka::shared().unwrap();
    let (three, four) = (kafka.fresh_topic("three", 3).unwrap(), kafka.fresh_topic("four", 4).unwrap());
    let run = |left: &str, right: &str, to: Option<&str>| {
        let broker =
            KafkaBroker::new(kafka.bootstrap(), unique("fit")).read::<Here>(left).read::<Next>(right);
        let broker = broker.until_current_end();
        let join = JoinWith::new(Here::fields().time, Next::fields().time);
        match to {
            None => Mill::new(|_: &Here, _: &Joined<Here, Next>| ()).join(join).run_blocking(broker),
            Some(to) => Mill::new(|here: &Here, _: &Joined<Here, Next>| here.clone())
                .join(join)
                .run_blocking(broker.write::<Here>(to)),
        }
    };
    let error = told(&run(&three, &four, None).unwrap_err());
    for content in [format!("`{three}` has 3"), format!("`{four}` has 4"), "the same number".to_owned()] {
        assert!(error.contains(&content), "{content:?} is not in: {error}");
    }
    let error = told(&run(&four, &four, Some(&three)).unwrap_err());
    assert!(
        error.contains("4 lanes but only 3 partitions") && error.contains("`ResultTopic::key`"),
        "{error}"
    );

    // Java's client places by murmur2, librdkafka by CRC-32 unless told otherwise.
    let key = |number: u32| format!("robot {number}");
    let written = |place: &dyn Fn(u32) -> Option<u32>| {
        let topic = kafka.fresh_topic("placed", 3).unwrap();
        let record = |number: u32| {
            let value = serde_json::to_vec(&here(number.into(), 0)).unwrap();
            let record = NewRecord::new(&topic).key(key(number)).value(value);
            place(number).map_or(record.clone(), |partition| record.partition(partition))
        };
        kafka.client().produce(&(0..60).map(record).collect::<Vec<_>>()).unwrap();
        topic
    };
    let java = written(&|_| None);
    let again = written(&|_| None);
    let crc = written(&|number| Some(crc32fast::hash(key(number).as_bytes()) % 3));
    let by_hand = written(&|number| Some(number % 3));
    let error = told(&run(&java, &crc, None).unwrap_err());
    for content in [java.as_str(), crc.as_str(), "murmur2", "CRC-32", "different partitioners"] {
        assert!(error.contains(content), "{content:?} is not in: {error}");
    }
    // Nothing is said where that cannot be known, or where all is well.
    for (left, right) in [(&java, &again), (&java, &by_hand), (&crc, &three), (&crc, &crc)] {
        run(left, right, None).unwrap();
    }
}

#[derive(Debug, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Text {
    text: String,
}

fn texts(broker: KafkaBroker, on_refused: OnBad) -> Result<RunReport, RunError> {
    let long = |here: &Here| Text { text: "x".repeat(here.time.unsigned_abs() as usize) };
    Mill::new(long).on_refused::<Text>(on_refused).run_blocking(broker)
}

#[test]
fn results_that_are_too_large() {
    let kafka = Kafka::shared().unwrap();
    let from = kafka.fresh_topic("lengths", 1).unwrap();
    // Many that are small: together they are more than the topic takes at once.
    let mut lengths = vec![100; 500];
    lengths.extend([2_500_000, 200]);
    for length in lengths {
        put(kafka, &from, 0, &serde_json::to_vec(&here(length, 0)).unwrap());
    }
    end(kafka, &from, 1);
    let of_topic = unique("small");
    kafka.create_topic(&of_topic, 1, 0, &[("max.message.bytes", "3000")]).unwrap();
    let of_client = kafka.fresh_topic("large", 1).unwrap();
    for (to, most) in [(&of_client, "1000000"), (&of_topic, "3000")] {
        let broker = |application: &str| {
            KafkaBroker::new(kafka.bootstrap(), application).read::<Here>(&from).write::<Text>(to.as_str())
        };
        let application = unique("large");
        let error = told(&texts(broker(&application), OnBad::Fail).unwrap_err());
        for content in [to.as_str(), most, "message.max.bytes", "max.message.bytes", "on_refused"] {
            assert!(error.contains(content), "{content:?} is not in: {error}");
        }
        let report = texts(broker(&application), OnBad::Skip).unwrap();
        assert_eq!(report.outputs[0].refused, 1, "{report}");
        assert_eq!(read::<Text>(kafka, to).0.len(), 501);
    }
}

#[test]
fn offsets_that_are_gone() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("gone", 1).unwrap(), kafka.fresh_topic("speeds", 1).unwrap());
    let application = unique("gone");
    let run = || speeds().run_blocking(broker(kafka, &application, &from, &to).until_current_end());
    fill(kafka, &from, 1, 0..100);
    run().unwrap();
    fill(kafka, &from, 1, 100..200);
    kafka.client().delete_records(&from, 0, 150).unwrap();
    let error = told(&run().unwrap_err());
    let expected = [
        format!("topic `{from}`, partition 0, offset"),
        "begins at 150".to_owned(),
        "--to-earliest".to_owned(),
    ];
    for content in expected {
        assert!(error.contains(&content), "{content:?} is not in: {error}");
    }
    // Somebody has set an offset that there is none of yet.
    let beyond = [GroupOffset::new(&from, 0, 77_000)];
    kafka.client().set_group_offsets(&application, &beyond).unwrap();
    let error = told(&run().unwrap_err());
    assert!(error.contains("ends at 200") && error.contains("made anew"), "{error}");
    let reset = ["--reset-offsets", "--to-earliest", "--all-topics", "--group", &application, "--execute"];
    kafka.tool(CONSUMER_GROUPS, &reset).unwrap();
    assert_eq!(run().unwrap().inputs[0].records, 50);
}

/// On a broker of its own: one that asks for passwords, without TLS, and is then gone for good.
#[test]
fn wrong_passwords_and_brokers_that_are_gone() {
    logged();
    let protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT";
    let options = KafkaOptions::new().secured().property("listener.security.protocol.map", protocols);
    let kafka = Kafka::start(options).unwrap();
    let security = kafka.security().unwrap();
    let (from, to) = (kafka.fresh_topic("locations", 1).unwrap(), kafka.fresh_topic("speeds", 1).unwrap());
    fill(&kafka, &from, 1, 0..50);
    let secured = |password: &str| {
        KafkaBroker::new(security.sasl_bootstrap(), unique("secured"))
            .sasl("PLAIN", security.user(), password)
            .read::<Here>(&from)
            .read::<Next>(&from)
            .write::<crate::common::Speed>(to.as_str())
            .retry_for(Duration::from_secs(3))
    };
    error_of(
        secured("guessed"),
        &["check user and password", "uthentication failed", security.sasl_bootstrap()],
    );
    let nobody = KafkaBroker::new(security.sasl_bootstrap(), unique("secured")).read::<Here>(&from);
    error_of(nobody.retry_for(Duration::from_secs(3)), &["cannot reach", security.sasl_bootstrap()]);
    // SCRAM needs what TLS needs.
    if !cfg!(any(feature = "tls", feature = "tls-vendored")) {
        let scram = secured("x").sasl("SCRAM-SHA-512", security.user(), "x");
        error_of(scram, &["SCRAM", "feature `kafka-tls`"]);
        error_of(secured("x").tls(None), &["ssl", "feature `kafka-tls`"]);
    }
    let debug = format!("{:?}", secured("secret word"));
    assert!(!debug.contains("secret word"), "{debug}");

    let run = speeds().start(secured(security.password())).unwrap();
    crate::common::until("it reads", || run.watch().calls >= 39);
    kafka.node(0).unwrap().kill().unwrap();
    let killed = Instant::now();
    let error = told(&run.wait_blocking().unwrap_err());
    assert!(killed.elapsed() < Duration::from_secs(40), "{:?}: {error}", killed.elapsed());
    assert!(
        error.contains("no server could be reached for") || error.contains("check that the servers are up"),
        "{error}"
    );
    let mill = Mill::new(|_: &Here| ());
    let again =
        KafkaBroker::new(kafka.bootstrap(), "gone").read::<Here>(&from).retry_for(Duration::from_secs(2));
    let error = told(&mill.run_blocking(again).unwrap_err());
    assert!(error.contains("cannot reach") && error.contains("check that the servers are up"), "{error}");
}
