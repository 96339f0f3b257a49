//! The mill of a scenario.

use std::sync::Arc;

use watermill::OnError;
use watermill::prelude::*;

use crate::clock::SimClock;
use crate::data::{A, B, C, Note, Seen};
use crate::scenario::{Ending, Kind, Scenario, Then};
use crate::shape::{Join, Windows};
use crate::world::{Answer, World};

/// The functions of one shape: how the first master and all ids are found, and the five ways to be called.
macro_rules! functions {
    ($name:ident, ($($argument:ident: $type:ty),*), $first:expr, $ids:expr) => {
        mod $name {
            use super::*;

            pub(super) fn now($($argument: $type,)* world: Inject<World>, out: &mut Out<Note>) -> Answer<Vec<Seen>> {
                world.now($first, &$ids, out)
            }
            pub(super) async fn later($($argument: $type,)* world: Inject<World>, out: &mut Out<Note>) -> Answer<Vec<Seen>> {
                let ids = $ids;
                world.later($first, &ids, out).await
            }
            pub(super) fn hand_over($($argument: $type,)* world: Inject<World>, ack: Ack<Seen>, out: &mut Out<Note>) -> Answer<()> {
                world.hand_over($first, &$ids, ack, out)
            }
            pub(super) async fn hand_over_later($($argument: $type,)* world: Inject<World>, ack: Ack<Seen>, out: &mut Out<Note>) -> Answer<()> {
                let ids = $ids;
                world.hand_over_later($first, &ids, ack, out).await
            }
            pub(super) fn mill(kind: Kind) -> Mill<A> {
                match kind {
                    Kind::Sync => Mill::new(now),
                    Kind::PerLane => Mill::per_lane(|| now),
                    Kind::Async => Mill::new_async(later),
                    Kind::Ack => Mill::new(hand_over),
                    Kind::AsyncAck => Mill::new_async(hand_over_later),
                }
            }
        }
    };
}

fn first(window: &[A]) -> u32 {
    window.first().map_or(0, |a| a.id)
}

fn pair_ids(a: &A, bs: &Joined<A, B>) -> Vec<u32> {
    std::iter::once(a.id).chain(bs[a].iter().map(|b| 1000 + b.id)).collect()
}

fn tree_ids(a: &A, bs: &Joined<A, B>, cs: &Joined<B, C>) -> Vec<u32> {
    let mut ids = vec![a.id];
    for b in &bs[a] {
        ids.push(1000 + b.id);
        ids.extend(cs[b].iter().map(|c| 2000 + c.id));
    }
    ids
}

functions!(alone, (a: &A), a.id, [a.id]);
functions!(pair, (a: &A, bs: &Joined<A, B>), a.id, pair_ids(a, bs));
functions!(tree, (a: &A, bs: &Joined<A, B>, cs: &Joined<B, C>), a.id, tree_ids(a, bs, cs));
functions!(window, (w: &[A]), first(w), w.iter().map(|a| a.id).collect::<Vec<_>>());
functions!(
    window_pair,
    (w: &[A], bs: &Joined<A, B>),
    first(w),
    w.iter().flat_map(|a| pair_ids(a, bs)).collect::<Vec<_>>()
);
functions!(
    window_tree,
    (w: &[A], bs: &Joined<A, B>, cs: &Joined<B, C>),
    first(w),
    w.iter().flat_map(|a| tree_ids(a, bs, cs)).collect::<Vec<_>>()
);

/// The mill of a scenario. One that is `calm` goes on to the end of its streams.
#[must_use]
pub fn mill(scenario: &Scenario, world: &Arc<World>, clock: &SimClock, calm: bool) -> Mill<A> {
    let (kind, windowed) = (scenario.kind, scenario.windows != Windows::None);
    let mut mill = match (scenario.join, windowed) {
        (Join::None | Join::Exists | Join::Unmatched, false) => alone::mill(kind),
        (Join::None | Join::Exists | Join::Unmatched, true) => window::mill(kind),
        (Join::Tree | Join::TreeLeft, false) => tree::mill(kind),
        (Join::Tree | Join::TreeLeft, true) => window_tree::mill(kind),
        (_, false) => pair::mill(kind),
        (_, true) => window_pair::mill(kind),
    };
    mill = match scenario.join {
        Join::None => mill,
        Join::Tree | Join::TreeLeft => mill.join(scenario.join.to_b().join(scenario.join.to_c())),
        join => mill.join(match scenario.on_idle {
            Some(silence) => join.to_b().on_idle(silence),
            None => join.to_b(),
        }),
    };
    mill = scenario.windows.put_on(mill);
    if let Some(calls) = scenario.in_flight {
        mill = mill.in_flight(calls);
    }
    if let Some(timeout) = scenario.timeout {
        mill = mill.timeout(timeout);
    }
    let policy = OnError::retry(scenario.retries, scenario.backoff);
    mill = mill.on_error(match scenario.then {
        Then::Stop => policy,
        Then::Skip => policy.then_skip(),
        Then::DeadLetter => policy.then_dead_letter(),
    });
    mill = mill.on_bad::<A>(scenario.on_bad);
    if scenario.join != Join::None {
        mill = mill.on_bad::<B>(scenario.on_bad);
    }
    if matches!(scenario.join, Join::Tree | Join::TreeLeft) {
        mill = mill.on_bad::<C>(scenario.on_bad);
    }
    mill = mill.restart(scenario.restarts, scenario.backoff).commit_every(scenario.commit_every);
    if let Some(calls) = scenario.commit_calls {
        mill = mill.commit_after_calls(calls);
    }
    mill = match scenario.ending {
        _ if calm => mill,
        Ending::None => mill,
        Ending::Idle(silence) => mill.stop_when_idle(silence),
        Ending::Lifetime(time) => mill.stop_after(time),
        Ending::Commits(commits) => mill.stop_after_commits(commits),
        Ending::Records(records) => mill.stop_after_records(records),
    };
    mill.inject_shared(Arc::clone(world)).clock(clock.clone())
}
