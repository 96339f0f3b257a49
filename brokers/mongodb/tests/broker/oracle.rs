//! The engine over real collections gives what a nested loop gives. `WATERMILL_SEED=n` runs one case of each kind again.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use watermill_core::{EndReason, OnBad};
use watermill_mongodb::{MongoBroker, ReadCollection};
use watermill_oracle::case::{Case, Sizes, cases};
use watermill_oracle::oracle;
use watermill_oracle::row::{Call, Rec};
use watermill_oracle::shape::{self, Shape, bad_streams, told};

use bson::{Document, doc};

use crate::common::{Database, standalone};

fn drawn(shape: &Shape, rows: usize, seed: u64) -> Case {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..200 {
        let case =
            cases(shape.edges, Sizes { rows, disorder: false }).new_tree(&mut runner).unwrap().current();
        if case.rows.iter().all(|stream| stream.len() > rows / 4) {
            return case;
        }
    }
    panic!("no case has enough rows");
}

/// Runs one case on collections, in several runs that are stopped in the middle.
fn agrees(name: &str, shape: &Shape, database: &Database, seed: u64) {
    let case = drawn(shape, 40, seed);
    let called = name;
    let name = |stream: usize| format!("rows-{called}-{seed}-{stream}");
    for (stream, rows) in case.rows.iter().enumerate() {
        let mut documents: Vec<Document> = rows
            .iter()
            .enumerate()
            .map(|(number, row)| {
                let mut document = bson::serialize_to_document(&Rec::<0>::of(row)).unwrap();
                document.insert("_id", number as i64);
                document
            })
            .collect();
        // They stand in the collection in another order than that in which they are read.
        let count = documents.len();
        for at in 0..count {
            documents.swap(at, (at * 7 + seed as usize) % count);
        }
        database.create(&name(stream));
        database.index(&name(stream), &["at"]);
        database.insert(&name(stream), documents);
    }
    let read = |stream: usize| {
        let stream = if stream < case.rows.len() { stream } else { 0 };
        // What is only looked up may stand in any order.
        let sorted = case.rows[stream].is_sorted_by_key(|row| row.at);
        ReadCollection::new(name(stream)).order_by([if sorted && seed % 2 == 1 { "at" } else { "_id" }])
    };
    let output = format!("calls-{called}-{seed}");
    let broker = || -> MongoBroker {
        database
            .broker()
            .read::<Rec<0>>(read(0))
            .read::<Rec<1>>(read(1))
            .read::<Rec<2>>(read(2))
            .read::<Rec<3>>(read(3))
            .read::<Rec<4>>(read(4))
            .read::<Rec<5>>(read(5))
            .write::<Call>(output.as_str())
    };
    // No one commit falls where the others do.
    let step = 17 + 6 * seed;
    let mill = || bad_streams((shape.mill)(&case), OnBad::Skip);
    let mut runs = 0;
    loop {
        let report = mill()
            .stop_after_records(step)
            .run_blocking(broker())
            .unwrap_or_else(|error| panic!("seed {seed}: {}", told(&error)));
        if matches!(report.end, EndReason::InputEnded { .. }) {
            break;
        }
        runs += 1;
        assert!(runs < 30, "seed {seed}: {report}");
    }
    let calls = database.read::<Call>(&output, doc! { "_id": 1 }).0;
    let wanted = oracle::expect(&case).calls;
    let differ = calls.iter().zip(&wanted).position(|(call, wanted)| call != wanted);
    let all = (calls.len(), wanted.len());
    assert!(
        calls == wanted,
        "{called}, seed {seed}: {all:?} calls, the first that differs is {differ:?}; {:?}, {:?}",
        case.edges,
        case.window
    );
}

fn seeds(all: &[u64]) -> Vec<u64> {
    match std::env::var("WATERMILL_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => vec![seed],
        None => all.to_vec(),
    }
}

type Named = (&'static str, fn() -> Shape);

const SHAPES: [Named; 6] = [
    ("one", shape::one),
    ("chain", shape::chain_2),
    ("star", shape::star_2),
    ("fork", shape::fork_below),
    ("mixed", shape::mixed),
    ("deep", shape::deep_fork),
];

#[test]
fn every_shape_of_tree() {
    let database = Database::fresh();
    for seed in seeds(&[1, 2, 3, 4, 5, 6]) {
        for (name, shape) in SHAPES {
            agrees(name, &shape(), &database, seed);
        }
    }
}

#[test]
fn without_transactions() {
    let database = Database::on(standalone());
    for seed in seeds(&[7, 8, 9, 10]) {
        for (name, shape) in [("one", shape::one()), ("chain", shape::chain_3())] {
            agrees(name, &shape, &database, seed);
        }
    }
}
