//! What a join means: every sentence of the join semantics, once by example.
#![allow(clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

use watermill::prelude::*;
use watermill_derive::StreamRecord;

#[derive(Debug, Clone, StreamRecord)]
struct L {
    key: i64,
    robot: u8,
    id: u32,
}

#[derive(Debug, Clone, StreamRecord)]
struct R {
    key: i64,
    robot: u8,
    id: u32,
}

#[derive(Debug, Clone, StreamRecord)]
struct S {
    key: i64,
    id: u32,
}

#[derive(Debug, PartialEq, StreamRecord)]
struct Pair {
    left: u32,
    rights: Vec<u32>,
}

fn lefts(keys: &[i64]) -> Vec<L> {
    keys.iter().zip(0..).map(|(&key, id)| L { key, robot: 0, id }).collect()
}

fn rights(keys: &[i64]) -> Vec<R> {
    keys.iter().zip(0..).map(|(&key, id)| R { key, robot: 0, id }).collect()
}

fn thirds(keys: &[i64]) -> Vec<S> {
    keys.iter().zip(0..).map(|(&key, id)| S { key, id }).collect()
}

fn ids(group: &Group<R>) -> Vec<u32> {
    group.iter().map(|r| r.id).collect()
}

fn pairs(l: &L, r: &Joined<L, R>) -> Pair {
    Pair { left: l.id, rights: ids(&r[l]) }
}

fn by_key() -> JoinWith<L, R, i64> {
    JoinWith::new(L::fields().key, R::fields().key)
}

/// Runs a join with every batch size that can matter, and gives the results, which must always be the same.
fn run(join: impl Fn() -> JoinWith<L, R, i64>, left: &[L], right: &[R]) -> Vec<(u32, Vec<u32>)> {
    let mut last = None;
    for batch in 1..=left.len().max(right.len()) + 1 {
        let out = Collected::<Pair>::new();
        let broker = MemoryBroker::new().read(left.to_vec()).read(right.to_vec()).write(&out).batch(batch);
        Mill::new(pairs).join(join()).run_blocking(broker).unwrap();
        let results: Vec<_> = out.take().into_iter().map(|p| (p.left, p.rights)).collect();
        if let Some(last) = &last {
            assert_eq!(&results, last, "batches of {batch}");
        }
        last = Some(results);
    }
    last.unwrap()
}

#[test]
fn equal_keys_on_both_sides_are_a_full_many_to_many_match() {
    let came = run(by_key, &lefts(&[1, 1, 2]), &rights(&[1, 1, 2]));
    assert_eq!(came, [(0, vec![0, 1]), (1, vec![0, 1]), (2, vec![2])]);
    assert_eq!(came.iter().map(|(_, rights)| rights.len()).sum::<usize>(), 5);
}

#[test]
fn left_records_without_a_match_are_dropped_by_default() {
    assert_eq!(run(by_key, &lefts(&[1, 2, 3]), &rights(&[2])), [(1, vec![0])]);
}

#[test]
fn a_left_join_keeps_them_with_an_empty_group() {
    let came = run(|| by_key().left(), &lefts(&[1, 2, 3]), &rights(&[2]));
    assert_eq!(came, [(0, vec![]), (1, vec![0]), (2, vec![])]);
}

#[test]
fn an_exists_join_keeps_those_with_a_match() {
    let came = run(|| by_key().exists(), &lefts(&[1, 2, 2, 3]), &rights(&[2, 3, 3]));
    assert_eq!(came, [(1, vec![0]), (2, vec![0]), (3, vec![1, 2])]);
}

#[test]
fn an_unmatched_join_keeps_those_without_one() {
    let came = run(|| by_key().unmatched(), &lefts(&[1, 2, 3]), &rights(&[2]));
    assert_eq!(came, [(0, vec![]), (2, vec![])]);
}

