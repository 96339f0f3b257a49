//! Looking at a followed file now and then, on a thread of its own, so that nobody who waits for more has to.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::rotation::FileId;

/// Looks at a file until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Goes up when anything has changed.
    versions: watch::Sender<u64>,
    bell: Arc<Bell>,
}

/// Wakes the thread when it is not needed any more.
#[derive(Debug, Default)]
struct Bell {
    over: Mutex<bool>,
    rung: Condvar,
}

/// A file, as far as a look can tell.
#[derive(Debug, PartialEq, Eq)]
enum Outline {
    There(Option<FileId>, u64, Option<SystemTime>),
    Not(io::ErrorKind),
}

impl From<io::Result<Metadata>> for Outline {
    fn from(meta: io::Result<Metadata>) -> Self {
        match meta {
            Ok(meta) => Self::There(FileId::of(&meta), meta.len(), meta.modified().ok()),
            Err(error) => Self::Not(error.kind()),
        }
    }
}

impl Watcher {
    /// Looks at the file at `path`, and at the one that `also` tells of, which may have another name by now.
    pub(crate) fn start(
        path: &Path,
        every: Duration,
        also: impl Fn() -> Option<io::Result<Metadata>> + Send + 'static,
    ) -> io::Result<Self> {
        let (versions, bell) = (watch::Sender::new(0), Arc::new(Bell::default()));
        let eyes = (PathBuf::from(path), versions.clone(), Arc::clone(&bell));
        thread::Builder::new().name("watermill-follow".to_owned()).spawn(move || {
            let (path, versions, bell) = eyes;
            let mut last = None;
            while !bell.is_over(every, last.is_none()) {
                let now = Some((Outline::from(fs::metadata(&path)), also().map(Outline::from)));
                if now != last {
                    last = now;
                    versions.send_modify(|version| *version += 1);
                }
            }
        })?;
        Ok(Self { versions, bell })
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }

    /// What is there to read was looked at no earlier than this.
    pub(crate) fn version(&self) -> u64 {
        *self.versions.borrow()
    }
}

impl Bell {
    /// Waits, unless it is to be `at_once`.
    fn is_over(&self, every: Duration, at_once: bool) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if at_once {
            return *over;
        }
        let waited = self.rung.wait_timeout_while(over, every, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        *self.bell.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.rung.notify_all();
    }
}
