//! A transaction whose end the servers lose.

use std::thread;
use std::time::Duration;

use watermill_crash::process::Process;
use watermill_kafka_crash::records::Kind;
use watermill_kafka_crash::trial::Trial;
use watermill_servers::KafkaOptions;
use watermill_servers::kafka::{Kafka, unique};

use crate::{LONG, PROGRAM};

/// Where Java's `String.hashCode` puts a name.
fn partition_of(name: &str, partitions: usize) -> u32 {
    let hash =
        name.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.unsigned_abs() % partitions as u32
}

/// The servers leave out partitions without a leader when they end a transaction, and take it for ended. So: a program dies in the middle of a transaction; the
/// node dies that has both the results and the group's offsets; the others abort the transaction when its time is over; the node comes back, and nobody
/// will ever tell it.
#[test]
fn a_transaction_that_the_servers_have_forgotten_is_made_again() {
    let mut options = KafkaOptions::new().brokers(3);
    for (name, value) in [
        ("default.replication.factor", "1"),
        ("min.insync.replicas", "1"),
        ("offsets.topic.replication.factor", "1"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500"),
    ] {
        options = options.property(name, value);
    }
    let kafka = Kafka::start(options).unwrap();

    // Makes the topics of groups and transactions, and shows that all is well without further ado.
    let trial = Trial::new(&kafka, PROGRAM, Kind::SelfJoin, 1);
    trial.fill(100);
    trial.end();
    let told =
        trial.start("the first program", &trial.settings).wait(LONG).expect_success("nothing happens").told;
    trial.assert_complete(&told);

    let leaders = |topic: &str| -> Vec<u32> {
        let count = kafka.client().describe_topic(topic).unwrap().len() as u32;
        (0..count).map(|partition| kafka.client().leader(topic, partition).unwrap().unwrap()).collect()
    };
    let (groups, transactions) = (leaders("__consumer_offsets"), leaders("__transaction_state"));
    let mut trial = Trial::new(&kafka, PROGRAM, Kind::SelfJoin, 1);
    let node = leaders(&trial.settings.to)[0];
    let fits = |application: &String| {
        let transaction = format!("{application}-0");
        groups[partition_of(application, groups.len()) as usize] == node
            && transactions[partition_of(&transaction, transactions.len()) as usize] != node
    };
    trial.settings.application = std::iter::repeat_with(|| unique("mill")).take(10_000).find(fits).unwrap();
    trial.settings =
        trial.settings.clone().option("transaction.timeout.ms", 10_000).option("session.timeout.ms", 6000);

    let mut command = trial.command(&trial.settings);
    command.env("WATERMILL_FAULT", "offsets-sent:3");
    let mut program = Process::start("the program that dies", command);
    // Results in every transaction.
    while program.is_there() {
        assert!(program.age() < LONG, "it lives:\n{}", program.told());
        trial.fill(100);
        thread::sleep(Duration::from_millis(100));
    }
    let ended = program.wait(LONG);
    assert!(ended.was_killed(), "{}", ended.told);
    kafka.node_of_id(node).unwrap().kill().unwrap();
    // Until the transaction has timed out; the node has lost its partitions by then.
    thread::sleep(Duration::from_secs(13));
    kafka.node_of_id(node).unwrap().restart().unwrap();

    trial.fill(100);
    trial.end();
    let told = trial.start("the next program", &trial.settings).wait(LONG).expect_success("taken up").told;
    trial.assert_complete(&told);
    // It was lost, and not ended in time: so it is in Kafka 4.3.
    assert_eq!(told.matches("have lost the end of a transaction").count(), 1, "{told}");
}
