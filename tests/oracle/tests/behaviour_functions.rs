//! What a function may take, look up and return.
#![allow(clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use watermill::prelude::*;
use watermill::window::CloseReason;
use watermill::{EndReason, RunError};
use watermill_derive::StreamRecord;
use watermill_oracle::shape::told;

#[derive(Debug, Clone, StreamRecord)]
struct L {
    key: i64,
}

#[derive(Debug, Clone, StreamRecord)]
struct R {
    key: i64,
    id: i64,
}

#[derive(Debug, Clone, StreamRecord)]
struct S {
    key: i64,
}

#[derive(Debug, PartialEq, StreamRecord)]
struct N {
    n: i64,
}

#[derive(Debug, PartialEq, StreamRecord)]
struct Text {
    text: String,
}

fn ls(keys: impl IntoIterator<Item = i64>) -> Vec<L> {
    keys.into_iter().map(|key| L { key }).collect()
}

fn rs(keys: &[i64]) -> Vec<R> {
    keys.iter().zip(0..).map(|(&key, id)| R { key, id }).collect()
}

fn by_key() -> JoinWith<L, R, i64> {
    JoinWith::new(L::fields().key, R::fields().key)
}

/// Runs over masters 1 to 4 and the right records 1, 2, 2, 4.
fn run(mill: Mill<L>) -> Result<Vec<i64>, RunError> {
    let out = Collected::<N>::new();
    let broker = MemoryBroker::new().read(ls(1..=4)).read(rs(&[1, 2, 2, 4])).write(&out).batch(2);
    mill.run_blocking(broker)?;
    Ok(out.take().into_iter().map(|n| n.n).collect())
}

fn n(n: i64) -> N {
    N { n }
}

#[test]
fn the_group_of_a_clone_is_none() {
    fn clone(l: &L, r: &Joined<L, R>) -> N {
        assert!(r.get(&l.clone()).is_none());
        assert!(r.get(&L { key: l.key }).is_none());
        assert_eq!(r.get(l).unwrap().len(), r.only().len());
        n(r[l].len() as i64)
    }
    assert_eq!(run(Mill::new(clone).join(by_key().left())).unwrap(), [1, 2, 0, 1]);
}

#[test]
fn indexing_with_a_clone_is_an_error_of_the_function_that_says_so() {
    fn index(l: &L, r: &Joined<L, R>) -> N {
        n(r[&l.clone()].len() as i64)
    }
    let error = run(Mill::new(index).join(by_key())).unwrap_err();
    let text = told(&error);
    assert!(matches!(error, RunError::Function { .. }), "{text}");
    assert!(text.contains("index") && text.contains("`L`") && text.contains("clone"), "{text}");
    assert!(text.contains("behaviour_functions.rs"), "it says where: {text}");
}

#[test]
fn the_group_of_a_record_of_another_call_is_none() {
    // Records of other groups of the same call are there, records that were dropped are not.
    fn deep(l: &L, r: &Joined<L, R>, s: &Joined<R, S>) -> N {
        n(r[l].iter().map(|r| s[r].len() as i64).sum())
    }
    let out = Collected::<N>::new();
    let broker = MemoryBroker::new()
        .read(ls(1..=2))
        .read(rs(&[1, 2, 2]))
        .read(vec![S { key: 1 }, S { key: 2 }, S { key: 2 }])
        .write(&out);
    let join = by_key().join(JoinWith::new(R::fields().key, S::fields().key));
    Mill::new(deep).join(join).run_blocking(broker).unwrap();
    assert_eq!(out.take(), [n(1), n(4)]);
}

#[test]
fn only_is_the_group_of_the_sole_master() {
    fn only(_: &L, r: &Joined<L, R>) -> N {
        n(r.only().iter().map(|r| r.id).sum())
    }
    assert_eq!(run(Mill::new(only).join(by_key().left())).unwrap(), [0, 3, 0, 3]);
}

