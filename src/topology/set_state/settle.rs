//! The second half of every step: from what is known of each server to members, monitors and primary.

use tokio::time::Instant;

use super::{Action, PrimaryChange, Server, SetState};
use crate::topology::address::HostPort;
use crate::topology::description::MemberKind;
use crate::topology::elections::Elections;
use crate::topology::membership::Membership;
use crate::topology::set_config::ConfigMember;

impl SetState {
    /// Brings members, monitors and primary in line with what is known, and says what changed.
    pub(super) fn settle(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.forget_a_set_that_was_wiped();
        if let Some(members) = self.wanted_members(now) {
            self.replace_members(members, actions);
        }
        self.replace_monitors(now, actions);
        self.replace_primary(actions);
    }

    /// When every server that answers is uninitiated, the set that we knew is gone, with its elections: a newly
    /// initiated one begins at term 1, and would be taken for an old primary otherwise.
    fn forget_a_set_that_was_wiped(&mut self) {
        let mut up = self.servers.iter().filter(|server| server.up).peekable();
        let all_answer = self.members.iter().all(|member| self.is_up(&member.address));
        let all_answer = all_answer && !self.members.is_empty();
        if up.peek().is_some() && all_answer && up.all(|server| server.kind == MemberKind::Ghost) {
            self.membership = Membership::default();
            self.elections = Elections::default();
            self.learned_name = None;
        }
    }

    /// Who should be members; `None` to leave them as they are.
    fn wanted_members(&self, now: Instant) -> Option<Vec<ConfigMember>> {
        let seeds = || self.options.seeds.iter().map(|address| member(address.clone())).collect();
        if self.options.direct {
            return self.servers.iter().any(|server| server.up).then(seeds);
        }
        if self.membership.is_known() {
            return self.membership.members(now);
        }
        let is = |kind| move |server: &Server| server.up && server.kind == kind;
        if let Some(standalone) = self.servers.iter().find(|server| is(MemberKind::Standalone)(server)) {
            return Some(vec![member(standalone.address.clone())]);
        }
        // A ghost may be a member-to-be beside a set that another seed knows: wait until all seeds were tried.
        let tried = self.servers.iter().all(|server| server.attempted);
        (self.members.is_empty() && tried && self.servers.iter().any(is(MemberKind::Ghost))).then(seeds)
    }

    fn replace_members(&mut self, members: Vec<ConfigMember>, actions: &mut Vec<Action>) {
        let old = std::mem::replace(&mut self.members, members);
        for gone in old.iter().filter(|member| !self.is_member(&member.address)) {
            actions.push(Action::Removed(gone.address.clone()));
        }
        let is_new = |member: &&ConfigMember| !old.iter().any(|before| before.address == member.address);
        for new in self.members.iter().filter(is_new) {
            actions.push(Action::Added(new.address.clone()));
            if self.is_up(&new.address) {
                actions.push(Action::Recovered(new.address.clone()));
            }
        }
    }

    /// Members are monitored and who may soon be one; the seeds too while no member answers as one: they may know
    /// where the set has gone.
    fn replace_monitors(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let mut wanted: Vec<HostPort> = self.members.iter().map(|member| member.address.clone()).collect();
        let is_of_use = |address| self.is_up(address) && self.kind(address) != MemberKind::Ghost;
        let all_lost = !wanted.iter().any(is_of_use);
        let seeds = self.options.seeds.iter().filter(|_| all_lost);
        for address in self.membership.candidates(now).iter().chain(seeds) {
            if !wanted.contains(address) {
                wanted.push(address.clone());
            }
        }
        let membership = &mut self.membership;
        self.servers.retain(|server| {
            let keep = wanted.contains(&server.address);
            if !keep {
                membership.forget_question(&server.address);
                actions.push(Action::Stop(server.address.clone()));
            }
            keep
        });
        for address in wanted {
            if self.position(&address).is_none() {
                // A member is added before anything can be heard of it, so the caller starts it on this action.
                actions.push(Action::Start(address.clone()));
                self.servers.push(Server::new(address));
            }
        }
    }

    fn replace_primary(&mut self, actions: &mut Vec<Action>) {
        let is_primary = |address: &HostPort| self.kind(address) == MemberKind::Primary;
        let new = self.members.iter().map(|member| &member.address).find(|address| is_primary(address));
        let new = new.cloned();
        if new != self.primary {
            let old = std::mem::replace(&mut self.primary, new.clone());
            let election_id = self.elections.election_id;
            actions.push(Action::PrimaryChanged(PrimaryChange { old, new, election_id }));
        }
    }
}

impl Server {
    fn new(address: HostPort) -> Server {
        let kind = MemberKind::Unknown;
        Server { address, kind, up: false, attempted: false, error: None, process_id: None }
    }
}

fn member(address: HostPort) -> ConfigMember {
    ConfigMember { id: None, address }
}
