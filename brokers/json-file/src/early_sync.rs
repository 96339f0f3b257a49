//! Making a file durable while it is still being written, so that little is left to wait for at a commit.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use crate::deferred::{SyncFailure, Unsynced};

/// How much is written between two syncs.
const STEP: u64 = 32 << 20;

/// Syncs a file in the background.
#[derive(Debug, Default)]
pub(crate) struct EarlySync {
    /// Bytes written since the last sync was ordered.
    written: u64,
    /// Set once there was enough to make it worth a thread; the thread ends when this is dropped.
    orders: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    failed: SyncFailure,
}

impl EarlySync {
    /// So much was written to `file`.
    pub(crate) fn wrote(&mut self, file: &File, bytes: usize) {
        self.written += bytes as u64;
        if self.written < STEP {
            return;
        }
        self.written = 0;
        if self.orders.is_none() {
            self.orders = self.start(file).ok();
        }
        if let Some(orders) = &self.orders {
            // One that is under way will do: the next order comes soon.
            let _ = orders.try_send(());
        }
    }

    fn start(&mut self, file: &File) -> io::Result<SyncSender<()>> {
        let (orders, received) = sync_channel(1);
        let (file, failed) = (file.try_clone()?, Arc::clone(&self.failed));
        let thread = thread::Builder::new().name("watermill-sync".to_owned()).spawn(move || {
            while received.recv().is_ok() {
                if let Err(error) = file.sync_data() {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    return;
                }
            }
        })?;
        self.thread = Some(thread);
        Ok(orders)
    }

    /// What was written to `file` until now, for somebody else to sync.
    pub(crate) fn unsynced(&self, file: &File) -> io::Result<Unsynced> {
        Ok(Unsynced { file: file.try_clone()?, failed: Arc::clone(&self.failed) })
    }

    /// Why an earlier sync failed, if one did.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for EarlySync {
    /// The thread's handle of the file holds its lock: who opens it next must not find it taken.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
