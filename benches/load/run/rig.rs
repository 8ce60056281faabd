//! What a scenario is put together from: a server (null or real), and in front of it torana, HAProxy or nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bson::{Document, doc};

use super::RunArgs;
use super::parts::{Process, Scratch, free_ports};
use crate::report::Kind;
use crate::session::Session;
use crate::workload;

/// Documents that finds choose among.
pub(super) const DOCUMENTS: u64 = 10_000;
/// A replica set of one elects itself within a second; a busy machine may take longer.
const PRIMARY_MAX: Duration = Duration::from_secs(60);
/// HAProxy needs two descriptors a client, and a process has 20,000.
const HAPROXY_CLIENTS_MAX: usize = 9_500;
const PROXY_CPU: &str = "0";
const OTHERS_CPU: &str = "1";

/// Starts the parts.
pub(super) struct Rig {
    pub(super) args: RunArgs,
    own: PathBuf,
    /// A program and its arguments to run proxies under; mostly none.
    wrapper: Vec<String>,
}

/// A server and its address.
pub(super) struct Server {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
    _data: Option<Scratch>,
}

/// What clients connect to.
pub(super) struct Subject {
    pub(super) kind: Kind,
    /// One address for each member.
    pub(super) targets: Vec<SocketAddr>,
    process: Option<Process>,
    /// Where torana tells of itself.
    pub(super) admin: Option<SocketAddr>,
    _config: Option<Scratch>,
}

