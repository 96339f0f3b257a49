//! Records that come late, over restarts and against a sort.

use watermill::broker::Origin;
use watermill::prelude::*;

use super::random::Random;
use super::store::Item;
use super::{A, B, C, Data, Outcome, below, by_key, every_death_is_survived, pair, triple, triples};

/// Keys that go up, displaced at random; some records that do not decode.
fn items<R>(random: &mut Random, reach: u64, make: impl Fn(i64, u32) -> R) -> Vec<Item<R>> {
    let count = random.below(25);
    let mut key = 0;
    let mut keys: Vec<(u64, i64)> = (0..count)
        .map(|at| {
            key += [0, 0, 1, 1, 2, 5][random.below(6) as usize];
            (2 * at + random.below(2 * reach + 1), key)
        })
        .collect();
    keys.sort_by_key(|(place, _)| *place);
    let mut items = Vec::new();
    for (id, (_, key)) in keys.into_iter().enumerate() {
        if random.below(9) == 0 {
            items.push(Item::Bad);
        }
        items.push(Item::Good(make(key, id as u32)));
    }
    items
}

fn data(seed: u64, reach: u64) -> Data {
    let mut random = Random::new(seed);
    Data {
        a: items(&mut random, reach, |key, id| A { key, tag: (id % 3) as u8, id }),
        b: items(&mut random, reach, |key, id| B { key, tag: (id % 3) as u8, id }),
        c: items(&mut random, reach, |key, id| C { key, id }),
        part: 1 + random.below(30) as usize,
    }
}

/// What sorting within `n` comes to, said in another way: a record is late when more than `n` before it that are not late
/// themselves have greater keys, and one of them is known to be in its place by then; all others are sorted.
fn sorted<R: Clone>(items: &[Item<R>], n: usize, key: impl Fn(&R) -> i64) -> (Vec<Item<R>>, Vec<usize>) {
    let mut kept: Vec<(usize, R)> = Vec::new();
    let mut late = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Item::Good(record) = item else {
            late.push(index);
            continue;
        };
        // The n+1st greatest key so far is in its place, and with it all that are lower.
        let mut greatest: Vec<i64> = kept.iter().map(|(_, record)| key(record)).collect();
        greatest.sort_unstable_by(|a, b| b.cmp(a));
        if greatest.get(n).is_some_and(|placed| key(record) < *placed) {
            late.push(index);
        } else {
            kept.push((index, record.clone()));
        }
    }
    kept.sort_by_key(|(_, record)| key(record));
    (kept.into_iter().map(|(_, record)| Item::Good(record)).collect(), late)
}

fn policies<M: StreamRecord>(mill: Mill<M>) -> Mill<M> {
    mill.on_bad::<A>(OnBad::DeadLetter).on_bad::<B>(OnBad::DeadLetter).on_bad::<C>(OnBad::DeadLetter)
}

fn within<M: StreamRecord>(mill: Mill<M>, n: usize) -> Mill<M> {
    policies(mill).reorder_within::<A>(n).reorder_within::<B>(n)
}

/// Which items of a stream have letters, and how many stand twice.
fn lettered(outcome: &Outcome, stream: &str, part: usize) -> Vec<usize> {
    let (_, letters) = outcome.1.iter().find(|(name, _)| name == stream).unwrap();
    let mut items: Vec<usize> = letters
        .iter()
        .map(|letter| match &letter.origin {
            Origin::File { path } => {
                let first: usize = path["part ".len()..].parse().unwrap();
                first * part + (letter.offset as usize - 3) / 10
            }
            _ => panic!("{letter}"),
        })
        .collect();
    items.sort_unstable();
    items
}

