//! One experiment, and the seeded strategies that make them.

use proptest::prelude::*;

use crate::oracle::right_key;
use crate::row::Row;

/// One experiment.
#[derive(Debug, Clone)]
pub struct Case {
    /// The joins in preorder; streams are numbered in preorder too, the master is 0.
    pub edges: Vec<EdgeSpec>,
    /// The rows of each stream.
    pub rows: Vec<Vec<Row>>,
    /// How masters are put into windows.
    pub window: Windowing,
    /// How streams are cut into batches.
    pub cuts: Cuts,
    /// Whether the joins are nested into each other, or all given to the mill.
    pub nested: bool,
}

/// One join.
#[derive(Debug, Clone)]
pub struct EdgeSpec {
    /// The stream on its left.
    pub left: usize,
    /// The stream on its right.
    pub right: usize,
    /// What its keys are.
    pub form: Form,
    /// Added to the left key, where the form has numbers.
    pub left_offset: i64,
    /// Added to the right key, where the form has numbers.
    pub right_offset: i64,
    /// How rows match.
    pub matching: Match,
    /// What is kept of the left rows.
    pub keep: Keep,
    /// Whether [`Row::also`] must be equal besides.
    pub and: bool,
    /// Whether the right key is promised to come once.
    pub unique: bool,
}

/// The type and the make of a join's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `at` plus an offset: a field expression on the left, a closure on the right.
    Int,
    /// Half of `at`, rounded down, plus an offset.
    Half,
    /// `at` where it is known.
    Maybe,
    /// `at` as a text, borrowed from the record.
    Text,
    /// `at` where it is known, and `minor`.
    Pair,
    /// `at` as a float.
    Real,
    /// `also`: lookups only, it has no order.
    Also,
}

/// How rows match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Equal keys.
    Equal,
    /// The latest right row at or before the left one.
    AsOf,
    /// The same, not further back than this.
    AsOfTolerance(i64),
    /// A right key from `left + low` to `left + high`; `open` excludes the upper end.
    Within {
        /// The lower bound, included.
        low: i64,
        /// The upper bound.
        high: i64,
        /// Whether the upper bound is excluded.
        open: bool,
    },
    /// Equal keys in a table in any order.
    Lookup,
}

/// What is kept of the left rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those with a match.
    Inner,
    /// All.
    Left,
    /// Those with a match; the function needs no argument for it.
    Exists,
    /// Those without one.
    Unmatched,
}

/// How masters are put into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windowing {
    /// Not at all: one call for each master.
    None,
    /// So many.
    Count(usize),
    /// Neighbours whose `at`, divided by this and rounded down, is equal.
    ByAt(i64),
    /// Neighbours of equal `minor`, which goes up and down.
    ByMinor,
}

/// How streams are cut into batches.
#[derive(Debug, Clone)]
pub enum Cuts {
    /// So many records a batch in every stream.
    Even(usize),
    /// These sizes again and again, from a place of its own for each stream; empty batches too.
    Uneven(Vec<usize>),
}

impl Case {
    /// The batches of a stream, as how many records each of them has.
    #[must_use]
    pub fn batches(&self, stream: usize) -> Vec<usize> {
        let mut left = self.rows[stream].len();
        let mut sizes = Vec::new();
        let mut turn = stream;
        while left > 0 {
            let size = match &self.cuts {
                Cuts::Even(size) => *size,
                Cuts::Uneven(all) => all[turn % all.len()],
            };
            let size = size.min(left);
            sizes.push(size);
            left -= size;
            turn += 1;
        }
        sizes
    }
}

/// How the cases of a shape are to be.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// At most so many rows a stream.
    pub rows: usize,
    /// Whether keys may go down, or come twice where that is ruled out.
    pub disorder: bool,
}

/// A row before its key is summed up.
#[derive(Debug, Clone)]
struct RawRow {
    step: i64,
    minor: u8,
    known: bool,
    also: Option<u8>,
    rank: u8,
    back: i64,
}

#[derive(Debug, Clone)]
struct RawStream {
    rows: Vec<RawRow>,
    start: i64,
    distinct: bool,
    in_any_order: bool,
}

