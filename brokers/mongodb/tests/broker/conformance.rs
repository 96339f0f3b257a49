//! The suite that every broker passes: with transactions, without them where there are some, and on a server that has none.

use bson::{Bson, Document, doc};
use watermill_conformance::{Left, Pair, Right, Storage};
use watermill_core::DeadLetter;
use watermill_mongodb::{MongoBroker, ReadCollection};
use watermill_servers::Mongo;

use crate::common::{Database, json, standalone};

/// Collections whose documents are read in the order of their `_id`s: what is out of order is to stay so.
struct Collections<const HOW: u8>(Database);

const TRANSACTIONS: u8 = 0;
const WITHOUT: u8 = 1;
const STANDALONE: u8 = 2;

impl<const HOW: u8> Storage for Collections<HOW> {
    type Broker = MongoBroker;

    fn with(left: &[String], right: &[String]) -> Self {
        let database = Database::on(if HOW == STANDALONE { standalone() } else { Mongo::shared().unwrap() });
        for (name, texts) in [("left", left), ("right", right)] {
            database.create(name);
            let documents = texts.iter().enumerate().map(|(number, text)| {
                let value: serde_json::Value = serde_json::from_str(text).unwrap();
                let mut document = Document::try_from(value.as_object().unwrap().clone()).unwrap();
                document.insert("_id", number as i64);
                document
            });
            database.insert(name, documents);
        }
        Self(database)
    }

    fn broker(&self) -> MongoBroker {
        let broker = self
            .0
            .broker()
            .read::<Left>(ReadCollection::new("left").order_by(["_id"]))
            .read::<Right>(ReadCollection::new("right").order_by(["_id"]))
            .write::<Pair>("pairs")
            .write::<DeadLetter>("letters")
            .write_eos();
        if HOW == WITHOUT { broker.without_transactions() } else { broker }
    }

    fn results(&self) -> (Vec<Pair>, Vec<DeadLetter>) {
        let pairs = self.0.read::<Pair>("pairs", doc! { "_id": 1 }).0;
        let letters = self
            .0
            .all("letters", doc! { "_id": 1 })
            .into_iter()
            .filter(|letter| !letter.contains_key("eos__"));
        let letters = letters.map(|letter| {
            let mut letter: DeadLetter = serde_json::from_value(json(letter)).unwrap();
            // A letter has the whole document; the suite knows nothing of `_id`s.
            let raw: serde_json::Value = serde_json::from_slice(&letter.raw).unwrap();
            let raw = Document::try_from(raw.as_object().unwrap().clone()).unwrap();
            assert!(matches!(raw.get("_id"), Some(Bson::Int32(_) | Bson::Int64(_))), "{raw}");
            letter.raw = json(raw).to_string().into_bytes();
            letter
        });
        (pairs, letters.collect())
    }

    fn ends(&self) -> usize {
        self.0.read::<Pair>("pairs", doc! { "_id": 1 }).1
    }
}

#[test]
fn with_transactions() {
    watermill_conformance::all::<Collections<TRANSACTIONS>>();
}

#[test]
fn without_transactions() {
    watermill_conformance::all::<Collections<WITHOUT>>();
}

#[test]
fn on_a_standalone_server() {
    watermill_conformance::all::<Collections<STANDALONE>>();
}
