//! Joins that go on without a silent right stream, and streams that end by silence.

use std::time::Duration;

use watermill::prelude::*;
use watermill::testing::{State, TestMill};
use watermill::{BadCause, RunError};
use watermill_derive::StreamRecord;

use crate::random::{Random, for_seeds};

#[derive(StreamRecord, Clone, Debug)]
struct A {
    key: i64,
    tag: Option<u8>,
    id: u32,
}

#[derive(StreamRecord, Clone, Debug)]
struct B {
    key: i64,
    tag: Option<u8>,
    id: u32,
}

#[derive(StreamRecord, Clone, Debug, PartialEq)]
struct Seen {
    id: u32,
    with: Vec<u32>,
}

fn see(a: &A, bs: &Joined<A, B>) -> Seen {
    Seen { id: a.id, with: bs[a].iter().map(|b| b.id).collect() }
}

fn alone(a: &A) -> Seen {
    Seen { id: a.id, with: Vec::new() }
}

const IDLE: u64 = 10;

#[derive(Debug, Clone, Copy)]
enum Match {
    Equal,
    Within,
    AsOf,
    AsOfTolerance,
}

#[derive(Debug, Clone, Copy)]
enum Keep {
    Inner,
    Left,
    Exists,
    Unmatched,
}

fn matches(matching: Match, and: bool, a: &A, b: &B) -> bool {
    let also = !and || (a.tag.is_some() && a.tag == b.tag);
    also && match matching {
        Match::Equal => a.key == b.key,
        Match::Within => (a.key - 2..=a.key + 1).contains(&b.key),
        Match::AsOf => b.key <= a.key,
        Match::AsOfTolerance => b.key <= a.key && b.key + 3 >= a.key,
    }
}

fn mill(matching: Match, keep: Keep, and: bool) -> Mill<A> {
    let join = JoinWith::new(A::fields().key, B::fields().key).on_idle(Duration::from_secs(IDLE));
    let join = match matching {
        Match::Equal => join,
        Match::Within => join.within(-2..=1),
        Match::AsOf => join.as_of(),
        Match::AsOfTolerance => join.as_of().tolerance(3),
    };
    let join = if and { join.and(A::fields().tag, B::fields().tag) } else { join };
    match keep {
        Keep::Inner => Mill::new(see).join(join),
        Keep::Left => Mill::new(see).join(join.left()),
        Keep::Exists => Mill::new(alone).join(join.exists()),
        Keep::Unmatched => Mill::new(alone).join(join.unmatched()),
    }
}

fn tag(random: &mut Random) -> Option<u8> {
    (random.below(6) > 0).then(|| random.below(2) as u8)
}

/// What the streams come to, by looking at all records.
#[derive(Default)]
struct Model {
    /// Masters that are not decided yet.
    waiting: Vec<A>,
    /// Right records that the mill has not asked for.
    fed: Vec<B>,
    /// Right records that were let in.
    read: Vec<B>,
    /// Masters that were decided by silence.
    decided: Vec<A>,
    late: u64,
    silent_since: Option<u64>,
    expected: Vec<Seen>,
}

impl Model {
    /// A master waits until a right key beyond its range has come, or the right stream has been silent for long enough; then it is decided with what
    /// is there. The right stream is read while it is waited for, all that was fed at once.
    fn go_on(&mut self, now: u64, matching: Match, keep: Keep, and: bool) {
        let matches = |a: &A, b: &B| matches(matching, and, a, b);
        let beyond = |a: &A, b: &B| b.key > a.key + i64::from(matches!(matching, Match::Within));
        while let Some(a) = self.waiting.first().cloned() {
            if !self.read.iter().any(|b| beyond(&a, b)) {
                if !self.fed.is_empty() {
                    for b in std::mem::take(&mut self.fed) {
                        if self.decided.iter().any(|a| matches(a, &b)) {
                            self.late += 1;
                        } else {
                            self.read.push(b);
                            self.silent_since = None;
                        }
                    }
                    continue;
                }
                if now < *self.silent_since.get_or_insert(now) + IDLE {
                    return;
                }
                self.decided.push(a.clone());
            }
            self.waiting.remove(0);
            let mut with: Vec<u32> = self.read.iter().filter(|b| matches(&a, b)).map(|b| b.id).collect();
            if matches!(matching, Match::AsOf | Match::AsOfTolerance) {
                with = with.pop().into_iter().collect();
            }
            let stays = match keep {
                Keep::Inner | Keep::Exists => !with.is_empty(),
                Keep::Unmatched => with.is_empty(),
                Keep::Left => true,
            };
            let shown = if matches!(keep, Keep::Inner | Keep::Left) { with } else { Vec::new() };
            if stays {
                self.expected.push(Seen { id: a.id, with: shown });
            }
        }
    }
}

