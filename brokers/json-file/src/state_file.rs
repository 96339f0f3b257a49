//! The state file: what a run has committed, so that a restart goes on as if nothing had happened.
//!
//! It stands beside the first output, hidden, while the run is not complete: `out/.speed.json.state` for `out/speed.json`. Two
//! lines of text: a JSON object, and the CRC-32 of that line in hexadecimal. It is replaced by a rename, so there is always one whole
//! file, the one before or the one after a commit.
//!
//! ```json
//! {"version":1,"finished":false,"mill":"(&Location) -> Speed\nLocation (master)\n",
//!  "inputs":[{"stream":"Location","position":{"part":"data/locations.ndjson","next":4800,"number":100,"ended":false},
//!             "seen":{"length":4800,"head":1234,"tail":5678}}],
//!  "outputs":[{"name":"speed.json","length":3100,"elements":99,"ended":false,"marked":false}]}
//! crc32 89abcdef
//! ```
//!
//! A file that is followed (`follow`) has `"followed":{"file":{"device":65024,"inode":1234}}` beside `seen`, with `"gone":true` when it was deleted and
//! everything in it is finished. The `part` of its position is `log.ndjson` for the first file that had the name, and `log.ndjson#2` for the second.
//!
//! An output that grows under its name (`append`) has `"piece":{"at":5000,"crc":1234}`: the last piece that was committed begins at byte 5000 of the output, has
//! `length` bytes, and this CRC-32. It stands at the beginning of the hidden file until it was appended. The state of such an output stays
//! when the run has ended.
//!
//! A position has `"last"`, the record with the last key before it (`{"offset":4752,"number":99}`), `"also_last"` where several keys have each their own,
//! and `"finished"`, ranges behind `next` that are finished, where records were sorted back: see [`Position`].
//!
//! Where the mill's window asks for it, `"window"` stands behind the outputs: a text that only the mill reads.
//!
//! Where several lanes write to the same outputs (the partitions of a topic into a file), `"lanes"` has for each of them that has committed
//! `{"lane":0,"finished":false,"inputs":[..],"ended":[false]}`, and `inputs` itself is empty.
//!
//! `seen` lets a restart notice that an input has changed: how much of the file the run had read for good (or all of it, where it is
//! compressed), the CRC-32 of the first 4 KiB of that, and of the last 4 KiB.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use watermill_core::broker::{Checkpoint, Position};
use watermill_core::error::BrokerError;

use crate::appended::Piece;
use crate::failure::{failure, path_failure};
use crate::fault::fault_point;
use crate::rotation::{Beside, FileId};

/// The layout of the file. Another one is refused.
const VERSION: u32 = 1;

/// How much of the head and of the committed tail of an input is looked at.
const LOOKED_AT: u64 = 4096;

/// What a run has committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// Everything is written; only names are missing.
    pub(crate) finished: bool,
    /// The arguments, joins and window of the mill, as `explain()` shows them.
    #[serde(default)]
    pub(crate) mill: String,
    pub(crate) inputs: Vec<InputState>,
    pub(crate) outputs: Vec<OutputState>,
    /// As [`Checkpoint::window`](watermill_core::broker::Checkpoint::window).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<String>,
    /// What each of several lanes has committed; `inputs` is empty then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lanes: Vec<LaneRecord>,
}

/// What one of several lanes has committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LaneRecord {
    pub(crate) lane: u32,
    pub(crate) finished: bool,
    pub(crate) inputs: Vec<InputState>,
    /// Which outputs the lane has ended.
    pub(crate) ended: Vec<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<String>,
}

impl LaneRecord {
    /// Where the lane goes on.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        checkpoint.positions = self.inputs.iter().map(|input| input.position.clone()).collect();
        checkpoint.finished = self.finished;
        checkpoint.ended_outputs.clone_from(&self.ended);
        checkpoint.window.clone_from(&self.window);
        checkpoint
    }
}

/// Where one input goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InputState {
    /// How messages call the stream.
    pub(crate) stream: String,
    pub(crate) position: Position,
    /// What its file looked like; `None` for pipes.
    pub(crate) seen: Option<Seen>,
    /// For a file that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) followed: Option<FollowedState>,
    /// The files that were read to their ends before it, with their lengths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) before: Vec<(String, u64)>,
}

/// What else is known of a file that is followed, and may have another name by now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FollowedState {
    /// What tells it from others, where the system has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<FileId>,
    /// It was deleted, and all of it is behind the position: it need not be found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
    /// What stood beside it when it was new. Only as long as the position is at its beginning, where it is known by little else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Beside>,
}

/// What one output holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutputState {
    /// The name of its file.
    pub(crate) name: String,
    /// How long the hidden file was: all beyond it is cut off.
    pub(crate) length: u64,
    /// How many elements that holds.
    pub(crate) elements: u64,
    /// The function has ended it.
    #[serde(default)]
    pub(crate) ended: bool,
    /// The EndOfStream mark is among them.
    pub(crate) marked: bool,
    /// Where the last piece goes that was committed of an output that grows under its name; `length` is that of the piece then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) piece: Option<Piece>,
}

/// What a file looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// How much of it was looked at.
    pub(crate) length: u64,
    /// The CRC-32 of its first bytes.
    pub(crate) head: u32,
    /// The CRC-32 of its last bytes.
    pub(crate) tail: u32,
}

