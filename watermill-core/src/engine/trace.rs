//! What the last call was given, for checkpoints. A call leaves only positions behind, which cost next to nothing; what they stand for is
//! looked up when somebody wants to know, or when the tapes are about to let go of it.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use super::node::AnyNode;
use super::span::Span;
use super::walk::Walk;
use crate::error::RecordPlace;

/// So many runs of records are kept of a stream, to be looked at.
pub(super) const MOST_RUNS: usize = 4096;

/// A run of records of a batch, an `Arc<Vec<R>>`.
pub(crate) type Kept = (Arc<dyn Any + Send + Sync>, Range<usize>);

/// What the last call was given, in positions.
#[derive(Default)]
pub(super) struct Trace {
    /// The master, the last one of a window.
    master: u64,
    /// What matched it, for each join of the master; unused for windows.
    spans: Vec<Span>,
    /// The masters of a window: how many, where the first and the last one stood.
    window: Option<(u64, RecordPlace, RecordPlace)>,
    /// It was not looked up yet.
    fresh: bool,
    seen: Option<Arc<Seen>>,
}

/// What a call was given, of all streams.
pub(crate) struct Seen {
    pub(crate) streams: Vec<SeenStream>,
    /// The master's first join key.
    pub(crate) key: Option<String>,
}

/// What a call was given of one stream.
pub(crate) struct SeenStream {
    pub(crate) stream: Arc<str>,
    pub(crate) records: u64,
    pub(crate) first: Option<RecordPlace>,
    pub(crate) last: Option<RecordPlace>,
    pub(crate) kept: Vec<Kept>,
}

/// Positions of one stream, ascending.
pub(crate) enum Positions {
    Run(u64, u64),
    List(Vec<u64>),
}

impl Positions {
    fn of(span: &Span) -> Self {
        if span.listed { Self::List(span.picks.clone()) } else { Self::Run(span.low, span.high) }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Run(low, high) => high - low,
            Self::List(all) => all.len() as u64,
        }
    }

    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        match self {
            Self::Run(low, high) => (low < high).then(|| (*low, high - 1)),
            Self::List(all) => all.first().copied().zip(all.last().copied()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let (run, list) = match self {
            Self::Run(low, high) => (*low..*high, &[][..]),
            Self::List(all) => (0..0, all.as_slice()),
        };
        run.chain(list.iter().copied())
    }

    /// Runs of positions: the first one, and the one behind the last.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (run, list) = match self {
            Self::Run(low, high) => (Some((*low, *high)), &[][..]),
            Self::List(all) => (None, all.as_slice()),
        };
        run.into_iter().chain(list.iter().map(|at| (*at, at + 1)))
    }
}

impl Walk {
    /// Every call is to leave behind what it was given.
    pub(crate) fn trace_calls(&mut self) {
        self.trace = Some(Trace { spans: vec![Span::default(); self.edges.len()], ..Trace::default() });
    }

    /// The call of the master at `position` is prepared.
    pub(super) fn trace_single(&mut self, position: u64) {
        let Some(trace) = &mut self.trace else { return };
        (trace.master, trace.fresh) = (position, true);
        for (span, edge) in trace.spans.iter_mut().zip(&self.edges).filter(|(_, edge)| edge.left == 0) {
            match edge.spans.get(position) {
                Some(found) if found.listed => span.set_picks(found.picks.iter().copied()),
                Some(found) => span.set_run(found.low, found.high),
                None => span.clear(),
            }
        }
    }

    /// The master at `position`, which matches this run, is the last one that was called.
    pub(super) fn trace_run(&mut self, position: u64, low: u64, high: u64) {
        let Some(trace) = &mut self.trace else { return };
        (trace.master, trace.fresh) = (position, true);
        if let Some(span) = trace.spans.first_mut() {
            span.set_run(low, high);
        }
    }

    /// The call of a window is prepared, whose first master stood at `first`, and the last one at `last`.
    pub(super) fn trace_window(&mut self, masters: u64, first: Option<&RecordPlace>, last: u64) {
        let Some(trace) = &mut self.trace else { return };
        let last = self.nodes[0].node.place(last);
        trace.window = first.map(|first| (masters, first.clone(), last));
        trace.fresh = true;
    }

    /// What the last call was given, if calls leave that behind.
    pub(crate) fn last_call(&mut self) -> Option<Arc<Seen>> {
        self.look_up_call();
        self.trace.as_ref()?.seen.clone()
    }

    /// Looks up what the last call was given, before it is let go of.
    pub(super) fn look_up_call(&mut self) {
        if !self.trace.as_ref().is_some_and(|trace| trace.fresh) {
            return;
        }
        let windowed = self.window.is_some();
        let seen = if windowed { self.seen_window() } else { Some(self.seen_single()) };
        let key = match &self.trace {
            Some(trace) if !windowed => self.key_text(trace.master),
            _ => None,
        };
        if let Some(trace) = &mut self.trace {
            trace.fresh = false;
            trace.seen = seen.map(|streams| Arc::new(Seen { streams, key }));
        }
    }

    fn seen_window(&self) -> Option<Vec<SeenStream>> {
        let (records, first, last) = self.trace.as_ref()?.window.clone()?;
        let stream = self.nodes[0].node.stream();
        let (first, last) = (Some(first), Some(last));
        Some(vec![SeenStream { stream, records, first, last, kept: Vec::new() }])
    }

    fn seen_single(&self) -> Vec<SeenStream> {
        let Some(trace) = &self.trace else { return Vec::new() };
        let mut all = vec![Positions::Run(trace.master, trace.master + 1)];
        // The join at index `i` is the one above the stream at `i + 1`.
        for (edge, span) in self.edges.iter().zip(&trace.spans) {
            all.push(if edge.left == 0 {
                Positions::of(span)
            } else {
                let lefts = all.get(edge.left).into_iter().flat_map(Positions::iter);
                let spans = lefts.filter_map(|at| edge.spans.get(at));
                let mut found: Vec<u64> = spans.flat_map(Span::positions).collect();
                found.sort_unstable();
                found.dedup();
                Positions::List(found)
            });
        }
        let streams = self.nodes.iter().zip(&all);
        streams.map(|(node, positions)| seen_stream(&*node.node, positions)).collect()
    }
}

fn seen_stream(node: &dyn AnyNode, positions: &Positions) -> SeenStream {
    let (first, last) = positions.ends().unzip();
    SeenStream {
        stream: node.stream(),
        records: positions.len(),
        first: first.map(|at| node.place(at)),
        last: last.map(|at| node.place(at)),
        kept: node.keep(positions),
    }
}