/// Records of both streams come one by one, with seconds between them.
fn agree(random: &mut Random) {
    let matching = random.one_of(&[Match::Equal, Match::Within, Match::AsOf, Match::AsOfTolerance]);
    let keep = random.one_of(&[Keep::Inner, Keep::Left, Keep::Exists, Keep::Unmatched]);
    let and = random.below(3) == 0 && !matches!(matching, Match::AsOf);
    let mut test = TestMill::new(mill(matching, keep, and).on_bad::<B>(OnBad::Skip)).unwrap();
    test.run().unwrap();
    let (mut model, mut came) = (Model::default(), Vec::new());
    let (mut now, mut left_key, mut right_key) = (0, 0, 0);
    for id in 0..random.below(40) as u32 {
        match random.below(3) {
            0 => {
                left_key += random.one_of(&[0, 1, 2, 4]);
                let a = A { key: left_key, tag: tag(random), id };
                test.feed(a.clone());
                model.waiting.push(a);
            }
            1 => {
                right_key += random.one_of(&[0, 1, 2, 4]);
                let b = B { key: right_key, tag: tag(random), id };
                test.feed(b.clone());
                model.fed.push(b);
            }
            _ => {
                let by = random.one_of(&[1, 4, 10]);
                test.advance(Duration::from_secs(by));
                now += by;
            }
        }
        test.run().unwrap();
        came.extend(test.results::<Seen>());
        model.go_on(now, matching, keep, and);
        assert_eq!(came, model.expected, "{matching:?} {keep:?} {and} after {id}");
        let skipped = test.input::<B>().map_or((0, 0), |input| (input.skipped, input.late));
        assert_eq!(skipped, (model.late, model.late), "{matching:?} {keep:?} {and} after {id}");
    }
}

#[test]
fn joins_go_on_without_a_silent_stream() {
    for_seeds(600, agree);
}

#[test]
fn a_late_record_is_a_bad_one() {
    let mut test = TestMill::new(mill(Match::Equal, Keep::Left, false)).unwrap();
    let b = |key| B { key, tag: None, id: 0 };
    test.feed_all([5, 7].map(|key| A { key, tag: None, id: key as u32 }));
    test.run().unwrap();
    test.advance(Duration::from_secs(IDLE));
    assert_eq!(test.run().unwrap(), State::Waiting("A".to_owned()));
    assert_eq!(test.results::<Seen>().len(), 2);
    // Nobody was decided without 6.
    test.feed(A { key: 9, tag: None, id: 9 });
    test.feed(b(6));
    assert_eq!(test.run().unwrap(), State::Waiting("B".to_owned()));
    test.feed(b(7));
    let error = test.run().unwrap_err();
    let RunError::BadRecord(bad) = error else { panic!("{error:?}") };
    assert!(matches!(&bad.cause, BadCause::Late { key, .. } if key == "7"), "{bad:?}");
}

#[test]
fn silence_below_does_not_stop_a_tree() {
    #[derive(StreamRecord)]
    struct C {
        key: i64,
    }
    let join = JoinWith::new(B::fields().key, C::fields().key).left().on_idle(Duration::from_secs(IDLE));
    let join = JoinWith::new(A::fields().key, B::fields().key).join(join).on_idle(Duration::from_secs(IDLE));
    let see = |a: &A, bs: &Joined<A, B>, cs: &Joined<B, C>| Seen {
        id: a.id,
        with: bs[a].iter().map(|b| cs[b].len() as u32).collect(),
    };
    let mut test = TestMill::new(Mill::new(see).join(join)).unwrap();
    test.feed_all([1, 2].map(|key| A { key, tag: None, id: key as u32 }));
    test.feed_all([1, 2].map(|key| B { key, tag: None, id: key as u32 }));
    test.feed(C { key: 1 });
    for _ in 0..6 {
        test.run().unwrap();
        test.advance(Duration::from_secs(IDLE));
    }
    test.run().unwrap();
    assert_eq!(test.results::<Seen>(), [Seen { id: 1, with: vec![1] }, Seen { id: 2, with: vec![0] }]);
}

#[test]
fn a_stream_ends_by_silence() {
    let join = JoinWith::new(A::fields().key, B::fields().key);
    let mill = Mill::new(see).join(join.left()).eos_after::<B>(Duration::from_secs(60));
    let mut test = TestMill::new(mill).unwrap();
    test.feed_all([1, 2, 3].map(|key| A { key, tag: None, id: key as u32 }));
    test.feed(B { key: 2, tag: None, id: 7 });
    test.run().unwrap();
    test.advance(Duration::from_secs(59));
    assert_eq!(test.run().unwrap(), State::Waiting("B".to_owned()));
    assert_eq!(test.results::<Seen>(), [Seen { id: 1, with: vec![] }]);
    test.advance(Duration::from_secs(1));
    assert_eq!(test.run().unwrap(), State::Waiting("A".to_owned()));
    assert_eq!(test.results::<Seen>(), [Seen { id: 2, with: vec![7] }, Seen { id: 3, with: vec![] }]);
}

#[test]
fn mistakes_are_told() {
    let error = |join: JoinWith<A, B, i64>| Mill::new(see).join(join).explain().unwrap_err().to_string();
    let second = Duration::from_secs(1);
    let lookup = JoinWith::lookup(A::fields().key, B::fields().key).on_idle(second);
    assert!(error(lookup).contains("a lookup reads the whole table"));
    let equal = || JoinWith::new(A::fields().key, B::fields().key);
    assert!(error(equal().on_idle(Duration::ZERO)).contains("would never wait"));
    let explained = Mill::new(see).join(equal().on_idle(second)).explain().unwrap();
    assert!(explained.contains("inner, key = key, or after 1s of silence"), "{explained}");
}
