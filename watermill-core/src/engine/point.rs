//! From positions on a tape to a group of records.

use super::span::Span;
use super::tape::Tape;
use crate::group::Group;

/// Points a group at a span.
pub(super) fn point<R>(group: &mut Group<R>, tape: &Tape<R>, span: &Span) {
    if span.is_empty() {
        group.clear();
    } else if span.listed {
        group.set_picked(span.picks.iter().filter_map(|at| tape.shared(*at)));
    } else if let Some((batch, start)) = tape.shared(span.low) {
        let len = (span.high - span.low) as usize;
        if start + len <= batch.len() {
            group.set_run(batch, start, len);
        } else {
            let mut at = span.low;
            group.set_runs(std::iter::from_fn(|| {
                let (batch, start) = (at < span.high).then(|| tape.shared(at))??;
                let len = (batch.len() - start).min((span.high - at) as usize);
                at += len as u64;
                Some((batch, start, len))
            }));
        }
    }
}
