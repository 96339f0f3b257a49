//! An input that is followed, as its run begins and commits.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use watermill_core::broker::Position;
use watermill_core::error::BrokerError;

use crate::failure::{failure, path_failure};
use crate::follow::Follow;
use crate::follow_framer::refuse;
use crate::format::Format;
use crate::framer::Spot;
use crate::generation::{Followed, Generation};
use crate::rotation::open_regular;
use crate::state_file::{FollowedState, InputState, Seen};

/// An input that is followed.
pub(crate) struct FollowedInput {
    pub(crate) followed: Arc<Followed>,
    /// The file that the last commit has come to.
    committed: Mutex<Arc<Generation>>,
}

impl FollowedInput {
    /// Files that others of this run follow are shared.
    pub(crate) fn new(followed: Arc<Followed>) -> Self {
        let committed = Mutex::new(followed.root());
        Self { followed, committed }
    }

    /// Makes sure that what is there can be followed.
    pub(crate) fn check(path: &Path, follow: &Follow, format: Option<Format>) -> Result<(), BrokerError> {
        let looked_at = || -> io::Result<()> {
            let file = match open_regular(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !follow.must_exist => return Ok(()),
                file => file?,
            };
            refuse(&head(&file)?, format)
        };
        looked_at().map_err(|cause| path_failure("follow", path, cause))
    }

    /// Finds where an earlier run had stopped; false when that is not there any more.
    pub(crate) fn take_up(&self, state: &InputState) -> Result<bool, BrokerError> {
        let found = self.followed.take_up(&state.position, state.seen, state.followed.clone())?;
        Ok(found.map(|found| *self.committed() = found).is_some())
    }

    fn committed(&self) -> std::sync::MutexGuard<'_, Arc<Generation>> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where reading begins.
    pub(crate) fn start(&self) -> Arc<Generation> {
        Arc::clone(&self.committed())
    }

    /// Another broker keeps the position, and knows no more than that: the file that has the name has to be the one.
    pub(crate) fn trust(&self, position: Option<&Position>) -> Result<(), BrokerError> {
        // No commit of ours will let go of what was read.
        *self.committed() = self.followed.root();
        let Some(position) = position.filter(|position| position.next > 0) else { return Ok(()) };
        let path = &self.followed.path;
        let seen = Seen::look(path, Some(position.next)).map_err(|cause| self.followed.failed(cause))?;
        let found = self.followed.take_up(position, Some(seen), None)?;
        *self.committed() =
            found.ok_or_else(|| failure("go on with", format_args!("`{}`", path.display()), self.lost()))?;
        Ok(())
    }

    /// Lets go of what reading began with.
    pub(crate) fn forget(&self) {
        *self.committed() = self.followed.generation(0, None);
    }

    /// Where in it, and how many records of its file lie before that.
    pub(crate) fn spot(&self, from: &Position) -> (Spot, u64) {
        let file = self.followed.number_of(&from.part);
        // The engine tells what was finished by the names of the files: they must not have changed.
        let same = from.part == self.followed.part(file);
        let last = from.last.as_ref().filter(|last| same && last.part == from.part);
        match last {
            Some(last) => (Spot { file, offset: last.offset }, last.number),
            None => (Spot { file, offset: from.next }, from.number),
        }
    }

    /// What was not found, and what to do about it.
    pub(crate) fn lost(&self) -> String {
        let path = self.followed.path.display();
        format!(
            "the file that the run was following as `{path}` is not found, under this name or another one beside it; if it was moved or compressed, put it back, else use `Follow::accept_gaps()` to go on without what was not read of it"
        )
    }

    /// What a restart has to know, for a position.
    pub(crate) fn state(&self, position: &Position) -> Result<Option<(Seen, FollowedState)>, BrokerError> {
        let number = self.followed.number_of(&position.part);
        let mut committed = self.committed();
        *committed = committed.advance(number);
        if committed.number != number {
            return Ok(None);
        }
        committed.state(position.next).map_err(|cause| self.followed.failed(cause))
    }
}

fn head(mut file: &File) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.by_ref().take(4096).read_to_end(&mut head)?;
    Ok(head)
}
