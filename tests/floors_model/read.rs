//! The read path: floor, member, ZooKeeper, validate, help, return.

use super::check::{judge, obligations, tell, tell_torana};
use super::client::{Op, Phase, Read};
use super::config::Config;
use super::machine::{Action, State};
use super::mongo::Version;
use super::zookeeper::{Floor, Registers};

impl Read {
    /// Reads whose reply carries a token for each document.
    fn shows_tokens(&self) -> bool {
        matches!(self.op, Op::Get(_) | Op::Query)
    }
}

impl Config {
    pub fn read_actions(&self, state: &State, client: usize, actions: &mut Vec<Action>) {
        for op in self.role_allows(state, client) {
            if matches!(op, Op::Get(_) | Op::Query | Op::Distinct) {
                self.ask_actions(state, client, *op, actions);
            }
        }
        let Some(read) = state.clients[client].reading() else { return };
        if read.op == Op::ReadAll {
            return;
        }
        let Some(registers) = &read.registers else {
            let views = self.views(state, client);
            return actions.extend(views.map(|view| Action::Registers { client, view }));
        };
        match self.needed(state, read, registers) {
            None => actions.push(Action::Return { client }),
            Some(floor) => {
                let again =
                    |(snapshot, operation_time)| Action::AskAgain { client, snapshot, operation_time };
                actions.extend(replies(state, read.op, floor).into_iter().map(again));
            }
        }
    }

    fn ask_actions(&self, state: &State, client: usize, op: Op, actions: &mut Vec<Action>) {
        let floor = self.floor_in_memory(state, client, op);
        for (snapshot, operation_time) in replies(state, op, floor) {
            let ask = |view| Action::Ask { client, op, view, snapshot, operation_time };
            if self.late_registers {
                actions.push(ask(None));
            } else {
                actions.extend(self.views(state, client).map(|view| ask(Some(view))));
            }
        }
    }

    /// What ZooKeeper may show this client's torana now: only the newest state, if a barrier comes first.
    pub fn views(&self, state: &State, client: usize) -> std::ops::RangeInclusive<u8> {
        let newest = state.zookeeper.newest();
        match self.waits_for_barrier(state, client) {
            true => newest..=newest,
            false => state.toranas[state.clients[client].home].view..=newest,
        }
    }

    fn waits_for_barrier(&self, state: &State, client: usize) -> bool {
        self.rules.barrier && (self.linearizable || state.clients[client].unproven)
    }

    fn probes(&self) -> bool {
        self.strict_queries && self.rules.probe
    }

    pub fn floor_in_memory(&self, state: &State, client: usize, op: Op) -> u8 {
        let torana = &state.toranas[state.clients[client].home];
        let probed =
            if self.probes() && self.waits_for_barrier(state, client) { state.log.commit } else { 0 };
        let collection = if self.rules.collection { torana.collection.max(probed) } else { 0 };
        let known = match op {
            Op::Get(doc) if self.rules.known => torana.known[doc],
            Op::Get(_) => 0,
            _ if self.rules.query_covers_known => torana.known.iter().copied().max().unwrap_or(0),
            _ => 0,
        };
        collection.max(known)
    }

    pub fn ask(
        &self,
        state: &mut State,
        client: usize,
        op: Op,
        view: Option<u8>,
        snapshot: u8,
        operation_time: u8,
    ) {
        let (must, must_here) = obligations(self, state, &state.clients[client]);
        self.complete_barrier(state, client);
        let floor = self.floor_in_memory(state, client, op);
        let registers = view.map(|view| self.look(state, client, view));
        let read = Read { op, must, must_here, floor, snapshot, operation_time, registers };
        state.clients[client].left -= 1;
        state.clients[client].phase = Phase::Reading(read);
    }

    /// Whoever reads after it sees at least the present state.
    pub fn complete_barrier(&self, state: &mut State, client: usize) {
        if self.waits_for_barrier(state, client) {
            let home = state.clients[client].home;
            state.toranas[home].view = state.zookeeper.newest();
            state.clients[client].unproven = false;
            if self.probes() {
                state.toranas[home].collection = state.toranas[home].collection.max(state.log.commit);
            }
        }
    }

    /// A session never goes back from a state that it has seen.
    pub fn look(&self, state: &mut State, client: usize, view: u8) -> Registers {
        state.toranas[state.clients[client].home].view = view;
        let seen = state.zookeeper.history[view as usize];
        match self.rules.base_read_last {
            true => seen,
            false => Registers { base: seen.base, ..*state.zookeeper.now() },
        }
    }

    pub fn registers(&self, state: &mut State, client: usize, view: u8) {
        self.complete_barrier(state, client);
        let seen = self.look(state, client, view);
        if let Phase::Reading(read) = &mut state.clients[client].phase {
            read.registers = Some(seen);
        }
    }

    /// The floor to read again at, or None if the answer passes.
    pub fn needed(&self, state: &State, read: &Read, registers: &Registers) -> Option<u8> {
        let mut needed = registers.base;
        for doc in read.op.docs().filter(|_| read.op != Op::Distinct) {
            let Some(znode) = registers.docs[doc] else { continue };
            let version = state.log.version(doc, read.snapshot);
            let unmatched = !version.live && read.op == Op::Query;
            let comparable = token_of(version).is_some() || !self.rules.tokenless_matches_nothing;
            let proven = comparable && version.live && znode.exact && znode.token == token_of(version);
            let taken_for_newer = !self.rules.unknown_is_not_newer && self.to_help(version, registers);
            if self.doubted(&znode) {
                needed = needed.max(state.log.commit);
            } else if !(unmatched || proven || taken_for_newer) {
                needed = needed.max(znode.time);
            }
        }
        (needed > read.floor).then_some(needed)
    }

