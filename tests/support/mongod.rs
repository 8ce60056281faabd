//! One mongod, of any of the three versions, as a child process.

use std::path::PathBuf;
use std::time::Duration;

use bson::doc;
use rustix::process::Signal;

use super::parts::part;
use super::ports::Ports;
use super::process::Process;
use super::raw::RawClient;
use super::scratch::Scratch;
use super::wait::wait_until;

/// A loaded machine of two cores starts six of them at once.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 6.0.5, the one that most tests use.
    V60,
    /// 5.0.4, the last with the legacy opcodes.
    V50,
    /// 4.4.2, which has no `hello` over OP_MSG only and knows getLastError.
    V44,
}

impl Version {
    /// The program.
    pub fn program(self) -> PathBuf {
        part(match self {
            Version::V60 => "TORANA_MONGOD_60",
            Version::V50 => "TORANA_MONGOD_50",
            Version::V44 => "TORANA_MONGOD_44",
        })
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub struct MongodOptions {
    /// Which server.
    pub version: Version,
    /// The loopback address it listens on: 127.0.0.1, or .2, .3, ... to tell members from torana by address.
    pub host: String,
    /// The replica set's name; `None` for a standalone.
    pub replica_set: Option<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl Default for MongodOptions {
    fn default() -> Self {
        MongodOptions {
            version: Version::V60,
            host: "127.0.0.1".into(),
            replica_set: None,
            arguments: Vec::new(),
        }
    }
}

/// A mongod with a port and a data folder that stay its own through restarts.
#[derive(Debug)]
pub struct Mongod {
    // Dropped first: the process must be gone before its folder and its port are.
    process: Option<Process>,
    options: MongodOptions,
    port: Ports,
    folder: Scratch,
}

impl Mongod {
    /// Starts a standalone 6.0.5.
    pub fn standalone() -> Mongod {
        Mongod::start(MongodOptions::default())
    }

    /// Starts one and waits until it answers.
    pub fn start(options: MongodOptions) -> Mongod {
        let mut mongod = Mongod::launch(options);
        mongod.wait_answers();
        mongod
    }

    /// Starts one and does not wait, so that several can start at once.
    pub fn launch(options: MongodOptions) -> Mongod {
        let mut mongod =
            Mongod { process: None, options, port: Ports::one(), folder: Scratch::new("mongod") };
        std::fs::create_dir_all(mongod.folder.path().join("data")).expect("a data folder");
        mongod.spawn();
        mongod
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.options.host, self.port.first())
    }

    /// A new connection to it.
    pub fn client(&self) -> RawClient {
        RawClient::connect(self.address())
    }

    /// The running process.
    pub fn process(&self) -> &Process {
        self.process.as_ref().unwrap_or_else(|| panic!("mongod {} is not running", self.address()))
    }

    /// Whether it was started and not ended by a method here.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, and waits for its end: a primary steps down first.
    pub fn terminate(&mut self) {
        let mut process = self.process.take().expect("a running mongod");
        process.signal(Signal::TERM);
        assert!(process.wait(START_LIMIT).is_some(), "mongod {} did not end on SIGTERM", self.address());
    }

    /// SIGSTOP: it keeps its sockets and answers nothing.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process().signal(Signal::CONT);
    }

    /// Starts it again on the same port and data, after `kill` or `terminate`, and waits until it answers.
    pub fn restart(&mut self) {
        assert!(!self.is_up(), "mongod {} still runs", self.address());
        self.spawn();
        self.wait_answers();
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("mongod.out")).unwrap_or_default()
    }

    /// Waits until it answers a ping.
    pub fn wait_answers(&mut self) {
        let address = self.address();
        wait_until(&format!("mongod {address} answers"), START_LIMIT, || {
            if let Some(status) = self.process.as_mut().and_then(Process::ended) {
                panic!("mongod {address} ended with {status}:\n{}", last_lines(&self.log(), 20));
            }
            let ping = |mut client: RawClient| client.try_command("admin", doc! { "ping": 1 });
            RawClient::try_connect(&address).and_then(ping).is_ok()
        });
    }

    fn spawn(&mut self) {
        let mut arguments: Vec<String> = [
            "--bind_ip",
            &self.options.host,
            "--port",
            &self.port.first().to_string(),
            "--dbpath",
            &self.folder.path().join("data").display().to_string(),
            "--nounixsocket",
            "--wiredTigerCacheSizeGB",
            "0.25",
            // Half a gigabyte of log files made in advance is most of an empty mongod's start, and of its space in memory.
            "--wiredTigerEngineConfigString",
            "log=(prealloc=false,file_max=16MB)",
            "--setParameter",
            "enableTestCommands=1",
            "--setParameter",
            "diagnosticDataCollectionEnabled=false",
        ]
        .map(String::from)
        .to_vec();
        if let Some(name) = &self.options.replica_set {
            arguments.extend(["--replSet", name, "--oplogSize", "64"].map(String::from));
        }
        arguments.extend(self.options.arguments.iter().cloned());
        self.process =
            Some(Process::start(&self.options.version.program(), &arguments, self.folder.path(), "mongod"));
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
