//! EndOfStream marks of lanes: results that are placed by a key come from all lanes, and have ended when all lanes have said so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use watermill_core::broker::codec::EOS_MARK;

/// The text of a mark.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    #[serde(rename = "eos__")]
    eos: bool,
    lane: u32,
    lanes: u32,
}

/// The mark of a lane: plain where its partition is the lane's own, else with the lane and how many there are.
pub(crate) fn text(lane: u32, lanes: u32, crosses_lanes: bool) -> Vec<u8> {
    let mark = Mark { eos: true, lane, lanes };
    match serde_json::to_vec(&mark) {
        Ok(text) if crosses_lanes => text,
        _ => EOS_MARK.to_vec(),
    }
}

/// The lane and the number of lanes, if `value` is the mark of one of several.
pub(crate) fn of_lane(value: &[u8]) -> Option<(u32, u32)> {
    // Most records are longer or begin otherwise, so this costs nothing.
    if value.len() > 80 || !value.starts_with(b"{\"eos__\"") {
        return None;
    }
    let mark: Mark = serde_json::from_slice(value).ok()?;
    mark.eos.then_some((mark.lane, mark.lanes))
}

/// The marks that one source has passed: the lane of each, and where it stands. Its committer looks at them, too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passed(Arc<Mutex<BTreeMap<u32, u64>>>);

impl Passed {
    /// Those that were passed before this run.
    pub(crate) fn of(lanes: &[u32]) -> Self {
        Self(Arc::new(Mutex::new(lanes.iter().map(|lane| (*lane, 0)).collect())))
    }

    /// Passes the mark at `offset`; true when it was the last one.
    pub(crate) fn pass(&self, lane: u32, lanes: u32, offset: u64) -> bool {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passed.entry(lane).or_insert(offset);
        passed.len() >= lanes as usize
    }

    /// The lanes whose marks stand before `offset`.
    pub(crate) fn before(&self, offset: u64) -> Vec<u32> {
        let passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passed.iter().filter(|(_, at)| **at < offset).map(|(lane, _)| *lane).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_three_lanes_ends_with_the_third_mark_however_often_one_comes() {
        let passed = Passed::default();
        for (lane, offset, last) in [(2, 10, false), (2, 11, false), (0, 20, false), (1, 30, true)] {
            let text = text(lane, 3, true);
            assert_eq!(of_lane(&text), Some((lane, 3)));
            assert_eq!(passed.pass(lane, 3, offset), last);
        }
        assert_eq!(passed.before(20), [2]);
        assert_eq!(passed.before(31), [0, 1, 2]);
        // Taken up behind the first two.
        assert!(Passed::of(&[0, 2]).pass(1, 3, 30));
    }

    #[test]
    fn a_plain_mark_is_of_no_lane() {
        assert_eq!(of_lane(EOS_MARK), None);
        assert_eq!(text(1, 3, false), EOS_MARK);
        assert_eq!(of_lane(b"{\"eos__\":false,\"lane\":1,\"lanes\":2}"), None);
    }
}