    /// Nobody may have published this version yet.
    fn to_help(&self, version: Version, registers: &Registers) -> bool {
        let done = registers.done[version.token.epoch as usize];
        token_of(version).is_some() && version.token.serial > done
    }

    pub fn ask_again(&self, state: &mut State, client: usize, snapshot: u8, operation_time: u8) {
        let Some(mut read) = state.clients[client].reading().cloned() else { return };
        let Some(mut registers) = read.registers else { return };
        let Some(floor) = self.needed(state, &read, &registers) else { return };
        for doc in read.op.docs() {
            // A znode in doubt is settled by the primary's time, for everyone.
            if registers.docs[doc].is_some_and(|znode| self.doubted(&znode)) {
                registers.docs[doc] = None;
                let mut now = *state.zookeeper.now();
                now.raise_base(state.log.commit);
                state.zookeeper.write(now);
            }
        }
        read = Read { floor, snapshot, operation_time, registers: Some(registers), ..read };
        state.clients[client].phase = Phase::Reading(read);
    }

    /// Help, remember, return.
    pub fn return_read(&self, state: &mut State, client: usize) {
        let Some(read) = state.clients[client].reading().cloned() else { return };
        let mut now = *state.zookeeper.now();
        for doc in read.op.docs().filter(|_| read.shows_tokens()) {
            let version = state.log.version(doc, read.snapshot);
            match (version.live, read.op) {
                (true, _) => self.help(state, doc, version, &read, &mut now),
                (false, Op::Get(_)) => self.publish_absence(state, doc, &read, &mut now),
                _ => {}
            }
        }
        if matches!(read.op, Op::Distinct | Op::ReadAll) && self.rules.distinct_raises_base {
            now.raise_base(read.operation_time);
        }
        state.zookeeper.write(now);
        self.remember(state, client, &read);
        self.answer_read(state, client, &read);
        state.clients[client].phase = Phase::Idle;
    }

    fn help(&self, state: &mut State, doc: usize, version: Version, read: &Read, now: &mut Registers) {
        let known =
            now.docs[doc].is_some_and(|znode| znode.token == token_of(version) && !self.doubted(&znode));
        let Some(registers) = &read.registers else { return };
        if !self.rules.help || known || !self.to_help(version, registers) {
            return;
        }
        let exact = !self.rules.help_is_a_bound;
        let token = token_of(version).filter(|_| self.rules.help_names_the_version);
        let wanted = Floor { time: read.operation_time, token, exact };
        let before = now.docs[doc];
        self.publish(doc, wanted, state.log.commit, now);
        if self.count_helps && now.docs[doc] != before {
            state.helped.push((doc, version.token, state.left.folds));
            state.helped.sort_unstable();
        }
    }

    fn publish_absence(&self, state: &State, doc: usize, read: &Read, now: &mut Registers) {
        if !self.rules.absence_publishes {
            return;
        }
        match now.docs[doc] {
            Some(_) => {
                let wanted = Floor { time: read.operation_time, token: None, exact: false };
                self.publish(doc, wanted, state.log.commit, now);
            }
            None => now.raise_base(read.operation_time),
        }
    }

    fn remember(&self, state: &mut State, client: usize, read: &Read) {
        let torana = &mut state.toranas[state.clients[client].home];
        let time = read.operation_time;
        match read.op {
            Op::Get(doc) if state.log.version(doc, read.snapshot).live && !self.reads_raise_collection => {
                torana.known[doc] = torana.known[doc].max(time);
            }
            Op::Get(_) if !self.rules.absence_raises_collection => {}
            _ => torana.collection = torana.collection.max(time),
        }
    }

    fn answer_read(&self, state: &mut State, client: usize, read: &Read) {
        for doc in read.op.docs() {
            let got = state.log.version(doc, read.snapshot);
            // A document that did not match is not validated, and nobody publishes that it did not.
            let unmatched = read.op == Op::Query && !got.live;
            let local = !self.strict_queries && (unmatched || read.op == Op::Distinct);
            judge(state, client, doc, got, if local { read.must_here[doc] } else { read.must[doc] });
            match unmatched {
                true => tell_torana(state, client, doc, got),
                false => tell(state, client, doc, got),
            }
        }
    }
}

/// The hidden field of a version; what was there before the tag has none.
fn token_of(version: Version) -> Option<super::mongo::Token> {
    (version.live && version.time > 0).then_some(version.token)
}

/// What members may answer at a floor: the snapshots that differ, each with every operationTime.
pub fn replies(state: &State, op: Op, floor: u8) -> Vec<(u8, u8)> {
    let commit = state.log.commit;
    let mut replies = Vec::new();
    for snapshot in floor..=commit {
        let differs = op.docs().any(|doc| state.log.version(doc, snapshot).time == snapshot);
        if snapshot == floor || differs {
            replies.extend((snapshot..=commit).map(|operation_time| (snapshot, operation_time)));
        }
    }
    replies
}
