//! What commits have come to, and what of that is durable: storage may return from a commit before it is.

use super::LaneRun;
use crate::error::RunError;

/// What all commits up to one of them have come to.
pub(super) struct Count {
    calls: u64,
    given_up: u64,
    commits: u64,
    /// For each output how many results were committed, and how many left out.
    results: Vec<(u64, u64)>,
}

impl LaneRun {
    /// What the commits until now have come to.
    pub(super) fn count(&self) -> Count {
        let results = self.ports.iter().map(|port| (port.committed, port.refused)).collect();
        let (calls, given_up) = (self.since.calls, self.since.given_up);
        Count { calls, given_up, commits: self.tally.commits, results }
    }

    /// Waits until the last commit is durable. One that never becomes so is not counted: a restart does its work again.
    pub(super) async fn settle_commits(&mut self) -> Result<(), RunError> {
        let before = self.before_last.take();
        let settled = self.committer.settle().await;
        if let (Err(_), Some(before)) = (&settled, before) {
            (self.since.calls, self.since.given_up) = (before.calls, before.given_up);
            self.tally.commits = before.commits;
            for (port, (committed, refused)) in self.ports.iter_mut().zip(before.results) {
                (port.committed, port.refused) = (committed, refused);
            }
        }
        Ok(settled?)
    }
}
