//! The torana binary, started in front of something and asked about itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::ports::Ports;
use super::process::Process;
use super::raw::RawClient;
use super::ready::{self, Listener};
use super::scratch::Scratch;
use super::wait::wait_for;

/// torana says that it is ready once it knows the set; a set in the middle of an election takes seconds.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Members that a set may have, with some to be added later: as many consecutive ports are kept free.
const LISTENERS_MAX: u16 = 8;

/// How torana is to be started.
#[derive(Debug, Clone)]
pub struct Builder {
    source: Source,
    arguments: Vec<String>,
}

#[derive(Debug, Clone)]
enum Source {
    Uri(String),
    Config(String),
}

/// A running torana.
#[derive(Debug)]
pub struct Torana {
    // Dropped first.
    process: Process,
    listeners: Vec<Listener>,
    ports: Ports,
    arguments: Vec<String>,
    folder: Scratch,
}

impl Builder {
    /// One more argument: `.argument("--pool-max").argument("8")`.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts it and waits for the ready line.
    pub fn start(self) -> Torana {
        let mut torana = self.launch();
        torana.wait_ready();
        torana
    }

    /// Starts it and does not wait: for what never gets ready.
    pub fn launch(self) -> Torana {
        let ports = Ports::run(LISTENERS_MAX + 1);
        let folder = Scratch::new("torana");
        let address = |port| format!("127.0.0.1:{port}");
        let mut arguments: Vec<String> = vec!["serve".into()];
        match &self.source {
            Source::Uri(uri) => arguments.extend([uri.clone(), "--listen".into(), address(ports.first())]),
            Source::Config(text) => {
                let file = folder.path().join("torana.toml");
                std::fs::write(&file, with_ports(text, &ports)).expect("a configuration file");
                arguments.extend(["--config".into(), file.display().to_string()]);
            }
        }
        arguments.extend(["--admin".into(), address(ports.get(LISTENERS_MAX))]);
        arguments.extend(self.arguments);
        let process = spawn(&arguments, &folder);
        Torana { process, listeners: Vec::new(), ports, arguments, folder }
    }
}

impl Torana {
    /// In front of the set that `uri` names.
    pub fn serve(uri: impl Into<String>) -> Builder {
        Builder { source: Source::Uri(uri.into()), arguments: Vec::new() }
    }

    /// With a configuration file of this text, in which `{port0}` to `{port7}` become free consecutive ports.
    pub fn with_config(text: impl Into<String>) -> Builder {
        Builder { source: Source::Config(text.into()), arguments: Vec::new() }
    }

    /// Waits for the ready line.
    pub fn wait_ready(&mut self) {
        let process = &mut self.process;
        self.listeners = wait_for("torana's ready line", READY_LIMIT, || {
            let listeners = ready::parse(&process.stdout());
            if listeners.is_none()
                && let Some(status) = process.ended()
            {
                panic!("torana ended with {status}:\n{}", process.stderr());
            }
            listeners
        });
    }

    /// The listeners of the ready line.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The listener that stands for the real member `member` (`host:port`).
    pub fn listener_of(&self, member: &str) -> &str {
        let found = self.listeners.iter().find(|listener| listener.member == member);
        &found.unwrap_or_else(|| panic!("no listener for {member} in {:?}", self.listeners)).listen
    }

    /// The connection string for drivers: all listeners of the first set.
    pub fn uri(&self) -> String {
        let set = &self.listeners.first().expect("a listener").set;
        let hosts: Vec<&str> = self
            .listeners
            .iter()
            .filter(|listener| listener.set == *set)
            .map(|listener| listener.listen.as_str())
            .collect();
        format!("mongodb://{}/?replicaSet={set}", hosts.join(","))
    }

    /// A new connection to the listener of the real member `member`.
    pub fn client_of(&self, member: &str) -> RawClient {
        RawClient::connect(self.listener_of(member))
    }

    /// Starts it again, after it ended or was killed, on the same ports and with the same arguments, and waits for the ready
    /// line.
    pub fn restart(&mut self) {
        self.process.kill();
        // With the ready line of before.
        std::fs::remove_file(self.folder.path().join("torana.out")).expect("its output so far");
        self.process = spawn(&self.arguments, &self.folder);
        self.wait_ready();
    }

    /// The process, for signals, memory, descriptors, threads and CPU time.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Where the admin endpoint is: `host:port`.
    pub fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.get(LISTENERS_MAX))
    }

    /// The admin endpoint's answer to GET `path`: status code and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin_address()).expect("the admin endpoint");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a read timeout");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in UTF-8");
        let (head, body) =
            answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {answer}"));
        let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
        (status.unwrap_or_else(|| panic!("no status in {head}")), body.into())
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The sum of all series of family `name` whose labels hold every one of `labels` (`command="find"`); 0 if none.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let is_of_family =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let metrics = self.metrics();
        let series = metrics
            .lines()
            .filter(is_of_family)
            .filter(|line| labels.iter().all(|label| line.contains(label)));
        series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// SIGTERM, and its exit status; panics if it has not ended within `limit`.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait(limit).unwrap_or_else(|| panic!("torana still runs {limit:?} after SIGTERM"))
    }
}

fn spawn(arguments: &[String], folder: &Scratch) -> Process {
    Process::start(&PathBuf::from(env!("CARGO_BIN_EXE_torana")), arguments, folder.path(), "torana")
}

fn with_ports(text: &str, ports: &Ports) -> String {
    (0..LISTENERS_MAX).fold(text.to_string(), |text, index| {
        text.replace(&format!("{{port{index}}}"), &ports.get(index).to_string())
    })
}

impl Drop for Torana {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- torana's log ---\n{}--- end ---", self.log());
        }
    }
}