impl State {
    pub(crate) fn new(
        finished: bool,
        mill: String,
        inputs: Vec<InputState>,
        outputs: Vec<OutputState>,
    ) -> Self {
        Self { version: VERSION, finished, mill, inputs, outputs, window: None, lanes: Vec::new() }
    }

    /// Reads the state at `path`; `None` when there is none.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, BrokerError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(path_failure("resume from", path, cause)),
        };
        let damaged = |what: &str| {
            let cause = format!(
                "{what}; to start over, remove the file and the hidden outputs (`.*.partial`) beside it"
            );
            failure("resume from", format_args!("`{}`", path.display()), cause)
        };
        let (state, rest) = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.split_once('\n'))
            .ok_or_else(|| damaged("the state file is cut or was not written by watermill"))?;
        if rest != format!("crc32 {:08x}\n", crc32fast::hash(state.as_bytes())) {
            return Err(damaged("the state file is damaged: its checksum does not fit"));
        }
        let version: Version = serde_json::from_str(state)
            .map_err(|error| damaged(&format!("the state file cannot be read ({error})")))?;
        if version.version != VERSION {
            return Err(damaged(&format!(
                "the state file has layout {}, and this version of watermill reads layout {VERSION}",
                version.version
            )));
        }
        serde_json::from_str(state)
            .map(Some)
            .map_err(|error| damaged(&format!("the state file cannot be read ({error})")))
    }

    /// Replaces the state at `path` in one step.
    pub(crate) fn store(&self, path: &Path) -> Result<(), BrokerError> {
        let failed = |cause: io::Error| path_failure("commit", path, cause);
        let mut text = serde_json::to_string(self).map_err(|error| failed(error.into()))?;
        let checksum = crc32fast::hash(text.as_bytes());
        text.push_str(&format!("\ncrc32 {checksum:08x}\n"));
        let fresh = fresh_beside(path);
        write_new(&fresh, &text).and_then(|()| fs::rename(&fresh, path)).map_err(|cause| {
            // The old one is still there; half a new one is of no use.
            drop(fs::remove_file(&fresh));
            failed(cause)
        })?;
        fault_point!("state-renamed");
        sync_directory(path).map_err(failed)
    }
}

/// Writes a whole file, durably.
fn write_new(fresh: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(fresh)?;
    fault_point!("state-created");
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fault_point!("state-written");
    Ok(())
}

/// What is read of a state file before its layout is known.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Where the next state is written before it replaces the one at `path`.
fn fresh_beside(path: &Path) -> PathBuf {
    let mut fresh = path.to_owned().into_os_string();
    fresh.push(".new");
    PathBuf::from(fresh)
}

/// Removes the state at `path`, if there is one, and what a run has left that died while it wrote the next.
pub(crate) fn remove(path: &Path) -> Result<(), BrokerError> {
    let mut removed = false;
    for path in [path, &fresh_beside(path)] {
        match fs::remove_file(path) {
            Ok(()) => removed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(path_failure("remove", path, error)),
        }
    }
    if removed { sync_directory(path).map_err(|cause| path_failure("remove", path, cause)) } else { Ok(()) }
}

/// Makes the names in the directory of `path` durable. Not every system can open one.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    match File::open(directory.unwrap_or(Path::new("."))) {
        Ok(directory) => directory.sync_all(),
        Err(_) => Ok(()),
    }
}

impl Seen {
    /// Looks at an input that was read up to `next`: at all of it where it is compressed, since `next` then counts other bytes.
    pub(crate) fn of_input(path: &Path, next: u64) -> io::Result<Self> {
        let mut magic = [0; 4];
        let mut file = File::open(path)?;
        let compressed =
            file.read(&mut magic)? >= 2 && (magic[..2] == [0x1f, 0x8b] || magic == [0x28, 0xb5, 0x2f, 0xfd]);
        Self::look(path, (!compressed).then_some(next))
    }

    /// Looks at the first `length` bytes of the file at `path`; at all of it for `None`.
    pub(crate) fn look(path: &Path, length: Option<u64>) -> io::Result<Self> {
        Self::of(&File::open(path)?, length)
    }

    /// Looks at the first `length` bytes of an open file.
    pub(crate) fn of(mut file: &File, length: Option<u64>) -> io::Result<Self> {
        let there = file.metadata()?.len();
        let length = length.unwrap_or(there).min(there);
        let part = length.min(LOOKED_AT);
        let mut bytes = vec![0; usize::try_from(part).unwrap_or(0)];
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut bytes)?;
        let head = crc32fast::hash(&bytes);
        file.seek(SeekFrom::Start(length - part))?;
        file.read_exact(&mut bytes)?;
        Ok(Self { length, head, tail: crc32fast::hash(&bytes) })
    }

    /// Why the file at `path` is not the one that was seen, if it is not.
    pub(crate) fn difference(&self, path: &Path) -> io::Result<Option<&'static str>> {
        self.difference_of(&File::open(path)?)
    }

    /// Why an open file is not the one that was seen, if it is not.
    pub(crate) fn difference_of(&self, file: &File) -> io::Result<Option<&'static str>> {
        let now = match Self::of(file, Some(self.length)) {
            // It was cut between two looks.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::default(),
            now => now?,
        };
        Ok(if now.length < self.length {
            Some("it is shorter than what was read of it")
        } else if now.head != self.head {
            Some("its beginning has changed")
        } else if now.tail != self.tail {
            Some("its content has changed where the run stopped")
        } else {
            None
        })
    }
}
