//! What a process takes: processor time and memory. Read from `/proc`, so Linux only.

use std::fs;

use crate::Failure;

/// The processor time of a process and its threads: its number, or `self`.
pub(crate) fn cpu_seconds(process: &str) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 =
        fields.get(11).ok_or("utime")?.parse::<f64>()? + fields.get(12).ok_or("stime")?.parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// The most memory that was resident.
pub(crate) fn peak_mib() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("VmHWM")?.parse::<u64>()? / 1024)
}