#[test]
fn only_in_a_window_of_several_is_an_error_of_the_function() {
    fn only(_: &[L], r: &Joined<L, R>) -> N {
        n(r.only().len() as i64)
    }
    let error = run(Mill::new(only).join(by_key()).window(Window::count(2))).unwrap_err();
    assert!(told(&error).contains("`only`"), "{}", told(&error));
}

#[test]
fn indexing_behind_the_end_of_a_group_is_an_error_of_the_function() {
    fn second(l: &L, r: &Joined<L, R>) -> N {
        n(r[l][1].id)
    }
    let error = run(Mill::new(second).join(by_key())).unwrap_err();
    let text = told(&error);
    assert!(text.contains("`second`") && text.contains("1 record") && text.contains("`R`"), "{text}");
}

#[test]
fn a_function_may_return_nothing_one_or_many() {
    assert_eq!(run(Mill::new(|l: &L| n(l.key))).unwrap(), [1, 2, 3, 4]);
    assert_eq!(run(Mill::new(|l: &L| (l.key % 2 == 0).then(|| n(l.key)))).unwrap(), [2, 4]);
    assert_eq!(
        run(Mill::new(|l: &L| (0..l.key).map(n).collect::<Vec<_>>())).unwrap(),
        [0, 0, 1, 0, 1, 2, 0, 1, 2, 3]
    );
    let report = Mill::new(|_: &L| ()).run_blocking(MemoryBroker::new().read(ls(1..=4))).unwrap();
    assert_eq!((report.calls, report.results), (4, 0));
}

