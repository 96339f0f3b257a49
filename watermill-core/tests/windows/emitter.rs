//! Windows of an emitter, against a list that is looked at in the same way.

use std::time::Duration;

use watermill::prelude::*;
use watermill::testing::{State, TestMill};
use watermill::window::{Buffer, CloseReason, Emit, Wake, WindowEmitter};
use watermill_derive::StreamRecord;

use crate::random::for_seeds;

/// What is joined to a master: records of B, each with those of C below it.
type Below = Vec<(u32, Vec<u32>)>;

#[derive(StreamRecord, Clone, Debug)]
struct A {
    key: i64,
    value: u64,
    id: u32,
}

#[derive(StreamRecord, Clone, Debug)]
struct B {
    key: i64,
    id: u32,
}

#[derive(StreamRecord, Clone, Debug)]
struct C {
    key: i64,
    id: u32,
}

#[derive(StreamRecord, Clone, Debug, PartialEq)]
struct Seen {
    masters: Vec<(u32, Below)>,
    offsets: Vec<u64>,
    last: bool,
}

/// Even values in their order, so many at a time. Multiples of 7 are dropped; the others stay.
struct Sorted {
    most: usize,
    drop_rest: bool,
}

impl WindowEmitter<A> for Sorted {
    fn emit(&mut self, buffer: Buffer<'_, A>) -> Emit {
        let (take, drop) = choose(&buffer.iter().map(|a| a.value).collect::<Vec<_>>(), self.most);
        let emit = Emit::take(take).and_drop(drop);
        let over = buffer.why() == Wake::EndOfStream;
        if over && self.drop_rest { emit.and_drop_rest() } else { emit }
    }
}

fn choose(values: &[u64], most: usize) -> (Vec<usize>, Vec<usize>) {
    let drop: Vec<usize> = (0..values.len()).filter(|at| values[*at].is_multiple_of(7)).collect();
    let even = |at: &usize| values[*at].is_multiple_of(2) && !values[*at].is_multiple_of(7);
    let mut take: Vec<usize> = (0..values.len()).filter(even).collect();
    take.sort_by_key(|at| values[*at]);
    if take.len() < most {
        return (Vec::new(), drop);
    }
    take.truncate(most);
    (take, drop)
}

/// The windows of these masters: `true` for the last one, which holds what was left.
fn expected(masters: &[A], most: usize, drop_rest: bool) -> Vec<(Vec<u32>, bool)> {
    let mut windows = Vec::new();
    let mut buffer: Vec<A> = Vec::new();
    let mut look = |buffer: &mut Vec<A>, over: bool| loop {
        if buffer.is_empty() {
            return;
        }
        let (take, drop) = choose(&buffer.iter().map(|a| a.value).collect::<Vec<_>>(), most);
        let ids: Vec<u32> = take.iter().map(|at| buffer[*at].id).collect();
        let stays = |at: &usize| !(take.contains(at) || drop.contains(at) || (over && drop_rest));
        let kept: Vec<A> = (0..buffer.len()).filter(stays).map(|at| buffer[at].clone()).collect();
        *buffer = kept;
        if !ids.is_empty() {
            windows.push((ids, false));
            continue;
        }
        if over && !buffer.is_empty() {
            windows.push((buffer.iter().map(|a| a.id).collect(), true));
        }
        return;
    };
    for master in masters {
        buffer.push(master.clone());
        look(&mut buffer, false);
    }
    look(&mut buffer, true);
    windows
}

fn see(masters: &[A], bs: &Joined<A, B>, cs: &Joined<B, C>, info: &WindowInfo, meta: &Meta<A>) -> Seen {
    let below = |b: &B| (b.id, cs[b].iter().map(|c| c.id).collect());
    let see = |a: &A| (a.id, bs[a].iter().map(below).collect());
    Seen {
        masters: masters.iter().map(see).collect(),
        offsets: meta.iter().map(watermill::function::RecordMeta::offset).collect(),
        last: info.reason() == CloseReason::EndOfStream,
    }
}

