//! What must come out: a nested loop over everything.
//!
//! Written for obviousness only. Every definition here is a sentence of the join semantics, applied to whole streams at once.

use std::collections::{BTreeSet, HashSet};

use crate::case::{Case, EdgeSpec, Form, Keep, Match, Windowing};
use crate::row::{Call, Row, Seen};

/// What must come out of a case.
#[derive(Debug)]
pub struct Expected {
    /// What each call sees, in order.
    pub calls: Vec<Call>,
    /// For each stream, the ids of the rows that take part in at least one call.
    pub matched: Vec<HashSet<u32>>,
    /// For each stream, the indexes of the rows that break a rule, given that the ones before were left out.
    pub bad: Vec<BTreeSet<usize>>,
}

/// A key as the oracle compares it.
type Key = (i64, i64);

/// A row that its own joins have kept, with the groups below it: for each edge the places in the list of the kept rows of the
/// right stream.
struct Kept {
    row: usize,
    groups: Vec<Vec<usize>>,
}

/// All calls, by nested loops.
#[must_use]
pub fn expect(case: &Case) -> Expected {
    let bad: Vec<BTreeSet<usize>> = (0..case.rows.len()).map(|stream| bad_rows(case, stream)).collect();
    let rows: Vec<Vec<Row>> = case
        .rows
        .iter()
        .zip(&bad)
        .map(|(rows, bad)| {
            rows.iter().enumerate().filter(|(at, _)| !bad.contains(at)).map(|(_, row)| row.clone()).collect()
        })
        .collect();
    expect_of(&case.edges, &rows, case.window, bad)
}

/// As [`expect`], of rows that are known to be in order.
#[must_use]
pub fn expect_of(
    edges: &[EdgeSpec],
    rows: &[Vec<Row>],
    window: Windowing,
    bad: Vec<BTreeSet<usize>>,
) -> Expected {
    let mut kept: Vec<Vec<Kept>> = rows.iter().map(|_| Vec::new()).collect();
    // Streams are numbered in preorder, so everything below a stream has a higher number.
    for stream in (0..rows.len()).rev() {
        kept[stream] = kept_of(stream, edges, rows, &kept);
    }
    let masters: Vec<usize> = (0..kept[0].len()).collect();
    let calls = windows(&masters, |at| &rows[0][kept[0][*at].row], window)
        .into_iter()
        .map(|window| Call { masters: window.iter().map(|at| seen(0, **at, edges, rows, &kept)).collect() })
        .collect();
    let mut taking_part: Vec<HashSet<usize>> = rows.iter().map(|_| HashSet::new()).collect();
    for master in masters {
        take_part(0, master, edges, &kept, &mut taking_part);
    }
    let matched = taking_part
        .iter()
        .enumerate()
        .map(|(stream, at)| at.iter().map(|at| rows[stream][kept[stream][*at].row].id).collect())
        .collect();
    Expected { calls, matched, bad }
}

/// The rows of a stream that survive the joins below them.
fn kept_of(stream: usize, edges: &[EdgeSpec], rows: &[Vec<Row>], kept: &[Vec<Kept>]) -> Vec<Kept> {
    let mut survivors = Vec::new();
    'rows: for (row, left) in rows[stream].iter().enumerate() {
        let mut groups = Vec::new();
        for edge in edges.iter().filter(|edge| edge.left == stream) {
            let mut group: Vec<usize> = (0..kept[edge.right].len())
                .filter(|at| matches(edge, left, &rows[edge.right][kept[edge.right][*at].row]))
                .collect();
            if let Match::AsOf | Match::AsOfTolerance(_) = edge.matching {
                group = group.pop().into_iter().collect();
            }
            let stays = match edge.keep {
                Keep::Inner | Keep::Exists => !group.is_empty(),
                Keep::Unmatched => group.is_empty(),
                Keep::Left => true,
            };
            if !stays {
                continue 'rows;
            }
            groups.push(group);
        }
        survivors.push(Kept { row, groups });
    }
    survivors
}

