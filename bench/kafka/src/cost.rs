//! What a process takes: processor time, memory, threads, open files. Read from `/proc`, so Linux only.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Failure;

/// The processor time of this process and its threads.
pub(crate) fn cpu_seconds() -> Result<f64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 =
        fields.get(11).ok_or("utime")?.parse::<f64>()? + fields.get(12).ok_or("stime")?.parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// The most memory that was resident.
pub(crate) fn peak_mib() -> Result<u64, Failure> {
    Ok(of_status("VmHWM")? / 1024)
}

/// The memory that is resident.
pub(crate) fn resident_mib() -> Result<f64, Failure> {
    Ok(of_status("VmRSS")? as f64 / 1024.0)
}

pub(crate) fn threads() -> Result<u64, Failure> {
    of_status("Threads")
}

/// Open files: connections, most of them.
pub(crate) fn files() -> Result<usize, Failure> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

fn of_status(name: &'static str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or(name)?;
    Ok(line.split_whitespace().nth(1).ok_or(name)?.parse()?)
}

/// The most threads that there were, of looks every few milliseconds.
pub(crate) struct MostThreads(Arc<AtomicU64>);

impl MostThreads {
    pub(crate) fn watch() -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&most);
        std::thread::spawn(move || {
            loop {
                // Without the one that looks.
                seen.fetch_max(threads().unwrap_or(1).saturating_sub(1), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self(most)
    }

    pub(crate) fn most(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
