//! Windows by arrival, on a clock that is moved by hand.

use std::time::{Duration, SystemTime};

use watermill::prelude::*;
use watermill::testing::{State, TestMill};
use watermill::window::{CloseReason, TimeWindow};
use watermill_derive::StreamRecord;

use crate::oracle::{Kind, windows};
use crate::random::{Random, for_seeds};

#[derive(StreamRecord, Clone, Debug)]
struct Reading {
    id: u32,
}

#[derive(StreamRecord, Clone, Debug, PartialEq)]
struct Seen {
    ids: Vec<u32>,
    start: Option<SystemTime>,
    end: Option<SystemTime>,
    reason: CloseReason,
}

fn see(readings: &[Reading], info: &WindowInfo) -> Seen {
    let ids = readings.iter().map(|reading| reading.id).collect();
    Seen { ids, start: info.start(), end: info.end(), reason: info.reason() }
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(count as u64)
}

fn at(second: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + seconds(second)
}

/// A call, and the time at which it was made.
type Call = (i64, Seen);

/// What happens to a mill: at these seconds so many readings come; the stream ends at the last.
struct Script {
    begins: i64,
    arrivals: Vec<(i64, u32)>,
    ends: i64,
}

impl Script {
    fn new(random: &mut Random) -> Self {
        let begins = random.from(0, 9);
        let mut now = begins;
        let steps: &[i64] = random.one_of(&[&[0, 1, 1, 2], &[1, 3, 8], &[1, 2, 30]]);
        let arrivals: Vec<(i64, u32)> = (0..random.below(15))
            .map(|_| {
                now += random.one_of(steps);
                (now, 1 + random.below(3) as u32)
            })
            .collect();
        Self { begins, arrivals, ends: now + random.from(0, 40) }
    }

    /// The time of arrival of each reading.
    fn times(&self) -> Vec<i64> {
        self.arrivals.iter().flat_map(|(at, count)| (0..*count).map(|_| *at)).collect()
    }

    /// Plays it, second by second.
    fn play(&self, mill: Mill<Reading>) -> Vec<Call> {
        let mut test = TestMill::new(mill).unwrap();
        test.advance(seconds(self.begins));
        let (mut calls, mut id) = (Vec::new(), 0..);
        let mut now = self.begins;
        let mut run = |test: &mut TestMill, now: i64| {
            let state = test.run().unwrap();
            calls.extend(test.results::<Seen>().into_iter().map(|seen| (now, seen)));
            state
        };
        run(&mut test, now);
        for (time, count) in &self.arrivals {
            while now < *time {
                now += 1;
                test.advance(seconds(1));
                run(&mut test, now);
            }
            test.feed_all((0..*count).map(|_| Reading { id: id.next().unwrap() }));
            run(&mut test, now);
        }
        while now < self.ends {
            now += 1;
            test.advance(seconds(1));
            run(&mut test, now);
        }
        test.end::<Reading>();
        assert_eq!(run(&mut test, now), State::Ended);
        let input = test.input::<Reading>().unwrap();
        assert_eq!((input.matched, input.unmatched), (input.records, 0));
        calls
    }
}

/// Windows of time: what is in them follows from when it arrived, and they are called when they are over.
#[test]
fn windows_of_time() {
    for_seeds(400, |random| {
        let script = Script::new(random);
        let size = random.from(1, 12);
        let kind = match random.below(3) {
            0 => Kind::Fixed(size),
            1 => Kind::Session(size),
            _ => Kind::Sliding(size, random.from(1, size)),
        };
        let window: TimeWindow<Reading, Duration> = match kind {
            Kind::Fixed(size) => Window::fixed(seconds(size)),
            Kind::Session(gap) => Window::session(seconds(gap)),
            Kind::Sliding(size, step) => Window::sliding(seconds(size), seconds(step)),
        };
        let expected: Vec<Call> = windows(&script.times(), kind, false)
            .into_iter()
            .map(|window| {
                let ids = window.masters.iter().map(|at| *at as u32).collect();
                let idle = matches!(kind, Kind::Session(_));
                let reason = match window.end <= script.ends {
                    true if idle => CloseReason::Idle,
                    true => CloseReason::TimeUp,
                    false => CloseReason::EndOfStream,
                };
                // A window that begins before the epoch is as exact as any.
                let start = match u64::try_from(window.start) {
                    Ok(_) => at(window.start),
                    Err(_) => SystemTime::UNIX_EPOCH - seconds(-window.start),
                };
                let seen = Seen { ids, start: Some(start), end: Some(at(window.end)), reason };
                (window.end.min(script.ends), seen)
            })
            .collect();
        assert_eq!(script.play(Mill::new(see).window(window)), expected, "{kind:?} {:?}", script.arrivals);
    });
}

