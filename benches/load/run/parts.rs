//! Processes of a scenario. Each is ended by its own handle when its guard is dropped, and by the kernel should this program die
//! first (`setpriv --pdeathsig`).

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longest time that anything here takes to get ready; 10,000 idle clients take the longest.
const READY_MAX: Duration = Duration::from_secs(120);
/// Ports are taken from below the range that the kernel takes for outgoing connections, which would otherwise be in the way.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A running process that ends when this is dropped.
pub(super) struct Process {
    child: Child,
    name: String,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts `program`; its standard input stays open and its standard output is read line by line.
    pub(super) fn start(name: &str, program: &Path, args: &[String]) -> Result<Process> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(args);
        // Standard error stays the terminal's, so that a process that fails says why.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("starting {name} ({})", program.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (sender, lines) = mpsc::channel();
        // Read to the end, wanted or not: a process whose pipe is full stops.
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        Ok(Process { child, name: name.to_owned(), lines })
    }

    /// setpriv replaces itself, so that this is the program's own number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of standard output that starts with `prefix`.
    pub(super) fn wait_for_line(&self, prefix: &str) -> Result<String> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with(prefix) => return Ok(line),
                Ok(_) => {}
                Err(_) => bail!("{} did not say {prefix:?} within {READY_MAX:?}, or ended", self.name),
            }
        }
    }

    /// Closes its standard input and waits for it to end well; the answer is its last line.
    pub(super) fn finish(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        let last = self.lines.iter().last().unwrap_or_default();
        if !status.success() {
            bail!("{} ended with {status}: {last}", self.name);
        }
        Ok(last)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first of `count` consecutive ports that nobody listens on, never the same twice in one run.
pub(super) fn free_ports(count: u16) -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start - count;
    let begin = (std::process::id() % u32::from(span)) as u16;
    for _ in 0..span {
        let first = PORTS.start + begin.wrapping_add(NEXT.fetch_add(count, Ordering::Relaxed)) % span;
        if (first..first + count).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(first);
        }
    }
    bail!("no {count} consecutive free ports in {PORTS:?}")
}

/// A directory that is removed with everything in it when this is dropped.
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one for `name`.
    pub(super) fn new(name: &str) -> Result<Scratch> {
        let path = std::env::temp_dir().join(format!("torana-load-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Scratch { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file in it.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::File::create(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
