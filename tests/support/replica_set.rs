//! A replica set of real mongods: any shape, its elections, its reconfigurations.

use std::sync::OnceLock;
use std::time::Duration;

use bson::{Bson, Document, doc};

use super::members::Member;
use super::mongod::{Mongod, MongodOptions, Version};
use super::raw::{RawClient, is_ok};
use super::relay::Relay;
use super::wait::wait_for;

/// What `build` starts with: three plain members of 6.0.5 on 127.0.0.1.
#[derive(Debug, Clone)]
pub struct Builder {
    members: Vec<Member>,
    name: String,
    version: Version,
    own_addresses: bool,
    relayed: bool,
    initiate: bool,
    chained: bool,
    election_timeout: Duration,
    arguments: Vec<String>,
}

/// A running set.
#[derive(Debug)]
pub struct ReplicaSet {
    /// The members, by index as they were given. They may be killed, paused and restarted here.
    pub members: Vec<Mongod>,
    /// The relay in front of each member; empty unless asked for.
    pub relays: Vec<Relay>,
    builder: Builder,
}

/// An initial sync and an election, on a machine that does other work too.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);

impl Builder {
    /// A member more than those given so far.
    pub fn member(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    /// Another version than 6.0.5.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Another name than `rs0`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Members on 127.0.0.2, 127.0.0.3, ...: then no real address can be mistaken for one of torana's.
    pub fn own_addresses(mut self) -> Self {
        self.own_addresses = true;
        self
    }

    /// A fault relay in front of each member; the configuration names the relays, so that torana connects to those.
    pub fn relayed(mut self) -> Self {
        self.relayed = true;
        self
    }

    /// Started and not initiated.
    pub fn uninitiated(mut self) -> Self {
        self.initiate = false;
        self
    }

    /// How long a primary must be silent before the others elect. Default here 2 s; MongoDB's own is 10 s,
    /// and with 1 s a busy machine elects when nothing has happened.
    pub fn election_timeout(mut self, timeout: Duration) -> Self {
        self.election_timeout = timeout;
        self
    }

    /// Secondaries copy from the primary alone: one that stands still then holds up no other.
    pub fn unchained(mut self) -> Self {
        self.chained = false;
        self
    }

    /// Further arguments for every mongod.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts the processes, initiates, and waits until there is a primary and every other member is in step.
    pub fn start(self) -> ReplicaSet {
        let mut set = ReplicaSet { members: Vec::new(), relays: Vec::new(), builder: self };
        for index in 0..set.builder.members.len() {
            set.launch_member(index);
        }
        set.members.iter_mut().for_each(Mongod::wait_answers);
        if set.builder.initiate {
            set.members[0].client().run("admin", doc! { "replSetInitiate": set.initial_config() });
            set.wait_healthy();
        }
        set
    }
}

impl ReplicaSet {
    /// A set without members yet, for `.member(...)`.
    pub fn builder() -> Builder {
        Builder {
            members: Vec::new(),
            name: "rs0".into(),
            version: Version::V60,
            own_addresses: false,
            relayed: false,
            initiate: true,
            chained: true,
            election_timeout: Duration::from_secs(2),
            arguments: Vec::new(),
        }
    }

    /// A builder with `count` plain members.
    pub fn of(count: usize) -> Builder {
        (0..count).fold(ReplicaSet::builder(), |builder, _| builder.member(Member::plain()))
    }

    /// Three plain members, started once for all tests of this process: for tests that neither stop a member nor
    /// reconfigure, and that keep to a database of their own. It ends with the process. (nextest runs each test in
    /// its own process: there it saves nothing.)
    pub fn shared() -> &'static ReplicaSet {
        static SHARED: OnceLock<ReplicaSet> = OnceLock::new();
        SHARED.get_or_init(|| ReplicaSet::of(3).start())
    }

    /// The set's name.
    pub fn name(&self) -> &str {
        &self.builder.name
    }

    /// Member `index` as the configuration names it: its relay's address if it has one.
    pub fn host(&self, index: usize) -> String {
        self.relays
            .get(index)
            .map_or_else(|| self.members[index].address(), |relay| relay.address().to_string())
    }

    /// All members as the configuration names them.
    pub fn hosts(&self) -> Vec<String> {
        (0..self.members.len()).map(|index| self.host(index)).collect()
    }

    /// The connection string that an operator would hand to torana.
    pub fn uri(&self) -> String {
        format!("mongodb://{}/?replicaSet={}", self.hosts().join(","), self.name())
    }

    /// A new connection straight to member `index`, past its relay.
    pub fn client(&self, index: usize) -> RawClient {
        self.members[index].client()
    }

    /// The index of the member that calls itself a writable primary, if one does now.
    pub fn find_primary(&self) -> Option<usize> {
        (0..self.members.len()).find(|index| self.says(*index, "isWritablePrimary"))
    }

    /// Waits for a primary.
    pub fn primary(&self) -> usize {
        wait_for("a primary", SETTLE_LIMIT, || self.find_primary())
    }

    /// Waits for a primary other than member `old`.
    pub fn primary_other_than(&self, old: usize) -> usize {
        wait_for("another primary", SETTLE_LIMIT, || self.find_primary().filter(|new| *new != old))
    }

    /// The index of some running secondary.
    pub fn secondary(&self) -> usize {
        wait_for("a secondary", SETTLE_LIMIT, || {
            (0..self.members.len()).find(|index| self.says(*index, "secondary"))
        })
    }

