//! What a process has used, from /proc. Nothing here attaches to the process or slows it down.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// utime and stime count in USER_HZ, which is 100 on every architecture that torana is built for. Their sum is exact to one tick
/// (the kernel scales it to the scheduler's own account), so a window of a second is good to one part in a hundred.
const TICK: Duration = Duration::from_millis(10);

/// CPU time, user and system, of all threads that `pid` has or had.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = read(pid, "stat")?;
    // The second field is the program's name in parentheses and may hold anything, spaces and parentheses too.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u32 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    Ok(TICK * ticks)
}

/// Resident memory in KiB. `VmRSS` may lag by dozens of pages a thread (proc(5)), smaps_rollup is exact.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let (name, file) = match read(pid, "smaps_rollup") {
        Ok(file) => ("Rss:", file),
        Err(_) => ("VmRSS:", read(pid, "status")?),
    };
    field(&file, name)
}

/// Threads that `pid` has now.
pub fn threads(pid: u32) -> Result<u64> {
    field(&read(pid, "status")?, "Threads:")
}

fn read(pid: u32, name: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{name}")).with_context(|| format!("process {pid} is gone"))
}

fn field(file: &str, name: &str) -> Result<u64> {
    file.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {name} in /proc"))
}

/// What one process used between two looks, and has at the second.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The process.
    pub pid: u32,
    /// CPU time used in between.
    pub cpu: Duration,
    /// Resident memory at the end, KiB.
    pub resident_kib: u64,
    /// Threads at the end.
    pub threads: u64,
}

/// Looks at several processes at the start and the end of a window.
#[derive(Debug)]
pub struct Watch {
    started: Vec<(u32, Duration)>,
}

impl Watch {
    /// Opens a window over `pids`.
    pub fn start(pids: &[u32]) -> Result<Watch> {
        let started = pids.iter().map(|pid| Ok((*pid, cpu_time(*pid)?))).collect::<Result<_>>()?;
        Ok(Watch { started })
    }

    /// Closes it.
    pub fn finish(self) -> Result<Vec<Usage>> {
        let usage = |(pid, before): (u32, Duration)| {
            let cpu = cpu_time(pid)?.saturating_sub(before);
            Ok(Usage { pid, cpu, resident_kib: resident_kib(pid)?, threads: threads(pid)? })
        };
        self.started.into_iter().map(usage).collect()
    }
}