impl RawStream {
    /// Makes matches likely: few different keys, next to each other.
    fn make_dense(&mut self) {
        self.start = self.start.clamp(-1, 0);
        self.distinct &= self.rows.len().is_multiple_of(2);
        for row in &mut self.rows {
            row.step = row.step.min(1);
            row.minor /= 2;
            row.also = row.also.map(|also| also / 2);
        }
    }
}

#[derive(Debug, Clone)]
struct RawEdge {
    form: Form,
    offsets: (i64, i64),
    matching: Match,
    keep: Keep,
    and: bool,
    unique: bool,
    rare: bool,
}

impl RawEdge {
    /// Makes it likely that left rows are kept.
    fn make_dense(&mut self) {
        self.offsets = (self.offsets.0.max(0), 0);
        if self.keep == Keep::Unmatched && !self.rare {
            self.keep = Keep::Left;
        }
    }
}

/// Cases of a tree that has these edges (left and right stream of each, in preorder).
pub fn cases(edges: &'static [(usize, usize)], sizes: Sizes) -> impl Strategy<Value = Case> {
    let streams = prop::collection::vec(raw_stream(sizes), edges.len() + 1);
    let joins = prop::collection::vec(raw_edge(), edges.len());
    // The larger a tree, the rarer it is that all its joins find something by chance.
    let dense = prop::bool::weighted(if edges.len() > 2 { 0.8 } else { 0.3 });
    (streams, joins, windowing(), cuts(), any::<bool>(), dense).prop_map(
        move |(mut streams, mut joins, window, cuts, nested, dense)| {
            if dense {
                streams.iter_mut().for_each(RawStream::make_dense);
                joins.iter_mut().for_each(RawEdge::make_dense);
            }
            let mut specs: Vec<EdgeSpec> =
                edges.iter().zip(joins).map(|(edge, raw)| spec(*edge, &raw)).collect();
            let rows: Vec<Vec<Row>> =
                streams.iter().enumerate().map(|(stream, raw)| rows(stream, raw, &specs, sizes)).collect();
            for spec in &mut specs {
                // A promise that is broken is found while reading, where the key is the whole promise and in order.
                let checked = spec.matching != Match::Lookup && !spec.and;
                spec.unique &= distinct(spec, &rows[spec.right]) || (sizes.disorder && checked);
            }
            Case { edges: specs, rows, window, cuts, nested }
        },
    )
}

fn raw_stream(sizes: Sizes) -> impl Strategy<Value = RawStream> {
    let row = (
        prop_oneof![5 => Just(0), 4 => Just(1), 2 => Just(2), 1 => 3..9_i64],
        0..3_u8,
        prop::bool::weighted(0.9),
        prop_oneof![1 => Just(None), 9 => (0..3_u8).prop_map(Some)],
        any::<u8>(),
        prop_oneof![9 => Just(0), 1 => 1..4_i64],
    )
        .prop_map(|(step, minor, known, also, rank, back)| RawRow {
            step,
            minor,
            known,
            also,
            rank,
            back,
        });
    let few = sizes.rows.min(4);
    let count = prop_oneof![1 => Just(0), 3 => 0..=few, 24 => 3.min(few)..=sizes.rows];
    let rows = count.prop_flat_map(move |count| prop::collection::vec(row.clone(), count));
    (rows, -4..4_i64, prop::bool::weighted(0.3), any::<bool>())
        .prop_map(|(rows, start, distinct, in_any_order)| RawStream { rows, start, distinct, in_any_order })
}

