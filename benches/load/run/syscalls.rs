//! System calls of a process over a stretch of load, counted from outside: by the kernel's own counter through `perf stat` where
//! that works, because it costs a fraction of a microsecond a call, otherwise by `strace -c`, which costs dozens. A proxy that is
//! slowed down finds more sockets ready at each wait, so that strace flatters it; compare only within one table.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Until a tracer holds all threads of a process.
const ATTACH: Duration = Duration::from_millis(500);

/// How calls are counted.
#[derive(Clone, Copy)]
enum Counter {
    Perf,
    Strace,
}

impl Counter {
    fn name(self) -> &'static str {
        match self {
            Counter::Perf => "perf",
            Counter::Strace => "strace",
        }
    }

    fn command(self, pid: u32) -> Command {
        let mut command = Command::new(self.name());
        match self {
            Counter::Perf => command.args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"]),
            Counter::Strace => command.args(["-c", "-f", "-p"]),
        };
        command.arg(pid.to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// The total in what the tool says at its end.
    fn total(self, text: &str) -> Option<f64> {
        let (line, column) = match self {
            Counter::Perf => (text.lines().find(|line| line.contains("sys_enter"))?.replace(',', " "), 0),
            Counter::Strace => (text.lines().find(|line| line.trim_end().ends_with("total"))?.to_owned(), 3),
        };
        line.split_whitespace().nth(column)?.parse().ok()
    }
}

/// Counts the calls of `pid` during `load`, which answers how many operations it ran; the answer is the counter's name and calls
/// an operation. `None` when neither tool is there.
pub(super) fn count(pid: u32, mut load: impl FnMut() -> Result<u64>) -> Result<Option<(&'static str, f64)>> {
    for counter in [Counter::Perf, Counter::Strace] {
        let Ok(tool) = counter.command(pid).spawn() else { continue };
        thread::sleep(ATTACH);
        let operations = load();
        let text = stop(tool)?;
        if let Some(total) = counter.total(&text) {
            return Ok(Some((counter.name(), total / operations?.max(1) as f64)));
        }
        operations?;
    }
    Ok(None)
}

/// Interrupts the tool, upon which it lets go of the process and prints its count.
fn stop(mut tool: Child) -> Result<String> {
    let pid = i32::try_from(tool.id()).ok().and_then(Pid::from_raw).context("no process number")?;
    // It may have ended already, refused by the kernel; then its text has no count.
    let _ = kill_process(pid, Signal::INT);
    let mut text = String::new();
    if let Some(stderr) = &mut tool.stderr {
        stderr.read_to_string(&mut text)?;
    }
    tool.wait()?;
    Ok(text)
}