#[test]
fn agree_with_a_list_over_a_tree() {
    for_seeds(500, |random| {
        let mut stream = |most: u64| -> Vec<i64> {
            let mut key = 0;
            (0..random.below(most))
                .map(|_| {
                    key += random.one_of(&[0, 0, 1, 1, 2]);
                    key
                })
                .collect()
        };
        let (a, b, c) = (stream(60), stream(60), stream(60));
        let a: Vec<A> = (0..).zip(a).map(|(id, key)| A { key, value: random.below(40), id }).collect();
        let b: Vec<B> = (0..).zip(b).map(|(id, key)| B { key, id }).collect();
        let c: Vec<C> = (0..).zip(c).map(|(id, key)| C { key, id }).collect();
        let (most, drop_rest, reach) =
            (1 + random.below(4) as usize, random.below(2) == 0, random.from(0, 3));
        let out = Collected::<Seen>::new();
        let broker = MemoryBroker::new().read(a.clone()).read(b.clone()).read(c.clone());
        let joins = JoinWith::new(A::fields().key, B::fields().key)
            .within(-reach..=reach)
            .join(JoinWith::new(B::fields().key, C::fields().key).as_of().left());
        let report = Mill::new(see)
            .join(joins)
            .window(Window::emitter(move || Sorted { most, drop_rest }))
            .run_blocking(broker.write(&out).batch(random.one_of(&[1, 2, 5, 100])))
            .unwrap();
        let bs = |a: &A| b.iter().filter(|b| (b.key - a.key).abs() <= reach).collect::<Vec<_>>();
        let cs = |b: &B| c.iter().rfind(|c| c.key <= b.key).map(|c| c.id).into_iter().collect();
        let kept: Vec<A> = a.iter().filter(|a| !bs(a).is_empty()).cloned().collect();
        let windows: Vec<Seen> = expected(&kept, most, drop_rest)
            .into_iter()
            .map(|(ids, last)| Seen {
                masters: ids
                    .iter()
                    .map(|id| (*id, bs(&a[*id as usize]).iter().map(|b| (b.id, cs(b))).collect()))
                    .collect(),
                offsets: ids.iter().map(|id| u64::from(*id)).collect(),
                last,
            })
            .collect();
        let taken: usize = windows.iter().map(|window| window.masters.len()).sum();
        assert_eq!(report.inputs[0].matched, taken as u64);
        let mut used: Vec<u32> =
            windows.iter().flat_map(|seen| &seen.masters).flat_map(|(_, bs)| bs).map(|(id, _)| *id).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(report.inputs[1].matched, used.len() as u64);
        assert_eq!(out.take(), windows);
    });
}

/// Takes all when nothing has come for five seconds, or a minute after the first came in.
struct Quiet;

impl WindowEmitter<A> for Quiet {
    fn emit(&mut self, buffer: Buffer<'_, A>) -> Emit {
        let until = buffer.arrived(0).unwrap() + Duration::from_secs(60);
        if buffer.why() == Wake::Time || until <= buffer.now() {
            return Emit::take(0..buffer.len());
        }
        let silence = Duration::from_secs(5);
        if buffer.now() + silence < until {
            Emit::nothing().wake_after(silence)
        } else {
            Emit::nothing().wake_at(until)
        }
    }
}

#[derive(StreamRecord, Clone, Debug, PartialEq)]
struct Ids {
    ids: Vec<u32>,
}

#[test]
fn are_woken_by_the_clock() {
    let mill = Mill::new(|masters: &[A]| Ids { ids: masters.iter().map(|a| a.id).collect() });
    let mut test = TestMill::new(mill.window(Window::emitter(|| Quiet))).unwrap();
    let mut ids = 0..;
    let mut next = |test: &mut TestMill, seconds: u64| {
        test.feed(A { key: 0, value: 0, id: ids.next().unwrap() });
        test.run().unwrap();
        test.advance(Duration::from_secs(seconds));
        test.run().unwrap();
        test.results::<Ids>().into_iter().map(|ids| ids.ids).collect::<Vec<_>>()
    };
    let nothing: [Vec<u32>; 0] = [];
    assert_eq!(next(&mut test, 4), nothing);
    assert_eq!(next(&mut test, 4), nothing);
    assert_eq!(next(&mut test, 5), [[0, 1, 2]]);
    for _ in 0..14 {
        assert_eq!(next(&mut test, 4), nothing);
    }
    // At 56 seconds after the first; four are left.
    assert_eq!(next(&mut test, 3), nothing);
    test.advance(Duration::from_secs(1));
    test.run().unwrap();
    assert_eq!(test.results::<Ids>(), [Ids { ids: (3..18).collect() }]);
    test.end::<A>();
    assert_eq!(test.run().unwrap(), State::Ended);
}

/// Chooses what is not there.
struct Wrong(Vec<usize>);

impl WindowEmitter<A> for Wrong {
    fn emit(&mut self, _: Buffer<'_, A>) -> Emit {
        Emit::take(self.0.clone())
    }
}

#[test]
fn cannot_choose_what_is_not_there() {
    for (choice, text) in [(vec![1], "the one at index 1 is not there"), (vec![0, 0], "is named twice")] {
        let choice = move || Wrong(choice.clone());
        let mill = Mill::new(|_: &[A]| ()).window(Window::emitter(choice));
        let error =
            mill.run_blocking(MemoryBroker::new().read(vec![A { key: 0, value: 0, id: 0 }])).unwrap_err();
        assert!(format!("{error:?}").contains(text), "{error:?}");
    }
}
