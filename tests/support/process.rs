//! A child process that cannot outlive the test.
//!
//! It is killed on drop, also when the test panics; and the kernel kills it when the test process dies without
//! dropping anything (`PR_SET_PDEATHSIG`, set by `setpriv`, which then becomes the program, so that the process id
//! stays).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::wait::wait_until;

/// A running child, with its standard output and error in files.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `program`, with standard output and error in `NAME.out` and `NAME.err` of `folder`.
    pub fn start(program: &Path, arguments: &[String], folder: &Path, name: &str) -> Process {
        let (stdout, stderr) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.stdin(std::process::Stdio::null());
        // Appended, so that a restarted server's log is one story.
        let open = |path: &Path| File::options().create(true).append(true).open(path).expect("a log file");
        command.stdout(open(&stdout)).stderr(open(&stderr));
        let child = spawn_from_lasting_thread(command)
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Process { child, stdout, stderr }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: TERM, KILL, STOP, CONT, HUP, ...
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to our own child");
    }

    /// SIGSTOP, and waits until every thread has stopped: on a busy machine one may run on for a while, and answer.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.id());
        wait_until("all threads stopped", Duration::from_secs(10), || {
            let threads = std::fs::read_dir(&tasks).expect("threads of a running process");
            threads.flatten().all(|thread| {
                let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
            })
        });
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of our own child")
    }

    /// Waits for its end; `None` if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        loop {
            match self.ended() {
                None if started.elapsed() < limit => std::thread::sleep(Duration::from_millis(5)),
                status => return status,
            }
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.status_field("VmRSS:")
    }

    /// Number of threads.
    pub fn threads(&self) -> u64 {
        self.status_field("Threads:")
    }

    /// Number of open file descriptors.
    pub fn descriptors(&self) -> usize {
        self.descriptor_numbers().len()
    }

    /// The numbers of its open file descriptors.
    pub fn descriptor_numbers(&self) -> Vec<u64> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id()));
        let names = open.expect("descriptors of a running process").flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.parse().ok()).collect()
    }

    /// CPU time used so far, user and system.
    pub fn cpu_time(&self) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("stat of a running process");
        // The second field is the name in parentheses, which may hold spaces; utime and stime are fields 14 and 15,
        // in ticks, of which Linux counts 100 a second on every architecture that we run on.
        let after_name = stat.rsplit_once(')').expect("a process name").1;
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))
            .expect("status of a running process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("no {name} in {status}"));
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// The kernel sends the parent-death signal when the *thread* that forked ends, and a test's thread ends before a
/// server that several tests share. So one thread, which never ends, forks all children.
fn spawn_from_lasting_thread(command: Command) -> std::io::Result<Child> {
    type Job = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        jobs
    });
    let (answer, child) = channel();
    spawner.send((command, answer)).expect("the spawner thread");
    child.recv().expect("the spawner thread's answer")
}