    /// Waits until one running member is primary and every other running one is a secondary or an arbiter, with no
    /// change of the configuration still on its way.
    pub fn wait_healthy(&self) {
        wait_for("a primary, and all others in step", SETTLE_LIMIT, || {
            let running = (0..self.members.len()).filter(|index| self.members[*index].is_up());
            let states: Vec<i32> = running.map(|index| self.state(index)).collect();
            let primaries = states.iter().filter(|state| **state == 1).count();
            let settled = primaries == 1 && states.iter().all(|state| [1, 2, 7].contains(state));
            // A member is in state 1 a moment before it takes writes, while it catches up.
            (settled && self.find_primary().is_some()).then_some(())
        });
    }

    /// The current configuration.
    pub fn config(&self) -> Document {
        let reply = self.client(self.primary()).run("admin", doc! { "replSetGetConfig": 1 });
        reply.get_document("config").expect("a configuration").clone()
    }

    /// Changes the configuration, its version counted up, and waits until the set is healthy again.
    pub fn reconfig(&self, change: impl FnOnce(&mut Document)) {
        let mut config = self.config();
        change(&mut config);
        config.insert("version", config.get_i32("version").expect("a version") + 1);
        self.retried_on_primary(&doc! { "replSetReconfig": config });
        self.wait_healthy();
    }

    /// Asks the primary to step down for a minute; gives its index. It may close connections instead of answering.
    pub fn step_down(&self) -> usize {
        let primary = self.primary();
        let _ = self.client(primary).try_command("admin", doc! { "replSetStepDown": 60, "force": true });
        primary
    }

    /// Starts one more member and adds it; gives its index.
    pub fn add_member(&mut self, member: Member) -> usize {
        let index = self.members.len();
        self.builder.members.push(member.clone());
        self.launch_member(index);
        self.members[index].wait_answers();
        let host = self.host(index);
        self.reconfig(|config| {
            let members = config.get_array_mut("members").expect("members");
            let highest = members.iter().filter_map(|entry| entry.as_document()?.get_i32("_id").ok()).max();
            members.push(Bson::Document(member.config(highest.unwrap_or(0) + 1, &host)));
        });
        index
    }

    /// Takes member `index` out of the configuration. Its process runs on, so that indexes stay.
    pub fn remove_member(&self, index: usize) {
        let host = self.host(index);
        let mut config = self.config();
        let members = config.get_array_mut("members").expect("members");
        members.retain(|entry| {
            entry.as_document().is_none_or(|entry| entry.get_str("host").ok() != Some(&host))
        });
        config.insert("version", config.get_i32("version").expect("a version") + 1);
        self.retried_on_primary(&doc! { "replSetReconfig": config });
    }

    /// The configuration that `replSetInitiate` gets, for tests of uninitiated sets too.
    pub fn initial_config(&self) -> Document {
        let members = self.builder.members.iter().enumerate();
        let members: Vec<Document> =
            members.map(|(index, member)| member.config(index as i32, &self.host(index))).collect();
        let timeout = self.builder.election_timeout.as_millis() as i64;
        // Heartbeats are what members learn of each other by: twice in an election time-out, and so fast at the start too.
        let settings = doc! { "electionTimeoutMillis": timeout, "heartbeatIntervalMillis": timeout.min(2_000) / 2,
        "chainingAllowed": self.builder.chained };
        doc! { "_id": self.name(), "members": members, "settings": settings }
    }

    fn launch_member(&mut self, index: usize) {
        let host =
            if self.builder.own_addresses { format!("127.0.0.{}", index + 2) } else { "127.0.0.1".into() };
        self.members.push(Mongod::launch(MongodOptions {
            version: self.builder.version,
            host,
            replica_set: Some(self.builder.name.clone()),
            arguments: self.builder.arguments.clone(),
        }));
        if self.builder.relayed {
            self.relays.push(Relay::to(&self.members[index].address()));
        }
    }

    /// A primary refuses a reconfiguration for a moment after its election and while another is on its way.
    fn retried_on_primary(&self, command: &Document) {
        let mut refusal = Document::new();
        let accepted = std::time::Instant::now();
        while accepted.elapsed() < SETTLE_LIMIT {
            match self.client(self.primary()).try_command("admin", command.clone()) {
                Ok(reply) if is_ok(&reply) => return,
                Ok(reply) => refusal = reply,
                Err(error) => refusal = doc! { "error": error.to_string() },
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{command} was answered {refusal}");
    }

    /// Whether a running, responsive member's hello has `field: true`.
    fn says(&self, index: usize, field: &str) -> bool {
        self.ask(index, doc! { "hello": 1 }).is_some_and(|reply| reply.get_bool(field).unwrap_or(false))
    }

    /// The member's own state: 1 primary, 2 secondary, 7 arbiter; 0 if it does not say.
    fn state(&self, index: usize) -> i32 {
        self.ask(index, doc! { "replSetGetStatus": 1 })
            .and_then(|reply| reply.get_i32("myState").ok())
            .unwrap_or(0)
    }

    fn ask(&self, index: usize, command: Document) -> Option<Document> {
        let member = self.members.get(index).filter(|member| member.is_up())?;
        let mut client = RawClient::try_connect(&member.address()).ok()?;
        // A paused member accepts and says nothing.
        client.set_timeout(Duration::from_millis(500));
        client.try_command("admin", command).ok()
    }
}
