//! ZooKeeper servers: one alone, or an ensemble.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use super::parts::part;
use super::ports::Ports;
use super::process::Process;
use super::scratch::Scratch;
use super::wait::wait_until;

/// A quorum of three stands some 4 s after its start on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Servers that know each other. Each keeps its ports and its data through restarts.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    // Dropped first: the process must be gone before its folder and its ports are.
    process: Option<Process>,
    /// For clients, for followers, for elections.
    ports: Ports,
    folder: Scratch,
}

impl Ensemble {
    /// Starts `count` servers, and waits until they serve.
    pub fn of(count: usize) -> Ensemble {
        let servers = (0..count)
            .map(|_| Server { process: None, ports: Ports::run(3), folder: Scratch::new("zookeeper") })
            .collect();
        let mut ensemble = Ensemble { servers };
        for index in 0..count {
            ensemble.configure(index);
            ensemble.launch(index);
        }
        (0..count).for_each(|index| ensemble.wait_serves(index));
        ensemble
    }

    /// `host:port` of each, for clients.
    pub fn hosts(&self) -> Vec<String> {
        self.servers.iter().map(Server::address).collect()
    }

    fn configure(&self, index: usize) {
        let server = &self.servers[index];
        let data = server.folder.path().join("data");
        std::fs::create_dir_all(&data).expect("a data folder");
        std::fs::write(data.join("myid"), (index + 1).to_string()).expect("myid");
        let mut text = format!(
            "tickTime=500\ninitLimit=20\nsyncLimit=10\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             maxClientCnxns=0\nminSessionTimeout=1000\n4lw.commands.whitelist=*\n",
            data.display(),
            server.ports.first(),
        );
        if self.servers.len() > 1 {
            for (index, server) in self.servers.iter().enumerate() {
                let [follow, elect] = [1, 2].map(|port| server.ports.get(port));
                text.push_str(&format!("server.{}=127.0.0.1:{follow}:{elect}\n", index + 1));
            }
        }
        std::fs::write(server.folder.path().join("zoo.cfg"), text).expect("zoo.cfg");
    }

    fn launch(&mut self, index: usize) {
        let main = match self.servers.len() {
            1 => "org.apache.zookeeper.server.ZooKeeperServerMain",
            _ => "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        };
        let server = &mut self.servers[index];
        let jar = part("TORANA_ZOOKEEPER_JAR");
        let beside = jar.with_file_name("slf4j-simple.jar");
        let arguments = [
            "-Xmx256m".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            "-XX:TieredStopAtLevel=1".to_owned(),
            "-Dzookeeper.admin.enableServer=false".to_owned(),
            "-cp".to_owned(),
            format!("{}:{}", jar.display(), beside.display()),
            main.to_owned(),
            server.folder.path().join("zoo.cfg").display().to_string(),
        ];
        server.process =
            Some(Process::start(&part("TORANA_JAVA"), &arguments, server.folder.path(), "zookeeper"));
    }

    fn wait_serves(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let address = server.address();
        wait_until(&format!("ZooKeeper {address} serves"), START_LIMIT, || {
            if let Some(status) = server.process.as_mut().and_then(Process::ended) {
                panic!(
                    "ZooKeeper {address} ended with {status}:\n{}",
                    server.process.as_ref().unwrap().stderr()
                );
            }
            // A server without a quorum answers this with a sentence that has no such line.
            say(&address, "srvr").is_some_and(|answer| answer.contains("Mode:"))
        });
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].process = None;
    }

    /// Starts it again, after `kill`, and does not wait.
    pub fn restart(&mut self, index: usize) {
        self.launch(index);
    }

    /// Waits until all serve.
    pub fn wait_all(&mut self) {
        (0..self.servers.len()).for_each(|index| self.wait_serves(index));
    }

    /// SIGSTOP: it keeps its sockets and answers nothing.
    pub fn pause(&self, index: usize) {
        self.running(index).pause();
    }

    /// SIGCONT.
    pub fn resume(&self, index: usize) {
        self.running(index).signal(Signal::CONT);
    }

    fn running(&self, index: usize) -> &Process {
        self.servers[index].process.as_ref().expect("a running server")
    }

    /// The server that the most clients are connected to.
    pub fn busiest(&self) -> usize {
        (0..self.servers.len()).max_by_key(|index| self.connections(*index)).expect("a server")
    }

    /// How many clients a server has, this question aside.
    pub fn connections(&self, index: usize) -> u64 {
        let answer = say(&self.servers[index].address(), "mntr").unwrap_or_default();
        let line = answer.lines().find_map(|line| line.strip_prefix("zk_num_alive_connections\t"));
        line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(1).saturating_sub(1)
    }
}

impl Server {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.first())
    }
}

/// What a server answers to one of its four-letter words.
fn say(address: &str, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