#[test]
fn exists_and_unmatched_need_no_argument() {
    fn id(l: &L) -> Pair {
        Pair { left: l.id, rights: vec![] }
    }
    for (join, expected) in [(by_key().exists(), vec![1]), (by_key().unmatched(), vec![0, 2])] {
        let out = Collected::<Pair>::new();
        let broker = MemoryBroker::new().read(lefts(&[1, 2, 3])).read(rights(&[2])).write(&out);
        Mill::new(id).join(join).run_blocking(broker).unwrap();
        assert_eq!(out.take().iter().map(|p| p.left).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn an_empty_right_stream_drops_all_or_keeps_all() {
    assert_eq!(run(by_key, &lefts(&[1, 2]), &[]), []);
    assert_eq!(run(|| by_key().exists(), &lefts(&[1, 2]), &[]), []);
    assert_eq!(run(|| by_key().left(), &lefts(&[1, 2]), &[]), [(0, vec![]), (1, vec![])]);
    assert_eq!(run(|| by_key().unmatched(), &lefts(&[1, 2]), &[]), [(0, vec![]), (1, vec![])]);
    assert_eq!(run(|| by_key().as_of().left(), &lefts(&[1]), &[]), [(0, vec![])]);
    assert_eq!(run(|| JoinWith::lookup(L::fields().key, R::fields().key), &lefts(&[1]), &[]), []);
}

#[test]
fn an_empty_master_stream_gives_nothing() {
    assert_eq!(run(by_key, &[], &rights(&[1, 2])), []);
    assert_eq!(run(|| by_key().left(), &[], &[]), []);
}

#[test]
fn as_of_takes_the_latest_at_or_before() {
    let came = run(|| by_key().as_of(), &lefts(&[1, 2, 3, 5, 5, 9]), &rights(&[2, 2, 4, 5, 8]));
    assert_eq!(came, [(1, vec![1]), (2, vec![1]), (3, vec![3]), (4, vec![3]), (5, vec![4])]);
}

#[test]
fn as_of_with_a_tolerance_does_not_look_further_back() {
    let came = run(|| by_key().as_of().tolerance(2), &lefts(&[1, 3, 4, 5, 6]), &rights(&[2, 6]));
    assert_eq!(came, [(1, vec![0]), (2, vec![0]), (4, vec![1])]);
}

#[test]
fn as_of_with_an_equality_takes_the_latest_that_is_equal_too() {
    let left = [(10, 0), (10, 1), (11, 0), (15, 1)];
    let right = [(5, 0), (8, 1), (9, 0), (9, 0), (10, 1)];
    let left: Vec<L> = left.iter().zip(0..).map(|(&(key, robot), id)| L { key, robot, id }).collect();
    let right: Vec<R> = right.iter().zip(0..).map(|(&(key, robot), id)| R { key, robot, id }).collect();
    let join = || by_key().as_of().and(L::fields().robot, R::fields().robot).tolerance(4);
    assert_eq!(run(join, &left, &right), [(0, vec![3]), (1, vec![4]), (2, vec![3])]);
}

#[test]
fn within_takes_an_interval_with_both_ends() {
    let came = run(|| by_key().within(-1..=1), &lefts(&[3, 4, 9]), &rights(&[1, 2, 3, 3, 4, 5, 7]));
    assert_eq!(came, [(0, vec![1, 2, 3, 4]), (1, vec![2, 3, 4, 5])]);
    let came = run(|| by_key().within(1..3), &lefts(&[3, 4, 9]), &rights(&[1, 2, 3, 3, 4, 5, 7]));
    assert_eq!(came, [(0, vec![4, 5]), (1, vec![5])]);
    let came = run(|| by_key().within(-3..=-2), &lefts(&[3, 4, 9]), &rights(&[1, 2, 3, 3, 4, 5, 7]));
    assert_eq!(came, [(0, vec![0]), (1, vec![0, 1]), (2, vec![6])]);
}

#[test]
fn within_next_to_the_ends_of_the_type_does_not_wrap() {
    let (min, max) = (i64::MIN, i64::MAX);
    let left = lefts(&[min, min + 1, 0, max - 1, max]);
    let right = rights(&[min, min + 3, 0, max - 3, max]);
    let came = run(|| by_key().within(-2..=2).left(), &left, &right);
    assert_eq!(came, [(0, vec![0]), (1, vec![0, 1]), (2, vec![2]), (3, vec![3, 4]), (4, vec![4])]);
    let came = run(|| by_key().as_of().tolerance(i64::MAX), &left, &right);
    assert_eq!(came, [(0, vec![0]), (1, vec![0]), (2, vec![2]), (3, vec![3]), (4, vec![4])]);
}

#[test]
fn a_lookup_table_and_its_left_keys_may_be_in_any_order() {
    let join = || JoinWith::lookup(L::fields().key, R::fields().key);
    let came = run(join, &lefts(&[3, 1, 3, 7]), &rights(&[3, 9, 1, 3]));
    assert_eq!(came, [(0, vec![0, 3]), (1, vec![2]), (2, vec![0, 3])]);
}

#[test]
fn none_matches_nothing_not_even_none() {
    #[derive(StreamRecord)]
    struct Ask {
        key: Option<i64>,
        id: u32,
    }
    #[derive(StreamRecord)]
    struct Answer {
        key: Option<i64>,
        id: u32,
    }
    fn ask(a: &Ask, b: &Joined<Ask, Answer>) -> Pair {
        Pair { left: a.id, rights: b[a].iter().map(|b| b.id).collect() }
    }
    let keys = [None, Some(1), None, Some(2), None];
    for batch in 1..6 {
        for lookup in [false, true] {
            let asks = keys.iter().zip(0..).map(|(&key, id)| Ask { key, id }).collect();
            let answers = keys.iter().zip(0..).map(|(&key, id)| Answer { key, id }).collect();
            let out = Collected::<Pair>::new();
            let broker =
                MemoryBroker::new().read::<Ask>(asks).read::<Answer>(answers).write(&out).batch(batch);
            let join = if lookup {
                JoinWith::lookup(Ask::fields().key, Answer::fields().key)
            } else {
                JoinWith::new(Ask::fields().key, Answer::fields().key)
            };
            let report = Mill::new(ask).join(join.left()).run_blocking(broker).unwrap();
            let came: Vec<(u32, Vec<u32>)> = out.take().into_iter().map(|p| (p.left, p.rights)).collect();
            assert_eq!(came, [(0, vec![]), (1, vec![1]), (2, vec![]), (3, vec![3]), (4, vec![])]);
            assert_eq!(report.inputs[1].matched, 2);
        }
    }
}

#[test]
fn minus_zero_equals_zero() {
    #[derive(StreamRecord)]
    struct A {
        x: f64,
    }
    #[derive(StreamRecord)]
    struct B {
        x: f64,
    }
    #[derive(Debug, PartialEq, StreamRecord)]
    struct Count {
        n: usize,
    }
    let out = Collected::<Count>::new();
    let left = vec![A { x: 0.0 }, A { x: -0.0 }, A { x: 0.0 }];
    let right = vec![B { x: -0.0 }, B { x: 0.0 }, B { x: -0.0 }];
    let broker = MemoryBroker::new().read(left).read(right).write(&out);
    Mill::new(|a: &A, b: &Joined<A, B>| Count { n: b[a].len() })
        .join(JoinWith::new(A::fields().x, B::fields().x))
        .run_blocking(broker)
        .unwrap();
    assert_eq!(out.take(), [Count { n: 3 }, Count { n: 3 }, Count { n: 3 }]);
}

#[test]
fn a_right_record_that_its_own_join_drops_is_no_match() {
    fn deep(l: &L, r: &Joined<L, R>, s: &Joined<R, S>) -> Pair {
        let below = |r: &R| s.get(r).map_or(0, Group::len) as u32;
        Pair { left: l.id, rights: r[l].iter().flat_map(|r| [r.id, below(r)]).collect() }
    }
    let run = |top: JoinWith<L, R, i64>, below: JoinWith<R, S, i64>| {
        let out = Collected::<Pair>::new();
        let broker = MemoryBroker::new()
            .read(lefts(&[1, 2, 3]))
            .read(rights(&[1, 1, 2, 3]))
            .read(thirds(&[1, 3, 3]))
            .write(&out)
            .batch(1);
        Mill::new(deep).join(top.join(below)).run_blocking(broker).unwrap();
        out.take().into_iter().map(|p| (p.left, p.rights)).collect::<Vec<_>>()
    };
    let below = || JoinWith::new(R::fields().key, S::fields().key);
    assert_eq!(run(by_key(), below()), [(0, vec![0, 1, 1, 1]), (2, vec![3, 2])]);
    assert_eq!(run(by_key().left(), below()), [(0, vec![0, 1, 1, 1]), (1, vec![]), (2, vec![3, 2])]);
    assert_eq!(run(by_key().left(), below().unmatched()), [(0, vec![]), (1, vec![2, 0]), (2, vec![])]);
    assert_eq!(run(by_key().unmatched(), below()), [(1, vec![])]);
    // The latest that survives, not the latest.
    assert_eq!(run(by_key().as_of(), below()), [(0, vec![1, 1]), (1, vec![1, 1]), (2, vec![3, 2])]);
    assert_eq!(run(by_key().as_of(), below().unmatched()), [(1, vec![2, 0]), (2, vec![2, 0])]);
}

#[test]
fn a_self_join_reads_the_same_data_as_a_second_type() {
    #[derive(Clone, StreamRecord)]
    struct Here {
        time: i64,
        x: f64,
    }
    #[derive(Clone, StreamRecord)]
    struct There {
        time: i64,
        x: f64,
    }
    #[derive(Debug, PartialEq, StreamRecord)]
    struct Speed {
        from: i64,
        to: i64,
        dx: f64,
    }
    fn speed(here: &Here, there: &Joined<Here, There>) -> Speed {
        let there = &there[here][0];
        Speed { from: here.time, to: there.time, dx: there.x - here.x }
    }
    let data = [(0, 1.0), (10, 1.5), (20, 4.0), (35, 9.0)];
    for batch in 1..6 {
        let out = Collected::<Speed>::new();
        let broker = MemoryBroker::new()
            .read(data.map(|(time, x)| Here { time, x }).to_vec())
            .read(data.map(|(time, x)| There { time, x }).to_vec())
            .write(&out)
            .batch(batch);
        Mill::new(speed)
            .join(JoinWith::new(Here::fields().time + 10, There::fields().time))
            .run_blocking(broker)
            .unwrap();
        assert_eq!(out.take(), [Speed { from: 0, to: 10, dx: 0.5 }, Speed { from: 10, to: 20, dx: 2.5 }]);
    }
}

#[test]
fn the_order_in_which_joins_are_given_to_the_mill_does_not_matter() {
    fn deep(l: &L, s: &Joined<R, S>, r: &Joined<L, R>) -> Pair {
        Pair { left: l.id, rights: r[l].iter().map(|r| s[r].len() as u32).collect() }
    }
    let top = by_key;
    let below = || JoinWith::new(R::fields().key, S::fields().key);
    for mill in [Mill::new(deep).join(top()).join(below()), Mill::new(deep).join(below()).join(top())] {
        let out = Collected::<Pair>::new();
        let broker = MemoryBroker::new().read(lefts(&[1, 2])).read(rights(&[1, 2])).read(thirds(&[2, 2]));
        let report = mill.run_blocking(broker.write(&out)).unwrap();
        assert_eq!(out.take(), [Pair { left: 1, rights: vec![2] }]);
        let streams: Vec<_> = report.inputs.iter().map(|input| input.stream.as_str()).collect();
        assert_eq!(streams, ["L", "R", "S"]);
    }
}

#[test]
fn one_record_type_may_be_read_from_several_named_streams() {
    fn both(l: &L, r: &Joined<L, R>) -> Pair {
        let (near, far) = (r.from("near"), r.from("far"));
        assert_eq!(near.only().len(), near[l].len());
        Pair { left: l.id, rights: ids(&near[l]).into_iter().chain(ids(&far[l])).collect() }
    }
    for batch in 1..4 {
        let out = Collected::<Pair>::new();
        let far = vec![R { key: 2, robot: 0, id: 10 }, R { key: 3, robot: 0, id: 11 }];
        let broker = MemoryBroker::new()
            .read(lefts(&[1, 2, 3]))
            .read_as("near", rights(&[1, 2, 2]))
            .read_as("far", far)
            .write(&out)
            .batch(batch);
        let report = Mill::new(both)
            .join(by_key().from("near"))
            .join(by_key().left().from("far"))
            .run_blocking(broker)
            .unwrap();
        assert_eq!(out.take(), [Pair { left: 0, rights: vec![0] }, Pair { left: 1, rights: vec![1, 2, 10] }]);
        assert!(report.inputs[1].stream.contains("near"), "{report}");
        assert!(report.inputs[2].stream.contains("far"), "{report}");
        assert_eq!((report.inputs[1].matched, report.inputs[2].matched), (3, 1));
    }
}

#[test]
fn a_sole_named_stream_needs_no_choice() {
    let out = Collected::<Pair>::new();
    let broker = MemoryBroker::new()
        .read(lefts(&[1]))
        .read_as("a", rights(&[1]))
        .read_as("b", rights(&[1, 1]))
        .write(&out);
    Mill::new(pairs).join(by_key().from("b")).run_blocking(broker).unwrap();
    assert_eq!(out.take(), [Pair { left: 0, rights: vec![0, 1] }]);
}

#[test]
fn a_join_may_read_the_masters_type_from_a_named_stream() {
    fn other(l: &L, others: &Joined<L, L>) -> Pair {
        Pair { left: l.id, rights: others[l].iter().map(|l| l.id).collect() }
    }
    let out = Collected::<Pair>::new();
    let broker =
        MemoryBroker::new().read(lefts(&[1, 2, 2])).read_as("other", lefts(&[2, 2])).write(&out).batch(2);
    Mill::new(other)
        .join(JoinWith::new(L::fields().key, L::fields().key).from("other"))
        .run_blocking(broker)
        .unwrap();
    assert_eq!(out.take(), [Pair { left: 1, rights: vec![0, 1] }, Pair { left: 2, rights: vec![0, 1] }]);
}

#[test]
fn text_keys_compare_by_their_bytes_and_need_not_be_of_one_length() {
    #[derive(StreamRecord)]
    struct A {
        name: String,
    }
    #[derive(StreamRecord)]
    struct B {
        name: String,
        id: u32,
    }
    fn same(a: &A, b: &Joined<A, B>) -> Pair {
        Pair { left: a.name.len() as u32, rights: b[a].iter().map(|b| b.id).collect() }
    }
    let names = ["", "a", "aa", "ab", "b", "ba", "z", "ä", "日本"];
    let left = names.iter().map(|name| A { name: (*name).to_owned() }).collect::<Vec<_>>();
    let right =
        names.iter().zip(0..).map(|(name, id)| B { name: (*name).to_owned(), id }).collect::<Vec<_>>();
    let out = Collected::<Pair>::new();
    let broker = MemoryBroker::new().read(left).read(right).write(&out).batch(2);
    Mill::new(same).join(JoinWith::new(A::fields().name, B::fields().name)).run_blocking(broker).unwrap();
    let came: Vec<Vec<u32>> = out.take().into_iter().map(|p| p.rights).collect();
    assert_eq!(came, (0..9).map(|id| vec![id]).collect::<Vec<_>>());
}

#[test]
fn two_equalities_beside_the_key_must_both_hold() {
    let left: Vec<L> =
        [(1, 0, 0), (1, 0, 1), (1, 1, 1)].map(|(key, robot, id)| L { key, robot, id }).to_vec();
    let right: Vec<R> =
        [(1, 0, 0), (1, 1, 0), (1, 1, 1)].map(|(key, robot, id)| R { key, robot, id }).to_vec();
    let join =
        || by_key().and(L::fields().robot, R::fields().robot).and(L::fields().id, R::fields().id).left();
    assert_eq!(run(join, &left, &right), [(0, vec![0]), (1, vec![]), (1, vec![1])]);
}