/// Whether two rows match. An as-of join takes the last of those that do.
fn matches(edge: &EdgeSpec, left: &Row, right: &Row) -> bool {
    let (Some(l), Some(r)) = (left_key(edge, left), right_key(edge, right)) else { return false };
    let also = !edge.and || (left.also.is_some() && left.also == right.also);
    also && match edge.matching {
        Match::Equal | Match::Lookup => l == r,
        Match::AsOf => r <= l,
        Match::AsOfTolerance(reach) => r <= l && r.0 + reach >= l.0,
        Match::Within { low, high, open } => {
            r.0 >= l.0 + low && if open { r.0 < l.0 + high } else { r.0 <= l.0 + high }
        }
    }
}

/// The key of a left row; none matches nothing.
#[must_use]
pub fn left_key(edge: &EdgeSpec, row: &Row) -> Option<Key> {
    key(edge.form, edge.left_offset, row)
}

/// The key of a right row; none matches nothing.
#[must_use]
pub fn right_key(edge: &EdgeSpec, row: &Row) -> Option<Key> {
    key(edge.form, edge.right_offset, row)
}

fn key(form: Form, offset: i64, row: &Row) -> Option<Key> {
    match form {
        Form::Int | Form::Real => Some((row.at + offset, 0)),
        Form::Half => Some((row.at.div_euclid(2) + offset, 0)),
        Form::Maybe => row.known.then_some((row.at, 0)),
        Form::Text => Some((row.at, 0)),
        Form::Pair => row.known.then_some((row.at, i64::from(row.minor))),
        Form::Also => row.also.map(|also| (i64::from(also), 0)),
    }
}

/// The rows that break a rule of some role their stream plays: a key goes down, or comes a second time where that is ruled
/// out. A bad row counts for nothing.
fn bad_rows(case: &Case, stream: usize) -> BTreeSet<usize> {
    type Role<'a> = (bool, Box<dyn Fn(&Row) -> Option<Key> + 'a>);
    let mut roles: Vec<Role<'_>> = Vec::new();
    for edge in case.edges.iter().filter(|edge| edge.matching != Match::Lookup) {
        if edge.left == stream {
            roles.push((false, Box::new(|row| left_key(edge, row))));
        }
        if edge.right == stream {
            roles.push((edge.unique && !edge.and, Box::new(|row| right_key(edge, row))));
        }
    }
    let mut last: Vec<Option<Key>> = vec![None; roles.len()];
    let mut bad = BTreeSet::new();
    for (at, row) in case.rows[stream].iter().enumerate() {
        let broken = roles.iter().zip(&last).any(|((unique, key), last)| match (key(row), last) {
            (Some(key), Some(last)) => key < *last || (*unique && key == *last),
            _ => false,
        });
        if broken {
            bad.insert(at);
            continue;
        }
        for ((_, key), last) in roles.iter().zip(&mut last) {
            *last = key(row).or(*last);
        }
    }
    bad
}

/// Surviving masters, put into windows.
fn windows<'a, T>(masters: &'a [T], row: impl Fn(&T) -> &'a Row, window: Windowing) -> Vec<Vec<&'a T>> {
    let mut windows: Vec<Vec<&T>> = Vec::new();
    for master in masters {
        let joins = windows.last().is_some_and(|open| match window {
            Windowing::None => false,
            Windowing::Count(count) => open.len() < count,
            Windowing::ByAt(unit) => row(open[0]).at.div_euclid(unit) == row(master).at.div_euclid(unit),
            Windowing::ByMinor => row(open[0]).minor == row(master).minor,
        });
        match windows.last_mut() {
            Some(open) if joins => open.push(master),
            _ => windows.push(vec![master]),
        }
    }
    windows
}

fn seen(stream: usize, at: usize, edges: &[EdgeSpec], rows: &[Vec<Row>], kept: &[Vec<Kept>]) -> Seen {
    let record = &kept[stream][at];
    let groups = edges
        .iter()
        .filter(|edge| edge.left == stream)
        .zip(&record.groups)
        .map(|(edge, group)| group.iter().map(|at| seen(edge.right, *at, edges, rows, kept)).collect())
        .collect();
    Seen { id: rows[stream][record.row].id, groups }
}

fn take_part(
    stream: usize,
    at: usize,
    edges: &[EdgeSpec],
    kept: &[Vec<Kept>],
    taking_part: &mut [HashSet<usize>],
) {
    if !taking_part[stream].insert(at) {
        return;
    }
    for (edge, group) in edges.iter().filter(|edge| edge.left == stream).zip(&kept[stream][at].groups) {
        for below in group {
            take_part(edge.right, *below, edges, kept, taking_part);
        }
    }
}