fn raw_edge() -> impl Strategy<Value = RawEdge> {
    let form = prop_oneof![
        4 => Just(Form::Int),
        2 => Just(Form::Maybe),
        2 => Just(Form::Text),
        2 => Just(Form::Pair),
        2 => Just(Form::Real),
        2 => Just(Form::Half),
        1 => Just(Form::Also),
    ];
    let within = (-4..3_i64, 0..4_i64, any::<bool>()).prop_map(|(low, more, open)| Match::Within {
        low,
        high: low + more,
        open: open && more > 0,
    });
    let matching = prop_oneof![
        5 => Just(Match::Equal),
        3 => Just(Match::AsOf),
        3 => (0..4_i64).prop_map(Match::AsOfTolerance),
        3 => within,
        2 => Just(Match::Lookup),
    ];
    let keep = prop_oneof![
        5 => Just(Keep::Inner),
        4 => Just(Keep::Left),
        2 => Just(Keep::Exists),
        2 => Just(Keep::Unmatched),
    ];
    let flags = (prop::bool::weighted(0.3), prop::bool::weighted(0.3), prop::bool::weighted(0.3));
    (form, (-1..3_i64, -1..3_i64), matching, keep, flags).prop_map(
        |(form, offsets, matching, keep, (and, unique, rare))| RawEdge {
            form,
            offsets,
            matching,
            keep,
            and,
            unique,
            rare,
        },
    )
}

fn windowing() -> impl Strategy<Value = Windowing> {
    prop_oneof![
        4 => Just(Windowing::None),
        1 => (1..6_usize).prop_map(Windowing::Count),
        1 => (1..4_i64).prop_map(Windowing::ByAt),
        1 => Just(Windowing::ByMinor),
    ]
}

fn cuts() -> impl Strategy<Value = Cuts> {
    prop_oneof![
        2 => (1..8_usize).prop_map(Cuts::Even),
        1 => (1..100_usize).prop_map(Cuts::Even),
        1 => (1..=1000_usize).prop_map(Cuts::Even),
        2 => (1..5_usize, prop::collection::vec(0..9_usize, 1..7)).prop_map(|(first, mut rest)| {
            rest.push(first);
            Cuts::Uneven(rest)
        }),
    ]
}

/// Makes of a drawn edge one that the mill accepts.
fn spec((left, right): (usize, usize), raw: &RawEdge) -> EdgeSpec {
    let RawEdge { mut form, offsets, mut matching, keep, mut and, unique, .. } = *raw;
    if form == Form::Also && matching != Match::Lookup {
        form = Form::Int;
    }
    let moves = matches!(form, Form::Int | Form::Half | Form::Maybe | Form::Real);
    matching = match matching {
        Match::AsOfTolerance(_) if !moves => Match::AsOf,
        Match::Within { .. } if !moves => Match::Equal,
        other => other,
    };
    if matching == Match::AsOf {
        and = false;
    }
    let (left_offset, right_offset) = match form {
        Form::Int | Form::Half | Form::Real => offsets,
        _ => (0, 0),
    };
    EdgeSpec { left, right, form, left_offset, right_offset, matching, keep, and, unique }
}

fn rows(stream: usize, raw: &RawStream, edges: &[EdgeSpec], sizes: Sizes) -> Vec<Row> {
    let ordered = edges
        .iter()
        .any(|edge| edge.matching != Match::Lookup && (edge.left == stream || edge.right == stream));
    let mut at = raw.start;
    let mut rows: Vec<(Row, &RawRow)> = raw
        .rows
        .iter()
        .map(|step| {
            at += if raw.distinct { step.step.max(2) } else { step.step };
            let row = Row { id: 0, at, minor: step.minor, known: step.known, also: step.also };
            (row, step)
        })
        .collect();
    rows.sort_by_key(|(row, _)| (row.at, row.minor));
    if !ordered && raw.in_any_order {
        rows.sort_by_key(|(_, raw)| raw.rank);
    }
    rows.into_iter()
        .enumerate()
        .map(|(id, (row, raw))| {
            let back = if sizes.disorder { raw.back } else { 0 };
            Row { id: id as u32, at: row.at - back, ..row }
        })
        .collect()
}

/// Whether no right key comes twice; with an equality beside it, whether no pair does.
fn distinct(edge: &EdgeSpec, rows: &[Row]) -> bool {
    let beside = |row: &Row| if edge.and { row.also } else { Some(0) };
    let mut keys: Vec<_> = rows.iter().filter_map(|row| right_key(edge, row).zip(beside(row))).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    keys.len() == count
}