#[test]
fn an_err_stops_the_run_and_names_function_master_and_cause() {
    fn odd(l: &L, _: &Joined<L, R>) -> Result<N, String> {
        if l.key == 2 { Err("two is not odd".to_owned()) } else { Ok(n(l.key)) }
    }
    let error = run(Mill::new(odd).join(by_key())).unwrap_err();
    let text = told(&error);
    assert!(matches!(error, RunError::Function { .. }), "{text}");
    for part in ["`odd`", "`L`", "record 1", "2", "two is not odd"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn a_panic_is_an_error_of_the_function() {
    fn falls(l: &L) -> N {
        assert!(l.key != 3, "fell over {}", l.key);
        n(l.key)
    }
    let error = run(Mill::new(falls)).unwrap_err();
    let text = told(&error);
    assert!(matches!(error, RunError::Function { .. }) && text.contains("fell over 3"), "{text}");
}

#[test]
fn flow_ends_the_stream() {
    let end = |l: &L| if l.key == 3 { Flow::End } else { Flow::Go(n(l.key)) };
    assert_eq!(run(Mill::new(end)).unwrap(), [1, 2]);
    let last = |l: &L| if l.key == 3 { Flow::Last(vec![n(30), n(31)]) } else { Flow::Go(vec![n(l.key)]) };
    assert_eq!(run(Mill::new(last)).unwrap(), [1, 2, 30, 31]);
    let nested = |l: &L| -> Result<Flow<Option<N>>, String> {
        Ok(if l.key == 3 { Flow::Last(None) } else { Flow::Go(Some(n(l.key))) })
    };
    assert_eq!(run(Mill::new(nested)).unwrap(), [1, 2]);
}

#[test]
fn when_the_function_ends_the_stream_the_rest_is_accounted_for() {
    let out = Collected::<N>::new();
    let broker = MemoryBroker::new().read(ls(1..=4)).read(rs(&[1, 2, 2, 4])).write(&out);
    let end = |l: &L, _: &Joined<L, R>| if l.key == 2 { Flow::Last(n(l.key)) } else { Flow::Go(n(l.key)) };
    let report = Mill::new(end).join(by_key()).run_blocking(broker).unwrap();
    assert_eq!(report.end, EndReason::Function);
    for input in &report.inputs {
        let sum = input.matched + input.unmatched + input.skipped + input.dead_lettered + input.pending;
        assert_eq!(input.records, sum, "{input:?}");
    }
    assert_eq!((report.inputs[0].matched, report.inputs[1].matched), (2, 3));
    assert_eq!((report.inputs[0].pending, report.inputs[1].pending), (2, 1), "{report}");
}

#[test]
fn several_result_streams_are_several_outs() {
    fn split(l: &L, even: &mut Out<N>, odd: &mut Out<Text>) {
        if l.key % 2 == 0 {
            even.push(n(l.key));
            even.extend([n(l.key * 10)]);
        } else {
            odd.push(Text { text: l.key.to_string() });
        }
    }
    let (even, odd) = (Collected::<N>::new(), Collected::<Text>::new());
    let broker = MemoryBroker::new().read(ls(1..=4)).write(&odd).write(&even).batch(3);
    let report = Mill::new(split).run_blocking(broker).unwrap();
    assert_eq!(even.take(), [n(2), n(20), n(4), n(40)]);
    assert_eq!(odd.take().iter().map(|t| t.text.as_str()).collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(report.results, 6);
    assert_eq!(
        report.outputs.iter().map(|o| (o.stream.as_str(), o.records)).collect::<Vec<_>>(),
        [("N", 4), ("Text", 2)]
    );
}

#[test]
fn a_result_may_be_returned_beside_an_out() {
    fn both(l: &L, texts: &mut Out<Text>) -> N {
        texts.push(Text { text: l.key.to_string() });
        n(l.key)
    }
    let (numbers, texts) = (Collected::<N>::new(), Collected::<Text>::new());
    Mill::new(both).run_blocking(MemoryBroker::new().read(ls(1..=2)).write(&texts).write(&numbers)).unwrap();
    assert_eq!((numbers.take().len(), texts.take().len()), (2, 2));
}

#[test]
fn an_out_that_was_ended_takes_nothing_more_and_the_mill_ends_with_the_last_one() {
    fn ends(l: &L, a: &mut Out<N>, b: &mut Out<Text>) {
        match l.key {
            1 => a.push(n(1)),
            2 => a.end(),
            3 => b.push(Text { text: "three".to_owned() }),
            4 => b.end(),
            other => panic!("called with {other}"),
        }
    }
    let (a, b) = (Collected::<N>::new(), Collected::<Text>::new());
    let report = Mill::new(ends)
        .run_blocking(MemoryBroker::new().read(ls(1..=9)).write(&a).write(&b).batch(100))
        .unwrap();
    assert_eq!((report.calls, report.end), (4, EndReason::Function));
    assert_eq!((a.take().len(), b.take().len()), (1, 1));

    fn late(l: &L, a: &mut Out<N>, _: &mut Out<Text>) {
        if l.key == 2 {
            a.end();
        } else {
            a.push(n(l.key));
        }
    }
    let (a, b) = (Collected::<N>::new(), Collected::<Text>::new());
    let error =
        Mill::new(late).run_blocking(MemoryBroker::new().read(ls(1..=9)).write(&a).write(&b)).unwrap_err();
    assert!(told(&error).contains("end()"), "{}", told(&error));
    assert_eq!(a.take(), []);
}

#[test]
fn what_a_failing_run_wrote_is_not_committed() {
    fn falls(l: &L, out: &mut Out<N>) -> Result<(), String> {
        out.push(n(l.key));
        if l.key == 900 { Err("enough".to_owned()) } else { Ok(()) }
    }
    let out = Collected::<N>::new();
    let broker = MemoryBroker::new().read(ls(1..=1000)).write(&out).batch(7);
    Mill::new(falls).run_blocking(broker).unwrap_err();
    assert_eq!(out.take(), []);
}

#[test]
fn per_lane_gives_a_closure_that_changes_what_it_captured() {
    let mill = Mill::per_lane(|| {
        let mut sum = 0;
        move |l: &L, r: &Joined<L, R>| {
            sum += r[l].len() as i64;
            n(sum)
        }
    });
    assert_eq!(run(mill.join(by_key().left())).unwrap(), [1, 3, 3, 4]);
}

#[test]
fn async_functions_are_called_in_order_and_awaited() {
    async fn later(l: &L, r: &Joined<L, R>, out: &mut Out<N>) {
        yield_now().await;
        for r in &r[l] {
            yield_now().await;
            out.push(n(r.id));
        }
    }
    assert_eq!(run(Mill::new_async(later).join(by_key())).unwrap(), [0, 1, 2, 3]);

    async fn returned(l: &L) -> Result<Flow<N>, String> {
        yield_now().await;
        match l.key {
            3 => Ok(Flow::Last(n(3))),
            key => Ok(Flow::Go(n(key))),
        }
    }
    assert_eq!(run(Mill::new_async(returned)).unwrap(), [1, 2, 3]);

    async fn falls(l: &L) -> N {
        yield_now().await;
        assert!(l.key != 3, "fell over {}", l.key);
        n(l.key)
    }
    let error = run(Mill::new_async(falls)).unwrap_err();
    assert!(told(&error).contains("fell over 3"), "{}", told(&error));
}

/// Is pending once.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return std::task::Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[test]
fn an_injected_value_is_shared_by_all_calls() {
    #[derive(Default)]
    struct Calls(AtomicUsize);
    fn counted(l: &L, calls: Inject<Calls>, factor: Inject<i64>) -> N {
        calls.0.fetch_add(1, Ordering::Relaxed);
        n(l.key * *factor + calls.0.load(Ordering::Relaxed) as i64)
    }
    assert_eq!(
        run(Mill::new(counted).inject(Calls::default()).inject(100_i64)).unwrap(),
        [101, 202, 303, 404]
    );
}

#[test]
fn meta_says_where_the_master_stood() {
    fn place(l: &L, meta: &Meta<L>, _: &Joined<L, R>) -> N {
        assert_eq!(meta.stream(), "L");
        assert_eq!((meta.file(), meta.topic(), meta.partition(), meta.timestamp()), (None, None, None, None));
        assert_eq!((meta.iter().count(), meta.headers().len()), (1, 0));
        assert_eq!(meta.get(0).unwrap().offset(), meta.offset());
        n(l.key * 10 + meta.offset() as i64)
    }
    assert_eq!(run(Mill::new(place).join(by_key())).unwrap(), [10, 21, 43]);
}

#[test]
fn meta_of_a_window_has_an_entry_for_each_master() {
    fn places(all: &[L], meta: &Meta<L>, _: &Joined<L, R>) -> Vec<N> {
        assert_eq!(all.len(), meta.iter().count());
        meta.iter().map(|one| n(one.offset() as i64)).collect()
    }
    let mill = Mill::new(places).join(by_key()).window(Window::count(2));
    assert_eq!(run(mill).unwrap(), [0, 1, 3]);
}

#[test]
fn window_info_counts_and_gives_the_reason() {
    fn info(all: &[L], info: &WindowInfo) -> Text {
        Text { text: format!("{} {} {:?}", info.index(), all.len(), info.reason()) }
    }
    let run = |window| {
        let out = Collected::<Text>::new();
        Mill::new(info)
            .window(window)
            .run_blocking(MemoryBroker::new().read(ls([1, 1, 2, 3, 3])).write(&out).batch(2))
            .unwrap();
        out.take().into_iter().map(|t| t.text).collect::<Vec<_>>()
    };
    let reasons = (CloseReason::Full, CloseReason::KeyChanged, CloseReason::EndOfStream);
    let (full, changed, end) =
        (format!("{:?}", reasons.0), format!("{:?}", reasons.1), format!("{:?}", reasons.2));
    assert_eq!(run(Window::count(2)), [format!("0 2 {full}"), format!("1 2 {full}"), format!("2 1 {end}")]);
    assert_eq!(
        run(Window::by(L::fields().key)),
        [format!("0 2 {changed}"), format!("1 1 {changed}"), format!("2 2 {end}")]
    );
    // A window that is full with the last record is not followed by an empty one.
    assert_eq!(run(Window::count(5)), [format!("0 5 {full}")]);
}

#[test]
fn windows_hold_surviving_masters_only_and_each_with_its_group() {
    fn groups(all: &[L], r: &Joined<L, R>) -> Text {
        for l in all {
            assert!(r.get(&l.clone()).is_none());
        }
        let one = |l: &L| format!("{}:{:?}", l.key, r[l].iter().map(|r| r.id).collect::<Vec<_>>());
        Text { text: all.iter().map(one).collect::<Vec<_>>().join(" ") }
    }
    for batch in 1..5 {
        let out = Collected::<Text>::new();
        let broker = MemoryBroker::new().read(ls([1, 2, 2, 3, 4])).read(rs(&[1, 2, 2, 4])).write(&out);
        Mill::new(groups).join(by_key()).window(Window::count(3)).run_blocking(broker.batch(batch)).unwrap();
        let texts: Vec<_> = out.take().into_iter().map(|t| t.text).collect();
        assert_eq!(texts, ["1:[0] 2:[1, 2] 2:[1, 2]", "4:[3]"]);
    }
}

#[test]
fn a_window_key_of_none_is_a_key_like_any_other() {
    #[derive(StreamRecord)]
    struct M {
        key: Option<i64>,
    }
    let out = Collected::<N>::new();
    let masters = [None, None, Some(1), None].map(|key| M { key }).into_iter().collect::<Vec<_>>();
    Mill::new(|all: &[M]| n(all.len() as i64))
        .window(Window::by(M::fields().key))
        .run_blocking(MemoryBroker::new().read(masters).write(&out))
        .unwrap();
    assert_eq!(out.take(), [n(2), n(1), n(1)]);
}

#[test]
fn twelve_parameters_are_possible() {
    #[allow(clippy::too_many_arguments)]
    fn many(
        l: &L,
        r: &Joined<L, R>,
        s: &Joined<R, S>,
        a: Inject<u8>,
        b: Inject<u16>,
        c: Inject<u32>,
        d: Inject<u64>,
        e: Inject<i8>,
        f: Inject<i16>,
        meta: &Meta<L>,
        numbers: &mut Out<N>,
        texts: &mut Out<Text>,
    ) {
        let sum = i64::from(*a) + i64::from(*b) + i64::from(*c) + *d as i64 + i64::from(*e) + i64::from(*f);
        numbers.push(n(sum + r[l].len() as i64 + s[&r[l][0]].len() as i64));
        texts.push(Text { text: format!("{}", meta.offset()) });
    }
    let (numbers, texts) = (Collected::<N>::new(), Collected::<Text>::new());
    let broker = MemoryBroker::new()
        .read(ls([1]))
        .read(rs(&[1]))
        .read(vec![S { key: 1 }])
        .write(&numbers)
        .write(&texts);
    Mill::new(many)
        .join(by_key().join(JoinWith::new(R::fields().key, S::fields().key)))
        .inject(1_u8)
        .inject(1_u16)
        .inject(1_u32)
        .inject(1_u64)
        .inject(1_i8)
        .inject(1_i16)
        .run_blocking(broker)
        .unwrap();
    assert_eq!(numbers.take(), [n(8)]);
    assert_eq!(texts.take().len(), 1);
}

#[test]
fn records_of_an_untyped_stream_are_joined_by_closures() {
    fn named(a: &Json, b: &Joined<Json, R>) -> N {
        n(a["n"].as_i64().unwrap() + b[a].len() as i64)
    }
    let out = Collected::<N>::new();
    let lines = [
        json!({"time": 1, "n": 10}),
        json!({"n": 20}),
        json!({"time": 2, "n": 30}),
        json!({"time": "three", "n": 40}),
    ];
    let broker = MemoryBroker::new().read(lines.map(Json).to_vec()).read(rs(&[1, 2, 2])).write(&out);
    let join = JoinWith::new(|a: &Json| a["time"].as_i64(), |r: &R| Some(r.key));
    Mill::new(named).join(join).run_blocking(broker).unwrap();
    assert_eq!(out.take(), [n(11), n(32)]);
}
