//! What windows must hold: every definition is applied to all keys at once. Knows nothing of the engine.

/// A window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fixed(i64),
    Session(i64),
    Sliding(i64, i64),
}

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The indexes of its masters.
    pub(crate) masters: Vec<usize>,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Some master stands at or behind its end.
    pub(crate) closed: bool,
}

/// The windows of masters with these keys, which never go down.
pub(crate) fn windows(keys: &[i64], kind: Kind, empty: bool) -> Vec<Expected> {
    match kind {
        Kind::Fixed(size) => sliding(keys, size, size, empty),
        Kind::Sliding(size, step) => sliding(keys, size, step, empty),
        Kind::Session(gap) => sessions(keys, gap),
    }
}

fn sliding(keys: &[i64], size: i64, step: i64, empty: bool) -> Vec<Expected> {
    let (Some(lowest), Some(highest)) = (keys.iter().min(), keys.iter().max()) else { return Vec::new() };
    let mut all = Vec::new();
    for start in lowest - size..=*highest {
        if start.rem_euclid(step) != 0 {
            continue;
        }
        let end = start + size;
        let masters: Vec<usize> = (0..keys.len()).filter(|at| (start..end).contains(&keys[*at])).collect();
        all.push(Expected { masters, start, end, closed: *highest >= end });
    }
    let between = |index: usize| {
        let some = |all: &[Expected]| all.iter().any(|window| !window.masters.is_empty());
        some(&all[..index]) && some(&all[index..])
    };
    (0..all.len())
        .filter(|index| !all[*index].masters.is_empty() || (empty && between(*index)))
        .map(|index| all[index].clone())
        .collect()
}

fn sessions(keys: &[i64], gap: i64) -> Vec<Expected> {
    let begins = |at: usize| at == 0 || keys[at] - keys[at - 1] >= gap;
    let starts: Vec<usize> = (0..keys.len()).filter(|at| begins(*at)).collect();
    let ends = starts.iter().skip(1).copied().chain([keys.len()]);
    let session = |(start, end): (&usize, usize)| Expected {
        masters: (*start..end).collect(),
        start: keys[*start],
        end: keys[end - 1] + gap,
        closed: end < keys.len(),
    };
    starts.iter().zip(ends).map(session).collect()
}
