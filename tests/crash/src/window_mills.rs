//! Mills whose windows are not told by positions alone: which were called already is part of the commit.

use std::path::Path;

use watermill::prelude::*;
use watermill::window::{Buffer, Emit, WindowEmitter};
use watermill::{MillHandle, RunError};

use crate::data::{A, B, Rows, Saw};
use crate::mills::Settings;

/// How long the windows of `sliding` are, and how far apart.
const SLIDING: (i64, i64) = (10, 4);
/// How long those of `empty-window` are.
const FIXED: i64 = 2;
/// For how many masters the windows of `emitter` wait.
const LEAST: usize = 6;

/// When so many masters wait: those with odd ids, the last one first, or else the first one.
struct OddOnes;

fn odd_ones(ids: &[i64]) -> Vec<usize> {
    if ids.len() < LEAST {
        return Vec::new();
    }
    let odd: Vec<usize> = (0..ids.len()).rev().filter(|at| ids[*at] % 2 == 1).collect();
    if odd.is_empty() { vec![0] } else { odd }
}

impl WindowEmitter<A> for OddOnes {
    fn emit(&mut self, buffer: Buffer<'_, A>) -> Emit {
        Emit::take(odd_ones(&buffer.iter().map(|a| a.id).collect::<Vec<_>>()))
    }
}

pub(crate) fn start(
    name: &str,
    directory: &Path,
    out: &Path,
    settings: &Settings,
) -> Result<MillHandle, RunError> {
    let own = settings.clone();
    let function = move |all: &[A], b: &Joined<A, B>| -> Result<Saw, String> {
        own.call(all.first().map_or(0, |a| a.id))?;
        let ids = all.iter().flat_map(|a| [a.id].into_iter().chain(b[a].iter().map(|b| b.id)));
        Ok(Saw::of(ids.collect()))
    };
    let time = A::fields().time;
    let window = match name {
        "sliding" => Window::sliding(SLIDING.0, SLIDING.1).by(time),
        "empty-window" => Window::fixed(FIXED).with_empty().by(time),
        _ => Window::emitter(|| OddOnes),
    };
    let mill = Mill::new(function).window(window).join(JoinWith::new(time, B::fields().time).left());
    let broker = settings.broker().read::<A>(directory.join("a.ndjson")).read::<B>(directory.join("b.json"));
    settings.commits(mill).start(broker.write::<Saw>(out))
}

/// The ids that each call must see.
pub(crate) fn expected(name: &str, a: &Rows, b: &Rows) -> Vec<Vec<i64>> {
    let windows: Vec<Vec<&(i64, i64, i64)>> = match name {
        "emitter" => emitted(a),
        "sliding" => intervals(a, SLIDING.0, SLIDING.1).into_iter().filter(|all| !all.is_empty()).collect(),
        _ => {
            let all = intervals(a, FIXED, FIXED);
            let from = all.iter().take_while(|all| all.is_empty()).count();
            let to = all.len() - all.iter().rev().take_while(|all| all.is_empty()).count();
            all.get(from..to).unwrap_or_default().to_vec()
        }
    };
    let with_matches = |l: &&(i64, i64, i64)| {
        let (id, time) = (l.0, l.1);
        [id].into_iter().chain(b.iter().filter(move |r| r.1 == time).map(|r| r.0)).collect::<Vec<_>>()
    };
    windows.iter().map(|window| window.iter().flat_map(with_matches).collect()).collect()
}

fn intervals(a: &Rows, size: i64, step: i64) -> Vec<Vec<&(i64, i64, i64)>> {
    let (Some(first), Some(last)) = (a.first(), a.last()) else { return Vec::new() };
    let starts = (first.1 - size..=last.1).filter(|start| start.rem_euclid(step) == 0);
    starts.map(|start| a.iter().filter(|row| (start..start + size).contains(&row.1)).collect()).collect()
}

fn emitted(a: &Rows) -> Vec<Vec<&(i64, i64, i64)>> {
    let (mut windows, mut buffer) = (Vec::new(), Vec::new());
    for row in a {
        buffer.push(row);
        loop {
            let take = odd_ones(&buffer.iter().map(|row| row.0).collect::<Vec<_>>());
            if take.is_empty() {
                break;
            }
            windows.push(take.iter().map(|at| buffer[*at]).collect());
            buffer = (0..buffer.len()).filter(|at| !take.contains(at)).map(|at| buffer[at]).collect();
        }
    }
    if !buffer.is_empty() {
        windows.push(buffer);
    }
    windows
}