impl Server {
    /// All that is answered to `word` until the connection is closed.
    pub(super) fn says(&self, word: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(word.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Subject {
    /// The proxy's process, if there is one.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The metric `name` of torana's, which has no labels.
    pub(super) fn metric(&self, name: &str) -> Result<f64> {
        let mut stream = TcpStream::connect(self.admin.context("not torana")?)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: torana\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.with_context(|| format!("no metric {name}"))?.trim().parse().context("a metric's value")
    }

    /// The first member's address.
    pub(super) fn target(&self) -> Result<SocketAddr> {
        self.targets.first().copied().context("no target")
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn text(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

impl Rig {
    /// Checks nothing yet; a missing program is told of when it is needed.
    pub(super) fn new(args: RunArgs) -> Result<Rig> {
        let rig = Rig { args, own: std::env::current_exe()?, wrapper: Vec::new() };
        rig.pin(std::process::id(), OTHERS_CPU)?;
        Ok(rig)
    }

    /// The same, with proxies run under `wrapper`: a program and its arguments.
    pub(super) fn under(&self, wrapper: Vec<String>) -> Rig {
        Rig { args: self.args.clone(), own: self.own.clone(), wrapper }
    }

    fn start_proxy(&self, name: &str, program: &Path, args: &[String]) -> Result<Process> {
        let Some((first, rest)) = self.wrapper.split_first() else {
            return Process::start(name, program, args);
        };
        let program = program.display().to_string();
        let args: Vec<String> = rest.iter().chain([&program]).chain(args).cloned().collect();
        Process::start(name, Path::new(first), &args)
    }

    /// With `--pin`, moves a process (and what it starts from now on) to one CPU.
    fn pin(&self, pid: u32, cpu: &str) -> Result<()> {
        if self.args.pin {
            let status =
                Command::new("taskset").args(["-a", "-c", "-p", cpu, &pid.to_string()]).output()?.status;
            ensure!(status.success(), "taskset could not move process {pid} to CPU {cpu}");
        }
        Ok(())
    }

    /// This program again, as `idle` and the like.
    pub(super) fn start_own(&self, name: &str, args: &[String]) -> Result<Process> {
        Process::start(name, &self.own, args)
    }

    /// A set of `count` null servers, the first of them primary.
    pub(super) fn null_servers(&self, count: u16) -> Result<Vec<Server>> {
        let first = free_ports(count)?;
        let addresses: Vec<SocketAddr> = (first..first + count).map(local).collect();
        let members = addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        let start = |address: &SocketAddr| {
            let args = text(&["null-server", "--listen", &address.to_string(), "--members", &members]);
            let process = self.start_own("null server", &args)?;
            process.wait_for_line("null-server ready")?;
            Ok(Server { process, address: *address, _data: None })
        };
        addresses.iter().map(start).collect()
    }

    /// A fresh mongod, a replica set of one with [`DOCUMENTS`] loaded.
    pub(super) fn mongod(&self) -> Result<Server> {
        let server = self.replica_set(1)?.remove(0);
        workload::prepare(&mut Session::open(server.address, None)?, DOCUMENTS)?;
        Ok(server)
    }

    /// A fresh replica set of `count`, the first of them primary. No secondary copies from another: each can be made to stand
    /// still alone.
    pub(super) fn replica_set(&self, count: u16) -> Result<Vec<Server>> {
        let first = free_ports(count)?;
        let servers: Vec<Server> =
            (first..first + count).map(|port| self.start_mongod(port)).collect::<Result<_>>()?;
        let members: Vec<Document> = servers
            .iter()
            .zip(0..)
            .map(|(server, id)| {
                doc! { "_id": id, "host": server.address.to_string(), "priority": if id == 0 { 1 } else { 0 } }
            })
            .collect();
        let mut session = wait_for_listener(local(first)).context("mongod does not answer")?;
        for server in &servers {
            wait_for_listener(server.address).context("mongod does not answer")?;
        }
        let config = doc! { "_id": "rs0", "members": members, "settings": { "chainingAllowed": false } };
        session.command("admin", doc! { "replSetInitiate": config })?;
        wait_for_state(&mut session, "isWritablePrimary")?;
        for server in servers.iter().skip(1) {
            wait_for_state(&mut Session::open(server.address, None)?, "secondary")?;
        }
        Ok(servers)
    }

    fn start_mongod(&self, port: u16) -> Result<Server> {
        let program = self.args.mongod.as_ref().context("this scenario needs --mongod")?;
        let data = Scratch::new(&format!("mongod-{port}"))?;
        let log = data.path().join("log");
        let mut args =
            text(&["--replSet", "rs0", "--bind_ip", "127.0.0.1", "--wiredTigerCacheSizeGB", "1", "--quiet"]);
        args.extend(text(&[
            "--setParameter",
            "enableTestCommands=1",
            "--setParameter",
            "diagnosticDataCollectionEnabled=false",
        ]));
        args.extend(text(&["--port", &port.to_string()]));
        args.extend(["--dbpath".to_owned(), data.path().display().to_string()]);
        args.extend(["--logpath".to_owned(), log.display().to_string()]);
        let process = Process::start("mongod", program, &args)?;
        Ok(Server { process, address: local(port), _data: Some(data) })
    }

    /// One ZooKeeper server, alone.
    pub(super) fn zookeeper(&self) -> Result<Server> {
        let (java, jar) = (self.args.java.as_ref(), self.args.zookeeper_jar.as_ref());
        let (java, jar) = (java.context("this scenario needs --java")?, jar.context("and --zookeeper-jar")?);
        let port = free_ports(1)?;
        let data = Scratch::new(&format!("zookeeper-{port}"))?;
        let config = data.write(
            "zoo.cfg",
            &format!(
                "tickTime=500\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n\
                 4lw.commands.whitelist=*\n",
                data.path().display()
            ),
        )?;
        let classes = format!("{}:{}", jar.display(), jar.with_file_name("slf4j-simple.jar").display());
        let mut args = text(&["-Xmx512m", "-XX:+UseSerialGC", "-Dzookeeper.admin.enableServer=false"]);
        args.extend(text(&["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", &classes]));
        args.extend(text(&[
            "org.apache.zookeeper.server.ZooKeeperServerMain",
            &config.display().to_string(),
        ]));
        let process = Process::start("ZooKeeper", java, &args)?;
        let server = Server { process, address: local(port), _data: Some(data) };
        let deadline = Instant::now() + PRIMARY_MAX;
        while !server.says("srvr").is_ok_and(|answer| answer.contains("Mode:")) {
            ensure!(Instant::now() < deadline, "ZooKeeper does not answer within {PRIMARY_MAX:?}");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// Parse Server on the database of `uri`.
    pub(super) fn parse_server(&self, uri: &str) -> Result<Server> {
        let (node, parse) = (self.args.node.as_ref(), self.args.parse.as_ref());
        let (node, parse) = (node.context("this scenario needs --node")?, parse.context("and --parse")?);
        let port = free_ports(1)?;
        let data = Scratch::new(&format!("parse-{port}"))?;
        let program = parse.join("node_modules/parse-server/bin/parse-server");
        // The option of that name comes too late for its log, which would stand in the current folder.
        let logs = format!("PARSE_SERVER_LOGS_FOLDER={}", data.path().display());
        let mut args = text(&[&logs, &node.display().to_string(), &program.display().to_string()]);
        args.extend(text(&["--appId", "bench", "--masterKey", "bench", "--databaseURI", uri]));
        args.extend(text(&[
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--allowClientClassCreation",
            "true",
        ]));
        args.extend(text(&["--serverURL", &format!("http://{}/parse", local(port)), "--silent"]));
        let process = Process::start("Parse Server", Path::new("/usr/bin/env"), &args)?;
        let server = Server { process, address: local(port), _data: Some(data) };
        let deadline = Instant::now() + PRIMARY_MAX;
        let question = "GET /parse/health HTTP/1.0\r\n\r\n";
        while !server.says(question).is_ok_and(|answer| answer.contains(r#""status":"ok""#)) {
            ensure!(Instant::now() < deadline, "Parse Server does not answer within {PRIMARY_MAX:?}");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// `kind` in front of `servers`, ready for clients.
    pub(super) fn subject(&self, kind: Kind, servers: &[Server]) -> Result<Subject> {
        let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
        let subject = match kind {
            Kind::Direct => Subject { kind, targets: addresses, process: None, admin: None, _config: None },
            Kind::Haproxy => self.haproxy(&addresses)?,
            Kind::Torana => self.torana(&addresses, &[])?,
        };
        if let Some(pid) = subject.pid() {
            self.pin(pid, PROXY_CPU)?;
        }
        Ok(subject)
    }

    fn haproxy(&self, servers: &[SocketAddr]) -> Result<Subject> {
        let program = self.args.haproxy.as_ref().context("no --haproxy")?;
        let count = u16::try_from(servers.len())?;
        let first = free_ports(count)?;
        let targets: Vec<SocketAddr> = (first..first + count).map(local).collect();
        let mut text = format!(
            "global\n  nbthread 1\n  maxconn {HAPROXY_CLIENTS_MAX}\ndefaults\n  mode tcp\n  maxconn {HAPROXY_CLIENTS_MAX}\n  \
             backlog 4096\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n"
        );
        for (target, server) in targets.iter().zip(servers) {
            text.push_str(&format!("listen p{}\n  bind {target}\n  server s {server}\n", target.port()));
        }
        let config = Scratch::new(&format!("haproxy-{first}"))?;
        let file = config.write("haproxy.cfg", &text)?;
        let process =
            self.start_proxy("HAProxy", program, &["-db".into(), "-f".into(), file.display().to_string()])?;
        for target in &targets {
            wait_for_listener(*target).context("HAProxy does not answer")?;
        }
        Ok(Subject {
            kind: Kind::Haproxy,
            targets,
            process: Some(process),
            admin: None,
            _config: Some(config),
        })
    }

    /// torana in front of `servers`, with further arguments.
    pub(super) fn torana(&self, servers: &[SocketAddr], further: &[&str]) -> Result<Subject> {
        let program = self.args.torana.as_ref().context("no --torana")?;
        let count = u16::try_from(servers.len())?;
        let first = free_ports(count + 1)?;
        let seeds = servers.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        let uri = format!("mongodb://{seeds}/?replicaSet=rs0");
        let mut args = text(&["serve", &uri, "--threads", "1"]);
        if let Some(pool_max) = self.args.pool_max {
            args.extend(text(&["--pool-max", &pool_max.to_string()]));
        }
        let admin = local(first + count);
        args.extend(text(&["--listen", &local(first).to_string(), "--admin", &admin.to_string()]));
        args.extend(text(further));
        let process = self.start_proxy("torana", program, &args)?;
        let ready = process.wait_for_line("torana ready:")?;
        let targets = listeners(&ready, servers)?;
        Ok(Subject { kind: Kind::Torana, targets, process: Some(process), admin: Some(admin), _config: None })
    }
}

/// The listener of each server, from `torana ready: rs0 127.0.0.1:27117->db1:27017 ...`.
fn listeners(ready: &str, servers: &[SocketAddr]) -> Result<Vec<SocketAddr>> {
    let pairs: Vec<(&str, &str)> =
        ready.split_whitespace().filter_map(|word| word.split_once("->")).collect();
    let listener_of = |server: &SocketAddr| {
        let (listener, _) = pairs
            .iter()
            .find(|(_, member)| *member == server.to_string())
            .with_context(|| format!("torana has no listener for {server}: {ready}"))?;
        listener.parse().with_context(|| format!("torana listens on {listener:?}"))
    };
    servers.iter().map(listener_of).collect()
}

/// Tries until somebody answers hello.
fn wait_for_listener(address: SocketAddr) -> Result<Session> {
    let deadline = Instant::now() + PRIMARY_MAX;
    loop {
        match Session::open(address, None) {
            Ok(session) => return Ok(session),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn wait_for_state(session: &mut Session, state: &str) -> Result<()> {
    let deadline = Instant::now() + PRIMARY_MAX;
    // A bare hello: a second one with a `client` document is error 186.
    while !session.command("admin", doc! { "hello": 1 })?.get_bool(state).unwrap_or(false) {
        ensure!(Instant::now() < deadline, "mongod did not become {state} within {PRIMARY_MAX:?}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
