//! A simulated set with elections, partitions, reconfigurations and delayed replies, and a `SetState` that follows
//! it. A failure names its seed; the seed alone reproduces it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::topology::set_config::SetConfig;

const RUNS: u64 = 1000;
const STEPS: usize = 120;
/// A name that stays in the configuration, so that there is always a way in.
const SEED: u16 = 1;

#[derive(Clone)]
struct Entry {
    id: i64,
    port: u16,
    kind: MemberKind,
}

struct Node {
    /// The last configuration that reached it.
    config: usize,
    /// The election that it believes to have won.
    term: Option<u8>,
    alive: bool,
    replies: VecDeque<Option<ServerDescription>>,
}

struct World {
    random: StdRng,
    now: Instant,
    wire: i64,
    configs: Vec<Vec<Entry>>,
    nodes: BTreeMap<u16, Node>,
    term: u8,
    primary: u16,
    next: u16,
    state: SetState,
    monitored: BTreeSet<HostPort>,
    questions: Vec<HostPort>,
    members: BTreeSet<HostPort>,
    up: BTreeSet<HostPort>,
    told_primary: Option<HostPort>,
}

fn address(port: u16) -> HostPort {
    HostPort::new("db", port)
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let wire = if random.random_bool(0.5) { 17 } else { 13 };
        let count = random.random_range(1..=5);
        let entry = |id: u16| Entry { id: id.into(), port: SEED + id, kind: MemberKind::Secondary };
        let config: Vec<Entry> = (0..count).map(entry).collect();
        let now = Instant::now();
        let seeds = vec![address(SEED), address(999)];
        let (state, actions) = SetState::new(SetOptions { seeds, set_name: None, direct: false }, now);
        let mut world = World {
            random,
            now,
            wire,
            state,
            term: 1,
            primary: SEED,
            next: SEED + count,
            nodes: BTreeMap::new(),
            configs: vec![config.clone()],
            monitored: BTreeSet::new(),
            questions: Vec::new(),
            members: BTreeSet::new(),
            up: BTreeSet::new(),
            told_primary: None,
        };
        config.iter().for_each(|entry| world.add_node(entry.port));
        world.node(SEED).term = Some(1);
        world.carry_out(actions);
        world
    }

    fn add_node(&mut self, port: u16) {
        let config = self.configs.len() - 1;
        self.nodes.insert(port, Node { config, term: None, alive: true, replies: VecDeque::new() });
    }

    fn node(&mut self, port: u16) -> &mut Node {
        self.nodes.get_mut(&port).unwrap()
    }

    fn any_node(&mut self) -> u16 {
        let index = self.random.random_range(0..self.nodes.len());
        *self.nodes.keys().nth(index).unwrap()
    }

    fn newest(&self) -> &Vec<Entry> {
        self.configs.last().unwrap()
    }

    /// What a node says now, by what it knows.
    fn said_by(&self, port: u16) -> Option<ServerDescription> {
        let node = self.nodes.get(&port).filter(|node| node.alive)?;
        let config = &self.configs[node.config];
        let Some(own) = config.iter().find(|entry| entry.port == port) else {
            return Some(ServerDescription { kind: MemberKind::Ghost, ..ServerDescription::default() });
        };
        let listed = config.iter().filter(|entry| entry.kind != MemberKind::Hidden);
        Some(ServerDescription {
            kind: if node.term.is_some() { MemberKind::Primary } else { own.kind },
            set_name: Some("rs0".into()),
            set_version: Some(node.config as i64 + 1),
            election_id: node.term.map(|term| ElectionId([term; 12])),
            hosts: listed.map(|entry| address(entry.port)).collect(),
            max_wire_version: self.wire,
            ..ServerDescription::default()
        })
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..4 => self.elect(),
            4..8 => {
                let port = self.any_node();
                if port != self.primary {
                    self.node(port).term = None;
                }
            }
            8..14 => self.reconfigure(),
            14..22 => {
                let (port, newest) = (self.any_node(), self.configs.len() - 1);
                // Who hears of a configuration hears of the election that it came with.
                let stale = port != self.primary;
                let node = self.node(port);
                node.config = newest;
                if stale {
                    node.term = None;
                }
            }
            22..26 => {
                let port = self.any_node();
                self.node(port).alive ^= true;
            }
            26..56 => {
                let port = self.any_node();
                let said = self.said_by(port);
                self.node(port).replies.push_back(said);
            }
            56..86 => {
                let port = self.any_node();
                if let Some(reply) = self.node(port).replies.pop_front() {
                    self.deliver(port, reply);
                }
            }
            86..96 => self.answer_question(),
            _ => {
                self.now += Duration::from_millis(self.random.random_range(1..1500));
                let actions = self.state.on_time(self.now);
                self.carry_out(actions);
            }
        }
        self.check();
    }

    /// A node of the newest configuration wins; the old primary goes on believing in itself.
    fn elect(&mut self) {
        let able: Vec<u16> = self.newest().iter().map(|entry| entry.port).collect();
        let winner = able[self.random.random_range(0..able.len())];
        self.term += 1;
        self.primary = winner;
        let (term, newest) = (self.term, self.configs.len() - 1);
        let node = self.node(winner);
        (node.term, node.config, node.alive) = (Some(term), newest, true);
    }

    fn reconfigure(&mut self) {
        let mut config = self.newest().clone();
        let at = self.random.random_range(0..config.len());
        let fixed = [SEED, self.primary].contains(&config[at].port);
        match self.random.random_range(0..4) {
            0 if config.len() < 7 => {
                let port = self.next;
                self.next += 1;
                let id = config.iter().map(|entry| entry.id).max().unwrap() + 1;
                config.insert(at, Entry { id, port, kind: MemberKind::Secondary });
                self.configs.push(config);
                return self.add_node(port);
            }
            1 if !fixed => drop(config.remove(at)),
            2 if !fixed => {
                config[at].kind = if config[at].kind == MemberKind::Hidden {
                    MemberKind::Passive
                } else {
                    MemberKind::Hidden
                };
            }
            3 if !fixed => {
                let old = std::mem::replace(&mut config[at].port, self.next);
                self.next += 1;
                self.configs.push(config);
                self.nodes.remove(&old);
                return self.add_node(self.next - 1);
            }
            _ => config.reverse(),
        }
        self.configs.push(config);
        let (primary, newest) = (self.primary, self.configs.len() - 1);
        self.node(primary).config = newest;
    }

    fn deliver(&mut self, port: u16, reply: Option<ServerDescription>) {
        let from = address(port);
        if self.monitored.contains(&from) {
            let actions = match reply {
                Some(hello) => self.state.on_hello(&from, &hello, self.now),
                None => {
                    self.questions.retain(|asked| *asked != from);
                    self.state.on_lost(&from, "dead".to_owned().into(), self.now)
                }
            };
            self.carry_out(actions);
        }
    }

    fn answer_question(&mut self) {
        if let Some(from) = self.questions.pop() {
            let config = self.nodes.get(&from.port()).filter(|node| node.alive).map(|node| node.config);
            let answer = match config {
                Some(config) => {
                    let member = |e: &Entry| ConfigMember { id: Some(e.id), address: address(e.port) };
                    let members = self.configs[config].iter().map(member).collect();
                    ConfigAnswer::Known(SetConfig { version: config as i64 + 1, members })
                }
                None => ConfigAnswer::Failed,
            };
            let actions = self.state.on_config(&from, answer, self.now);
            self.carry_out(actions);
        }
    }

    /// Does what the driver does, and holds every event against the one before.
    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in &actions {
            match action {
                Action::Start(address) => assert!(self.monitored.insert(address.clone())),
                Action::Stop(address) => {
                    assert!(self.monitored.remove(address));
                    if let Some(node) = self.nodes.get_mut(&address.port()) {
                        node.replies.clear();
                    }
                    self.questions.retain(|asked| asked != address);
                }
                _ => {}
            }
        }
        for action in actions {
            match action {
                Action::Start(_) | Action::Stop(_) | Action::Check(_) => {}
                // What is asked of a server that the same step stopped goes nowhere.
                Action::AskConfig(from) if !self.monitored.contains(&from) => {}
                Action::AskConfig(from) => self.questions.push(from),
                Action::Added(address) => assert!(self.members.insert(address)),
                Action::Removed(address) => {
                    self.up.remove(&address);
                    assert!(self.members.remove(&address));
                }
                Action::Recovered(address) => {
                    assert!(self.members.contains(&address) && self.up.insert(address));
                }
                Action::Lost(address, _) => assert!(self.up.remove(&address)),
                Action::Restarted(address) => assert!(self.members.contains(&address)),
                Action::PrimaryChanged(change) => {
                    assert!(change.old == self.told_primary && change.old != change.new);
                    self.told_primary = change.new;
                }
            }
        }
    }

    /// What holds at every moment.
    fn check(&self) {
        let members: BTreeSet<HostPort> =
            self.state.members().iter().map(|member| member.address.clone()).collect();
        assert_eq!(members, self.members, "events and members");
        assert!(members.is_subset(&self.monitored), "a member is not monitored");
        assert!(self.monitored.contains(&address(SEED)) || !members.is_empty(), "no way in");
        let up: BTreeSet<HostPort> = members.iter().filter(|m| self.state.is_up(m)).cloned().collect();
        assert_eq!(up, self.up, "events and who answers");
        let is_primary = |server: &&Server| server.kind == MemberKind::Primary;
        assert!(self.state.servers.iter().filter(is_primary).count() <= 1, "two primaries");
        assert_eq!(self.told_primary.as_ref(), self.state.primary());
        assert!(self.questions.len() <= 1, "two questions at once");
    }

    /// All heal, and everyone says what is so, a few times over.
    fn heal(&mut self) {
        let (primary, term, newest) = (self.primary, self.term, self.configs.len() - 1);
        for (port, node) in &mut self.nodes {
            node.replies.clear();
            (node.alive, node.config) = (true, newest);
            node.term = (*port == primary).then_some(term);
        }
        for _ in 0..20 {
            self.now += Duration::from_millis(500);
            let actions = self.state.on_time(self.now);
            self.carry_out(actions);
            for from in self.monitored.clone() {
                let said = self.said_by(from.port());
                self.deliver(from.port(), said);
                self.answer_question();
                self.check();
            }
        }
    }

    fn check_healed(&self) {
        let wanted: Vec<ConfigMember> = self
            .newest()
            .iter()
            .map(|entry| ConfigMember { id: Some(entry.id), address: address(entry.port) })
            .collect();
        assert_eq!(self.state.members(), wanted);
        assert_eq!(self.state.primary(), Some(&address(self.primary)));
        assert_eq!(self.monitored, self.members);
        assert_eq!(self.up, self.members);
        for entry in self.newest().iter().filter(|entry| entry.port != self.primary) {
            assert_eq!(self.state.kind(&address(entry.port)), entry.kind);
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    let mut newest = None;
    for _ in 0..STEPS {
        world.step();
        assert!(world.state.elections.election_id >= newest, "an older election won");
        newest = world.state.elections.election_id;
    }
    world.heal();
    world.check_healed();
}

#[test]
fn through_elections_partitions_and_reconfigurations_the_state_ends_with_what_is_so() {
    for seed in 0..RUNS {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
