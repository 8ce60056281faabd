//! The rules of server discovery and monitoring for one replica set (SDAM specification), without sockets or clock:
//! hello replies, losses and configurations go in with a time, actions come out.
//!
//! It never decides what a client is told: that is each server's own newest hello. It decides who is a member,
//! who is monitored, and who is primary. Called by the driver task only.

use std::fmt::Write;

use tokio::time::Instant;

use super::address::HostPort;
use super::description::{ElectionId, MemberKind, ServerDescription};
use super::elections::Elections;
use super::event::Loss;
use super::membership::{ConfigAnswer, Membership, View};
use super::set_config::ConfigMember;

/// What to discover.
#[derive(Debug, Clone)]
pub struct SetOptions {
    /// Where to begin; any one live seed suffices.
    pub seeds: Vec<HostPort>,
    /// The name that the set must have. Without it the first server that names one decides.
    pub set_name: Option<String>,
    /// Exactly the first seed, whatever it is.
    pub direct: bool,
}

/// What the caller has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin to monitor a server.
    Start(HostPort),
    /// Stop monitoring it; nothing of it is reported any more.
    Stop(HostPort),
    /// Ask it for the set's configuration.
    AskConfig(HostPort),
    /// Ask it for a hello at once.
    Check(HostPort),
    /// It belongs to the set from now on.
    Added(HostPort),
    /// It no longer belongs to the set.
    Removed(HostPort),
    /// A member answers no more.
    Lost(HostPort, Loss),
    /// A member answers: for the first time, or again.
    Recovered(HostPort),
    /// A member's process is another than before.
    Restarted(HostPort),
    /// Another member is primary, or none.
    PrimaryChanged(PrimaryChange),
}

/// A change of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryChange {
    /// Who was primary.
    pub old: Option<HostPort>,
    /// Who is.
    pub new: Option<HostPort>,
    /// The newest election known.
    pub election_id: Option<ElectionId>,
}

#[derive(Debug)]
struct Server {
    address: HostPort,
    kind: MemberKind,
    /// Answers, and with what may be served.
    up: bool,
    /// Was heard of, or failed, at least once.
    attempted: bool,
    error: Option<String>,
    process_id: Option<[u8; 12]>,
}

/// The state of one set.
#[derive(Debug)]
pub struct SetState {
    options: SetOptions,
    servers: Vec<Server>,
    members: Vec<ConfigMember>,
    membership: Membership,
    elections: Elections,
    learned_name: Option<String>,
    primary: Option<HostPort>,
}

impl SetState {
    /// A set of which only the seeds are known, and the first actions: to monitor them.
    pub fn new(options: SetOptions, now: Instant) -> (SetState, Vec<Action>) {
        let mut state = SetState {
            options,
            servers: Vec::new(),
            members: Vec::new(),
            membership: Membership::default(),
            elections: Elections::default(),
            learned_name: None,
            primary: None,
        };
        if state.options.direct {
            state.options.seeds.truncate(1);
        }
        let mut actions = Vec::new();
        state.settle(now, &mut actions);
        (state, actions)
    }

    /// The members in the order of the configuration; empty until they are known.
    pub fn members(&self) -> &[ConfigMember] {
        &self.members
    }

    /// The member that is primary.
    pub fn primary(&self) -> Option<&HostPort> {
        self.primary.as_ref()
    }

    /// The set's name, asked for or learned.
    pub fn set_name(&self) -> Option<&str> {
        self.options.set_name.as_deref().or(self.learned_name.as_deref())
    }

    /// What the server counts as. A primary of an older election counts as unknown, whatever it says.
    pub fn kind(&self, address: &HostPort) -> MemberKind {
        self.servers.iter().find(|s| s.address == *address).map(|s| s.kind).unwrap_or_default()
    }

    /// What is wrong with the server.
    pub fn error(&self, address: &HostPort) -> Option<&str> {
        self.servers.iter().find(|s| s.address == *address)?.error.as_deref()
    }

    /// Whether the server answers and is of this set, so that its hello may be shown to clients.
    pub fn is_up(&self, address: &HostPort) -> bool {
        self.servers.iter().any(|server| server.address == *address && server.up)
    }

    /// A server answered hello.
    pub fn on_hello(&mut self, from: &HostPort, hello: &ServerDescription, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(index) = self.position(from) {
            match self.judge(hello) {
                Ok(()) => self.accept(index, hello, now, &mut actions),
                Err(why) => self.lose(index, why.into(), &mut actions),
            }
            self.settle(now, &mut actions);
        }
        actions
    }

    /// A server closed its connection, did not answer in time, or could not be reached.
    pub fn on_lost(&mut self, from: &HostPort, loss: Loss, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(index) = self.position(from) {
            self.lose(index, loss, &mut actions);
            self.settle(now, &mut actions);
        }
        actions
    }

    /// The answer to [`Action::AskConfig`].
    pub fn on_config(&mut self, from: &HostPort, answer: ConfigAnswer, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.membership.on_config(from, answer);
        self.settle(now, &mut actions);
        actions
    }

    /// Time went by; to be called at [`SetState::next_timeout`].
    pub fn on_time(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.settle(now, &mut actions);
        actions
    }

