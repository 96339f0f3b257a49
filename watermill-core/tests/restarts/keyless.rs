//! Records without a key in front of one whose key goes down: that it does, is known after a restart, too.

use watermill::OnBad;
use watermill::prelude::*;

use super::random::Random;
use super::store::Item;
use super::{A, B, C, Data, Seen, every_death_is_survived, pair, triple};

/// Mostly without a key (`None` where the tag is 0, for a second key where it is 1), and with keys that go down now and then.
fn data(seed: u64) -> Data {
    let mut random = Random::new(seed);
    let mut stream = |count: u64| -> Vec<(i64, u8, u32)> {
        let mut key = 10;
        (0..random.below(count))
            .map(|id| {
                key += [0, 1, 1, 2, -3][random.below(5) as usize];
                (key, random.below(3) as u8, id as u32)
            })
            .collect()
    };
    let (a, b, c) = (stream(16), stream(16), stream(16));
    Data {
        a: a.into_iter().map(|(key, tag, id)| Item::Good(A { key, tag, id })).collect(),
        b: b.into_iter().map(|(key, tag, id)| Item::Good(B { key, tag, id })).collect(),
        c: c.into_iter().map(|(key, _, id)| Item::Good(C { key, id })).collect(),
        part: 1 + Random::new(seed).below(12) as usize,
    }
}

fn a_key(a: &A) -> Option<i64> {
    (a.tag != 0).then_some(a.key)
}

fn b_key(b: &B) -> Option<i64> {
    (b.tag != 0).then_some(b.key)
}

/// The key of a second role, which other records lack.
fn b_other(b: &B) -> Option<i64> {
    (b.tag != 1).then_some(b.key)
}

fn c_key(c: &C) -> Option<i64> {
    Some(c.key)
}

#[test]
fn a_key_that_goes_down_behind_records_without_one_is_noticed_after_a_restart() {
    let mut letters = 0;
    for seed in 0..41 {
        let mill = || {
            let join = JoinWith::new(a_key, b_key).left();
            Mill::new(pair).join(join).on_bad::<A>(OnBad::DeadLetter).on_bad::<B>(OnBad::DeadLetter)
        };
        let outcome = every_death_is_survived(seed, &data(seed), mill, false);
        letters += outcome.1.iter().map(|(_, letters)| letters.len()).sum::<usize>();
    }
    assert!(letters > 100, "only {letters} keys went down");
}

#[test]
fn each_of_several_keys_is_compared_with_its_own_last_one() {
    for seed in 0..41 {
        let mill = || {
            let join = JoinWith::new(a_key, b_key).left().join(JoinWith::new(b_other, c_key).left());
            let mill = Mill::new(triple).join(join);
            mill.on_bad::<A>(OnBad::DeadLetter).on_bad::<B>(OnBad::DeadLetter).on_bad::<C>(OnBad::DeadLetter)
        };
        // How far `C` is read behind the last `B` is left to chance.
        every_death_is_survived(seed, &data(seed), mill, true);
    }
}

#[test]
fn windows_whose_records_have_left_know_the_last_key_too() {
    for seed in 0..41 {
        let mill = || {
            let ids = |window: &[A]| Seen { ids: window.iter().map(|a| a.id).collect() };
            let none = JoinWith::new(a_key, b_key).unmatched();
            let mill = Mill::new(ids).join(none).window(Window::count(2));
            mill.on_bad::<A>(OnBad::DeadLetter).on_bad::<B>(OnBad::DeadLetter)
        };
        every_death_is_survived(seed, &data(seed), mill, false);
    }
}
