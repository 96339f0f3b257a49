//! Dead letters over restarts.

use watermill::prelude::*;

use super::random::Random;
use super::store::Item;
use super::{A, B, C, Data, Seen, below, by_key, every_death_is_survived, pair, triple, triples};

/// Keys that go up in runs, some that go down, and records that do not decode.
fn keys(random: &mut Random) -> Vec<Option<i64>> {
    let mut key = 10;
    let count = random.below(25);
    (0..count)
        .map(|_| match random.below(10) {
            0 | 1 => None,
            2 => Some(key - 1 - random.below(4) as i64),
            _ => {
                key += [0, 0, 1, 1, 2, 5][random.below(6) as usize];
                Some(key)
            }
        })
        .collect()
}

fn data(seed: u64) -> Data {
    let mut random = Random::new(seed);
    macro_rules! items {
        ($make:expr) => {{
            let make = $make;
            let keys = keys(&mut random);
            keys.iter()
                .enumerate()
                .map(|(id, key)| match key {
                    Some(key) => Item::Good(make(*key, id as u32)),
                    None => Item::Bad,
                })
                .collect()
        }};
    }
    let tag = |id: u32| (id % 3) as u8;
    Data {
        a: items!(|key, id| A { key, tag: tag(id), id }),
        b: items!(|key, id| B { key, tag: tag(id), id }),
        c: items!(|key, id| C { key, id }),
        part: 1 + random.below(30) as usize,
    }
}

fn letters<M: StreamRecord>(mill: Mill<M>) -> Mill<M> {
    mill.on_bad::<A>(OnBad::DeadLetter).on_bad::<B>(OnBad::DeadLetter).on_bad::<C>(OnBad::DeadLetter)
}

fn of<M: StreamRecord>(mill: impl Fn() -> Mill<M>) {
    try_all(mill, false);
}

fn try_all<M: StreamRecord>(mill: impl Fn() -> Mill<M>, ends_early: bool) {
    let mut found = 0;
    for seed in 0..16 {
        let (_, streams) = every_death_is_survived(seed * 1000, &data(seed), || letters(mill()), ends_early);
        for (_, letters) in &streams {
            assert!(letters.is_sorted_by_key(|letter| {
                let part: u64 = match &letter.origin {
                    watermill::broker::Origin::File { path } => path["part ".len()..].parse().unwrap(),
                    _ => panic!("{letter}"),
                };
                (part, letter.offset)
            }));
            for letter in letters {
                assert!(letter.text().is_some_and(|raw| raw.starts_with("item ")), "{letter:?}");
            }
            found += letters.len();
        }
    }
    assert!(found > 40, "{found} letters");
}

#[test]
fn of_a_master_alone() {
    of(|| Mill::new(|a: &A| Seen { ids: vec![a.id] }));
    of(|| Mill::new(|all: &[A]| Seen { ids: all.iter().map(|a| a.id).collect() }).window(Window::count(3)));
    of(|| {
        Mill::new(|all: &[A]| Seen { ids: all.iter().map(|a| a.id).collect() })
            .window(Window::by(A::fields().key))
    });
}

/// A restart passes over parts of a stream that hold nothing but bad records, between the last record and the next.
#[test]
fn of_parts_that_are_all_bad() {
    let items = |bad: &[u32]| -> Vec<Item<A>> {
        let good = |id| Item::Good(A { key: i64::from(id), tag: 0, id });
        (0..12).map(|id| if bad.contains(&id) { Item::Bad } else { good(id) }).collect()
    };
    for (seed, bad) in [&[1, 2, 3, 7, 8][..], &[0, 1, 2], &[9, 10, 11], &[3, 4, 5, 6]].into_iter().enumerate()
    {
        for part in [1, 2, 3] {
            let data = Data { a: items(bad), b: Vec::new(), c: Vec::new(), part };
            let mill = || letters(Mill::new(|a: &A| Seen { ids: vec![a.id] }).commit_after_calls(1));
            let (_, streams) = every_death_is_survived(seed as u64 * 1000, &data, mill, false);
            assert_eq!(streams[0].1.len(), bad.len());
        }
    }
}

#[test]
fn of_joins() {
    of(|| Mill::new(pair).join(by_key().left()));
    of(|| Mill::new(pair).join(by_key().left()).commit_after_calls(1));
    of(|| Mill::new(pair).join(by_key().within(-2..=2).left()));
    of(|| Mill::new(pair).join(by_key().as_of().left()));
    of(|| Mill::new(pair).join(by_key().as_of().tolerance(2).left()));
    of(|| Mill::new(pair).join(JoinWith::lookup(A::fields().tag, B::fields().tag).left()));
}

#[test]
fn of_calls_side_by_side() {
    of(|| Mill::new(pair).join(by_key().left()).workers(2));
    of(|| Mill::new(triples).join(by_key().left().join(below().left())).window(Window::count(3)).workers(3));
}

#[test]
fn of_joins_that_end_with_a_right_stream() {
    try_all(|| Mill::new(pair).join(by_key()), true);
    try_all(|| Mill::new(pair).join(by_key().as_of()), true);
    try_all(|| Mill::new(triple).join(by_key().join(below())), true);
}

#[test]
fn of_trees() {
    of(|| Mill::new(triple).join(by_key().left().join(below().left())));
    of(|| Mill::new(triple).join(by_key().as_of().left().join(below().as_of().left())));
    of(|| {
        Mill::new(triples).join(by_key().left().join(below().left())).window(Window::by(A::fields().key / 3))
    });
    of(|| Mill::new(triples).join(by_key().left().join(below().left())).window(Window::count(3)));
}