/// Runs over displaced records are survived, and come to what runs over sorted ones come to.
fn of<M: StreamRecord>(n: usize, reach: u64, with_c: bool, mill: impl Fn() -> Mill<M>) -> usize {
    let mut all_late = 0;
    for seed in 0..16 {
        let shuffled = data(seed, reach);
        let all = |mill: Mill<M>| if with_c { mill.reorder_within::<C>(n) } else { mill };
        let outcome = every_death_is_survived(seed * 1000, &shuffled, || all(within(mill(), n)), false);
        let (a, late_a) = sorted(&shuffled.a, n, |a| a.key);
        let (b, late_b) = sorted(&shuffled.b, n, |b| b.key);
        let (c, _) = sorted(&shuffled.c, n, |c| c.key);
        let in_order = Data { a, b, c, part: 1000 };
        let store = in_order.store(seed, false);
        super::started(policies(mill()), &store).unwrap();
        let expected = super::outcome(&store);
        assert_eq!(outcome.0, expected.0, "seed {seed}, within {n}");
        assert_eq!(lettered(&outcome, "A", shuffled.part), late_a, "seed {seed}, within {n}");
        // Of the right stream only what the masters need is looked at.
        let of_b = lettered(&outcome, "B", shuffled.part);
        assert!(
            of_b.iter().all(|item| late_b.contains(item)),
            "seed {seed}, within {n}: {of_b:?}, {late_b:?}"
        );
        all_late += late_a.len();
    }
    all_late
}

#[test]
fn all_in_reach() {
    of(4, 2, false, || Mill::new(pair).join(by_key().left()));
    of(30, 8, false, || Mill::new(pair).join(by_key().left()).commit_after_calls(1));
}

#[test]
fn some_out_of_reach() {
    for n in [1, 2, 5] {
        let late = of(n, 4, false, || Mill::new(pair).join(by_key().left()));
        assert!(late > 20, "within {n}: {late}");
    }
}

#[test]
fn joins_of_every_kind() {
    of(3, 3, false, || Mill::new(pair).join(by_key().within(-2..=2).left()));
    of(3, 3, false, || Mill::new(pair).join(by_key().as_of().left()));
    of(3, 3, false, || Mill::new(pair).join(by_key().as_of().tolerance(2).left()).commit_after_calls(1));
    of(3, 3, false, || Mill::new(pair).join(by_key().left()).workers(2));
}

#[test]
fn trees_and_windows() {
    of(3, 3, true, || Mill::new(triple).join(by_key().left().join(below().left())));
    of(3, 3, true, || {
        Mill::new(triples).join(by_key().left().join(below().left())).window(Window::by(A::fields().key / 3))
    });
    of(2, 3, true, || Mill::new(triples).join(by_key().left().join(below().left())).window(Window::count(3)));
    of(2, 3, true, || Mill::new(triple).join(by_key().as_of().left().join(below().as_of().left())));
}

/// Records without a key are not held; what else is let in next does not depend on them.
#[test]
fn records_without_a_key_between_the_others() {
    let join = || {
        let left = |a: &A| (a.tag != 0).then_some(a.key);
        JoinWith::new(left, |b: &B| (b.tag != 1).then_some(b.key)).left()
    };
    for seed in 0..16 {
        let mill = || within(Mill::new(pair).join(join()), 4);
        let outcome = every_death_is_survived(seed * 1000, &data(seed, 2), mill, false);
        assert_eq!(
            outcome.1.iter().flat_map(|(_, all)| all).filter(|letter| letter.kind != "other").count(),
            0
        );
    }
}

/// One record that is early lets all others pass: the position stays before it, and says what is finished behind it.
#[test]
fn a_record_that_is_far_too_early() {
    let count = 200;
    let a = |key: i64, id: u32| Item::Good(A { key, tag: 0, id });
    let mut early = vec![a(1000, 0)];
    early.extend((1..count).map(|id| a(i64::from(id), id)));
    let data = Data {
        a: early,
        b: (0..count).map(|id| Item::Good(B { key: i64::from(id), tag: 0, id })).collect(),
        c: Vec::new(),
        part: 70,
    };
    let mill = || within(Mill::new(pair).join(by_key().left()).commit_after_calls(1), 1);
    let store = data.store(1, false);
    store.dies_after(150);
    assert!(super::started(mill(), &store).is_err());
    let checkpoint = store.state_of(|kept| kept.checkpoint.clone()).unwrap();
    let position = &checkpoint.positions[0];
    assert_eq!(
        (position.part.as_str(), position.next, position.finished.len()),
        ("part 0", 3, 1),
        "{position:?}"
    );
    store.dies_after(u64::MAX);
    super::started(mill(), &store).unwrap();
    let ids: Vec<u32> = super::outcome(&store).0.iter().map(|seen| seen.ids[0]).collect();
    assert_eq!(ids, (1..count).chain([0]).collect::<Vec<_>>());
}
