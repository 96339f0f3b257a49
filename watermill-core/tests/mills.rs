//! Every kind of function over a join.

#![allow(missing_docs, clippy::unwrap_used)]
extern crate watermill_core as watermill;
use watermill::prelude::*;
use watermill_derive::StreamRecord;

#[derive(StreamRecord, Clone)]
struct A {
    k: i64,
    id: u32,
}
#[derive(StreamRecord, Clone)]
struct B {
    k: i64,
    id: u32,
}
#[derive(StreamRecord, Clone)]
struct C {
    k: i64,
    id: u32,
}
#[derive(StreamRecord, Debug, PartialEq)]
struct Pair {
    a: u32,
    b: Vec<u32>,
}

fn pair(a: &A, b: &Joined<A, B>) -> Pair {
    Pair { a: a.id, b: b[a].iter().map(|b| b.id).collect() }
}

#[test]
fn equal_keys_on_both_sides_match_many_to_many() {
    for batch in 1..5 {
        let out = Collected::<Pair>::new();
        let a: Vec<A> = [1, 1, 2].iter().enumerate().map(|(i, k)| A { k: *k, id: i as u32 }).collect();
        let b: Vec<B> = [1, 1, 2].iter().enumerate().map(|(i, k)| B { k: *k, id: i as u32 }).collect();
        Mill::new(pair)
            .join(JoinWith::new(A::fields().k, B::fields().k))
            .run_blocking(MemoryBroker::new().read(a).read(b).write(&out).batch(batch))
            .unwrap();
        assert_eq!(
            out.take(),
            [Pair { a: 0, b: vec![0, 1] }, Pair { a: 1, b: vec![0, 1] }, Pair { a: 2, b: vec![2] }]
        );
    }
}
#[test]
fn a_window_over_a_deep_join_sees_every_group() {
    for batch in 1..5 {
        let out = Collected::<Pair>::new();
        let a: Vec<A> = [1, 1, 2].iter().enumerate().map(|(i, k)| A { k: *k, id: i as u32 }).collect();
        let b: Vec<B> = [1, 1, 2].iter().enumerate().map(|(i, k)| B { k: *k, id: i as u32 }).collect();
        let c: Vec<C> = [1, 2, 2].iter().enumerate().map(|(i, k)| C { k: *k, id: i as u32 }).collect();
        Mill::new(|w: &[A], bs: &Joined<A, B>, cs: &Joined<B, C>| {
            let mut all = Vec::new();
            for a in w {
                for b in &bs[a] {
                    for c in &cs[b] {
                        all.push(a.id * 100 + b.id * 10 + c.id);
                    }
                }
            }
            Pair { a: w.len() as u32, b: all }
        })
        .join(JoinWith::new(A::fields().k, B::fields().k).join(JoinWith::new(B::fields().k, C::fields().k)))
        .window(Window::count(2))
        .run_blocking(MemoryBroker::new().read(a).read(b).read(c).write(&out).batch(batch))
        .unwrap();
        assert_eq!(out.take(), [Pair { a: 2, b: vec![0, 10, 100, 110] }, Pair { a: 1, b: vec![221, 222] }]);
    }
}
async fn later(a: &A, b: &Joined<A, B>) -> Pair {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    pair(a, b)
}
#[test]
fn async_functions_and_lane_closures_join_and_inject() {
    let out = Collected::<Pair>::new();
    let a = vec![A { k: 1, id: 0 }];
    let b = vec![B { k: 1, id: 7 }];
    Mill::new_async(later)
        .join(JoinWith::new(|a: &A| a.k, |b: &B| b.k))
        .run_blocking(MemoryBroker::new().read(a.clone()).read(b.clone()).write(&out))
        .unwrap();
    assert_eq!(out.take().len(), 1);
    Mill::per_lane(|| {
        let mut n = 0;
        move |a: &A, b: &Joined<A, B>, inj: Inject<String>| {
            n += inj.len() as u32;
            Pair { a: a.id, b: vec![n + b.only()[0].id] }
        }
    })
    .inject("x".to_owned())
    .join(JoinWith::new(|a: &A| a.k, |b: &B| b.k))
    .run_blocking(MemoryBroker::new().read(a).read(b).write(&out))
    .unwrap();
    assert_eq!(out.take(), [Pair { a: 0, b: vec![8] }]);
}

#[test]
fn a_test_that_feeds_a_stream_that_is_not_there_is_told() {
    use watermill::testing::{State, TestMill};
    let join = JoinWith::new(A::fields().k, B::fields().k).from("left");
    let mut test = TestMill::new(Mill::new(pair).join(join)).unwrap();
    test.feed(A { k: 1, id: 0 });
    // The stream of `B` has a name, and nothing reads `C`.
    test.feed(B { k: 1, id: 0 });
    let told = |test: &mut TestMill| test.run().unwrap_err().to_string();
    let fix = "; feed `A`, `B \"left\"`; those with a name by `feed_as` and `end_as`";
    assert_eq!(
        told(&mut test),
        format!("the mill of `pair` cannot be built: it has no stream `B` that could be fed{fix}")
    );
    test.end_as::<C>("left");
    assert!(told(&mut test).contains("no stream `C \"left\"`"));
    // It goes on as if that had not been.
    test.feed_as("left", B { k: 1, id: 0 });
    test.end_as::<B>("left");
    test.end::<A>();
    assert_eq!(test.run().unwrap(), State::Ended);
    assert_eq!(test.results::<Pair>(), [Pair { a: 0, b: vec![0] }]);
}