#[test]
fn relaxed_windows() {
    for_seeds(300, |random| {
        let script = Script::new(random);
        let every = random.from(1, 12);
        let times = script.times();
        let mut expected: Vec<Call> = Vec::new();
        let mut start = script.begins;
        while start <= script.ends {
            let end = start + every;
            let held = |index: &usize| (start..end).contains(&times[*index]);
            let ids: Vec<u32> = (0..times.len()).filter(held).map(|index| index as u32).collect();
            if !ids.is_empty() {
                let reason = if end <= script.ends { CloseReason::TimeUp } else { CloseReason::EndOfStream };
                let seen = Seen { ids, start: Some(at(start)), end: Some(at(end)), reason };
                expected.push((end.min(script.ends), seen));
            }
            start = end;
        }
        let mill = Mill::new(see).window(Window::relaxed(seconds(every)));
        assert_eq!(script.play(mill), expected, "{every} {:?}", script.arrivals);
    });
}

#[test]
fn a_count_or_a_time() {
    for_seeds(300, |random| {
        let script = Script::new(random);
        let (most, after) = (1 + random.below(5) as usize, random.from(1, 12));
        let times = script.times();
        let mut expected: Vec<Call> = Vec::new();
        let mut first = 0;
        while first < times.len() {
            let until = times[first] + after;
            let in_time = (first..times.len()).take_while(|index| times[*index] < until).count();
            let count = in_time.min(most);
            let (now, reason) = if count == most {
                (times[first + count - 1], CloseReason::Full)
            } else if until <= script.ends {
                (until, CloseReason::TimeUp)
            } else {
                (script.ends, CloseReason::EndOfStream)
            };
            let ids = (first..first + count).map(|index| index as u32).collect();
            expected.push((now, Seen { ids, start: None, end: None, reason }));
            first += count;
        }
        let mill = Mill::new(see).window(Window::count(most).or_after(seconds(after)));
        assert_eq!(script.play(mill), expected, "{most} {after} {:?}", script.arrivals);
    });
}

/// Empty windows come as time passes, once there was a master.
#[test]
fn empty_windows() {
    for_seeds(200, |random| {
        let script = Script::new(random);
        let size = random.from(1, 12);
        let relaxed = random.below(2) == 0;
        let times = script.times();
        let first = times.first().copied().unwrap_or(i64::MAX);
        let mut expected: Vec<(i64, Vec<u32>)> = Vec::new();
        let mut start = if relaxed { script.begins } else { 0 };
        while start <= script.ends {
            let end = start + size;
            let held = |index: &usize| (start..end).contains(&times[*index]);
            let ids: Vec<u32> = (0..times.len()).filter(held).map(|index| index as u32).collect();
            if end > first && (!ids.is_empty() || end <= script.ends) {
                expected.push((end.min(script.ends), ids));
            }
            start = end;
        }
        let mill = match relaxed {
            true => Mill::new(see).window(Window::relaxed(seconds(size)).with_empty()),
            false => Mill::new(see).window(Window::fixed(seconds(size)).with_empty()),
        };
        let calls: Vec<_> = script.play(mill).into_iter().map(|(now, seen)| (now, seen.ids)).collect();
        assert_eq!(calls, expected, "{size} {:?}", script.arrivals);
    });
}
