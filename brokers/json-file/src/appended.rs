//! Outputs that grow under their own name: every commit appends a piece of whole lines.
//!
//! Nothing is in the file before it was committed, so that who reads along never sees a line that is taken back. A commit
//! 1. completes the piece in the hidden file (`out/.speed.ndjson.partial`),
//! 2. records in the state file where the piece goes, how long it is and its checksum: now it is committed,
//! 3. appends it to the output, and empties the hidden file.
//!
//! A run that takes up one which died between 2 and 3 does 3 again: the piece is still there, and the length of the output says how much of
//! it was appended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use watermill_core::error::BrokerError;

use crate::failure::{failure, path_failure};
use crate::fault::fault_point;
use crate::state_file::sync_directory;

/// How much is copied at once.
const BLOCK: usize = 64 * 1024;

/// An output that grows under its own name.
#[derive(Debug)]
pub(crate) struct Appended {
    target: PathBuf,
    partial: PathBuf,
    /// How long the target was when this run had appended to it last.
    left: Option<u64>,
}

/// What a commit appends, as the state file keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// How long the target is without it.
    pub(crate) at: u64,
    /// Its CRC-32.
    pub(crate) crc: u32,
}

impl Appended {
    /// Makes sure that the target can be written, and is there.
    pub(crate) fn new(target: &Path, partial: &Path) -> io::Result<Self> {
        let fresh = !target.exists();
        OpenOptions::new().append(true).create(true).open(target)?;
        if fresh {
            sync_directory(target)?;
        }
        Ok(Self { target: target.to_owned(), partial: partial.to_owned(), left: None })
    }

    fn failed(&self, cause: io::Error) -> BrokerError {
        path_failure("append to", &self.target, cause)
    }

    /// How long the target is; a file that was moved away may come again.
    fn length(&self) -> Result<u64, BrokerError> {
        match fs::metadata(&self.target) {
            Ok(meta) => Ok(meta.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(cause) => Err(self.failed(cause)),
        }
    }

    /// What stands in the target must be whole lines: ours would go on with the last one.
    pub(crate) fn check_last_line(&self) -> Result<(), BrokerError> {
        let ended = || -> io::Result<bool> {
            let mut file = File::open(&self.target)?;
            if file.metadata()?.len() == 0 {
                return Ok(true);
            }
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            Ok(last == *b"\n")
        };
        if ended().map_err(|cause| self.failed(cause))? {
            return Ok(());
        }
        let cause =
            "its last line has no end: it was cut, or somebody else is writing it; end or remove the line";
        Err(failure("append to", format_args!("`{}`", self.target.display()), cause))
    }

    /// Where the next piece goes: the first `length` bytes of the hidden file.
    pub(crate) fn next_piece(&self, length: u64) -> Result<Piece, BrokerError> {
        let at = self.length()?;
        // One that is empty was moved away, or cleared.
        if let Some(left) = self.left.filter(|left| at != *left && at != 0) {
            let cause = format!(
                "it has {at} bytes, and {left} when this run last wrote it: somebody else writes it too; give each run an output of its own"
            );
            return Err(failure("append to", format_args!("`{}`", self.target.display()), cause));
        }
        let crc = self.checksum(length).map_err(|cause| path_failure("read", &self.partial, cause))?;
        Ok(Piece { at, crc })
    }

    fn checksum(&self, length: u64) -> io::Result<u32> {
        let mut hasher = crc32fast::Hasher::new();
        self.read_piece(0, length, |block| {
            hasher.update(block);
            Ok(())
        })?;
        Ok(hasher.finalize())
    }

    /// Goes through the hidden file from `from` to `length`.
    fn read_piece(
        &self,
        from: u64,
        length: u64,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if from >= length {
            return Ok(());
        }
        let mut file = File::open(&self.partial)?;
        file.seek(SeekFrom::Start(from))?;
        let mut rest = file.take(length - from);
        let mut block = vec![0; BLOCK];
        while rest.limit() > 0 {
            match rest.read(&mut block) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => each(&block[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Appends a committed piece, of which the target has `there` bytes already, and empties the hidden file.
    pub(crate) fn append(&mut self, piece: Piece, length: u64, there: u64) -> Result<(), BrokerError> {
        let copy = || -> io::Result<()> {
            let fresh = !self.target.exists();
            let mut target = OpenOptions::new().append(true).create(true).open(&self.target)?;
            let mut blocks = 0_u32;
            self.read_piece(there, length, |block| {
                let half = block.len() / 2;
                target.write_all(&block[..half])?;
                if blocks == 0 {
                    fault_point!("appending");
                }
                blocks += 1;
                target.write_all(&block[half..])
            })?;
            fault_point!("appended");
            target.sync_data()?;
            if fresh { sync_directory(&self.target) } else { Ok(()) }
        };
        copy().map_err(|cause| self.failed(cause))?;
        let empty = || OpenOptions::new().write(true).open(&self.partial)?.set_len(0);
        empty().map_err(|cause| path_failure("write", &self.partial, cause))?;
        self.left = Some(piece.at + length);
        Ok(())
    }

    /// Does what an earlier run may have left undone; returns why it cannot be taken up.
    pub(crate) fn complete(&mut self, piece: Piece, length: u64) -> Result<Option<String>, BrokerError> {
        let there = self.length()?;
        let end = piece.at + length;
        if there == end {
            self.left = Some(end);
            return Ok(None);
        }
        let hidden = fs::metadata(&self.partial).map_or(0, |meta| meta.len());
        let waits = length > 0
            && hidden >= length
            && self.checksum(length).map_err(|cause| path_failure("read", &self.partial, cause))?
                == piece.crc;
        if waits && (piece.at..end).contains(&there) {
            tracing::info!(target: "watermill", output = %self.target.display(), "appending what was committed");
            return self.append(piece, length, there - piece.at).map(|()| None);
        }
        if !waits && there == 0 {
            // It was moved away meanwhile, as logs are.
            return Ok(None);
        }
        Ok(Some(format!(
            "the output `{}` has {there} bytes, and the run had left {end}",
            self.target.display()
        )))
    }
}
