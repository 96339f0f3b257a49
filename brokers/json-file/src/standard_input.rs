//! Standard input, read on a thread of its own: a read that waits for the terminal cannot be called off, so nothing
//! of ours must wait for it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

const BLOCK: usize = 64 * 1024;
const BLOCKS_AHEAD: usize = 4;
const LOOK_AT_STOP: Duration = Duration::from_millis(50);

pub(crate) struct StandardInput {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    used: usize,
    stop: Arc<AtomicBool>,
}

impl StandardInput {
    pub(crate) fn open(stop: Arc<AtomicBool>) -> io::Result<Self> {
        let (give, blocks) = sync_channel(BLOCKS_AHEAD);
        thread::Builder::new().name("watermill-stdin".to_owned()).spawn(move || {
            let mut input = io::stdin().lock();
            loop {
                let mut block = vec![0; BLOCK];
                let result = match input.read(&mut block) {
                    Ok(0) => return,
                    Ok(count) => {
                        block.truncate(count);
                        Ok(block)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = result.is_err();
                if give.send(result).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self { blocks, block: Vec::new(), used: 0, stop })
    }
}

impl Read for StandardInput {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.used == self.block.len() {
            match self.blocks.recv_timeout(LOOK_AT_STOP) {
                Ok(block) => {
                    self.block = block?;
                    self.used = 0;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) if self.stop.load(Ordering::Relaxed) => {
                    return Err(io::Error::other("the run has stopped"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let count = into.len().min(self.block.len() - self.used);
        into[..count].copy_from_slice(&self.block[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}
