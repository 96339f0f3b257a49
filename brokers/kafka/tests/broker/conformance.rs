//! The suite that every broker passes.

use watermill_conformance::{Left, Pair, Right, Storage};
use watermill_core::DeadLetter;
use watermill_kafka::KafkaBroker;
use watermill_servers::kafka::{Kafka, NewRecord, unique};

use crate::common::{end, read};

/// Topics of one partition.
struct Topics {
    kafka: &'static Kafka,
    application: String,
    left: String,
    right: String,
    pairs: String,
    letters: String,
}

impl Storage for Topics {
    type Broker = KafkaBroker;

    fn with(left: &[String], right: &[String]) -> Self {
        let kafka = Kafka::shared().unwrap();
        let topic = |name| kafka.fresh_topic(name, 1).unwrap();
        let filled = |name, texts: &[String]| {
            let topic = topic(name);
            let records: Vec<NewRecord> =
                texts.iter().map(|text| NewRecord::new(&topic).partition(0).value(text.as_bytes())).collect();
            kafka.client().produce(&records).unwrap();
            end(kafka, &topic, 1);
            topic
        };
        Self {
            kafka,
            application: unique("conformance"),
            left: filled("left", left),
            right: filled("right", right),
            pairs: topic("pairs"),
            letters: topic("letters"),
        }
    }

    fn broker(&self) -> KafkaBroker {
        KafkaBroker::new(self.kafka.bootstrap(), &self.application)
            .read::<Left>(&self.left)
            .read::<Right>(&self.right)
            .write::<Pair>(self.pairs.as_str())
            .write::<DeadLetter>(self.letters.as_str())
    }

    fn results(&self) -> (Vec<Pair>, Vec<DeadLetter>) {
        let pairs = read::<Pair>(self.kafka, &self.pairs).0;
        let letters = read::<DeadLetter>(self.kafka, &self.letters).0;
        (
            pairs.into_iter().map(|(_, pair)| pair).collect(),
            letters.into_iter().map(|(_, letter)| letter).collect(),
        )
    }

    fn ends(&self) -> usize {
        read::<Pair>(self.kafka, &self.pairs).1.len()
    }
}

#[test]
fn order_and_windows() {
    watermill_conformance::once::<Topics>();
}

#[test]
fn end_of_stream() {
    watermill_conformance::end_of_stream::<Topics>();
}

#[test]
fn resume() {
    watermill_conformance::resume::<Topics>();
}

#[test]
fn commit_after_a_crash() {
    watermill_conformance::crash::<Topics>();
}

#[test]
fn dead_letters() {
    watermill_conformance::dead_letters::<Topics>();
}