    /// When something happens without any event.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        self.membership.next_timeout(now)
    }

    /// One line for people: the set, its primary, and what is wrong with whom.
    pub fn status(&self) -> String {
        let mut text = match self.set_name() {
            Some(name) => format!("replica set '{name}'"),
            None => "replica set of unknown name".to_owned(),
        };
        let answering = self.members.iter().filter(|member| self.is_up(&member.address)).count();
        let _ = match self.members.len() {
            0 => write!(text, ": members not known yet"),
            all => write!(text, ": {answering} of {all} members answer"),
        };
        if let Some(primary) = &self.primary {
            let _ = write!(text, ", primary {primary}");
        }
        for server in &self.servers {
            let _ = match &server.error {
                Some(error) => write!(text, "; {}: {error}", server.address),
                None if !server.attempted => write!(text, "; {}: has not answered yet", server.address),
                None => Ok(()),
            };
        }
        text
    }

    fn position(&self, address: &HostPort) -> Option<usize> {
        self.servers.iter().position(|server| server.address == *address)
    }

    fn is_member(&self, address: &HostPort) -> bool {
        self.members.iter().any(|member| member.address == *address)
    }

    /// Whether a server that says `hello` can be one of this set.
    fn judge(&self, hello: &ServerDescription) -> Result<(), String> {
        let expected = self.set_name();
        match (&hello.set_name, expected, hello.kind) {
            (Some(theirs), Some(ours), _) if theirs != ours => {
                Err(format!("it belongs to replica set '{theirs}', but '{ours}' is asked for"))
            }
            (_, Some(ours), MemberKind::Standalone) => Err(format!(
                "it is a standalone mongod, started without --replSet, but replica set '{ours}' is asked for"
            )),
            (_, _, MemberKind::Standalone) if self.options.seeds.len() > 1 => {
                Err("it is a standalone mongod, but several seeds mean a replica set".to_owned())
            }
            (_, _, MemberKind::Mongos) if !self.options.direct => {
                Err("it is a mongos; torana stands in front of replica sets and single mongods".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn lose(&mut self, index: usize, loss: Loss, actions: &mut Vec<Action>) {
        let Some(server) = self.servers.get_mut(index) else { return };
        let was_up = std::mem::replace(&mut server.up, false);
        server.attempted = true;
        server.kind = MemberKind::Unknown;
        server.error = Some(loss.cause.clone());
        let address = server.address.clone();
        self.membership.forget_question(&address);
        if was_up && self.is_member(&address) {
            actions.push(Action::Lost(address, loss));
        }
    }

    fn accept(&mut self, index: usize, hello: &ServerDescription, now: Instant, actions: &mut Vec<Action>) {
        let Some(server) = self.servers.get_mut(index) else { return };
        let was_up = std::mem::replace(&mut server.up, true);
        server.attempted = true;
        server.error = None;
        server.kind = hello.kind;
        let process_id = hello.topology_version.map(|version| version.process_id);
        let before = server.process_id;
        server.process_id = process_id.or(before);
        let address = server.address.clone();
        if self.is_member(&address) {
            if before.is_some() && process_id.is_some() && before != process_id {
                actions.push(Action::Restarted(address.clone()));
            }
            if !was_up {
                actions.push(Action::Recovered(address.clone()));
            }
        }
        if hello.kind.is_in_set() && !self.options.direct {
            self.learned_name.clone_from(&hello.set_name);
            self.take_view(index, hello, now, actions);
            let ask = hello.kind.is_data_bearing() && self.is_best_source(index);
            if ask && self.membership.ask(&address, now) {
                actions.push(Action::AskConfig(address));
            }
        }
    }

    /// A primary is asked for the configuration where there is one: its own is never behind.
    fn is_best_source(&self, index: usize) -> bool {
        let is_primary = |server: &Server| server.kind == MemberKind::Primary;
        self.servers.get(index).is_some_and(is_primary) || !self.servers.iter().any(is_primary)
    }

    /// Believes the lists of a primary of the newest election; while there is none, those of any member that knows
    /// a newer configuration.
    fn take_view(
        &mut self,
        index: usize,
        hello: &ServerDescription,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let newest = self.elections.election_id;
        if hello.kind == MemberKind::Primary {
            if !self.elections.admit(hello) {
                if let Some(server) = self.servers.get_mut(index) {
                    server.kind = MemberKind::Unknown;
                    server.error = Some("it says it is primary, by an older election".to_owned());
                }
                return;
            }
            let is_new = self.elections.election_id != newest;
            self.demote_others(index, is_new, actions);
        } else {
            let newer = hello.set_version > self.membership.set_version() || !self.membership.is_known();
            if !newer || self.servers.iter().any(|server| server.kind == MemberKind::Primary) {
                return;
            }
        }
        let listed: Vec<HostPort> = hello.listed().cloned().collect();
        if !listed.is_empty() {
            let view =
                View { listed, set_version: hello.set_version, election_id: self.elections.election_id };
            self.membership.adopt(view, now);
        }
    }

    /// There is one primary. Whoever else said so is asked again.
    fn demote_others(&mut self, index: usize, ask: bool, actions: &mut Vec<Action>) {
        for (other, server) in self.servers.iter_mut().enumerate() {
            if other != index && server.kind == MemberKind::Primary {
                server.kind = MemberKind::Unknown;
                if ask {
                    actions.push(Action::Check(server.address.clone()));
                }
            }
        }
    }
}

mod settle;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
