//! The write path: token, primary, majority, publish, acknowledge.

use super::check::{judge, obligations, tell};
use super::client::{Op, Phase, Write};
use super::config::Config;
use super::machine::{Action, State};
use super::mongo::{DOCS, Entry, Version};
use super::zookeeper::{Floor, Registers};

impl Write {
    /// The operation names one document and publishes its znode.
    fn single(&self) -> Option<usize> {
        match self.op {
            Op::Put(doc) | Op::FindAndModify(doc) | Op::Delete(doc) | Op::Replay(doc) => Some(doc),
            _ => None,
        }
    }
}

impl State {
    pub fn writing(&self, client: usize) -> Option<&Write> {
        match &self.clients[client].phase {
            Phase::Writing(write) => Some(write),
            _ => None,
        }
    }
}

impl Config {
    pub fn write_actions(&self, state: &State, client: usize, actions: &mut Vec<Action>) {
        for op in self.role_allows(state, client) {
            self.begin_actions(state, client, *op, actions);
        }
        let Some(write) = state.writing(client) else { return };
        let survived = state.log.token_at(write.time) == Some(write.token);
        if !survived || state.left.give_ups > 0 {
            actions.push(Action::GiveUp { client });
        }
        if !survived || (self.rules.majority && write.time > state.log.commit) {
            return;
        }
        let sent = write.compare.is_some() || write.create;
        if self.split_publish && write.single().is_some() && !sent {
            return actions.push(Action::ReadZnode { client });
        }
        let answer = |time| match sent {
            true => Action::SetZnode { client, time },
            false => Action::Acknowledge { client, time },
        };
        // findAndModify's reply has an upper bound: any time up to the commit point.
        let latest =
            if let Op::FindAndModify(_) = write.op { state.log.commit.max(write.time) } else { write.time };
        actions.extend((write.time..=latest).map(answer));
    }

    fn begin_actions(&self, state: &State, client: usize, op: Op, actions: &mut Vec<Action>) {
        let newest = |doc| state.log.version(doc, state.log.end());
        match op {
            Op::Put(_) | Op::FindAndModify(_) | Op::PutAll | Op::Exchange => {
                actions.push(Action::Begin { client, op, shows: 0 });
            }
            Op::Delete(doc) if newest(doc).live => actions.push(Action::Begin { client, op, shows: 0 }),
            Op::Replay(doc) => {
                let writes = (1..=state.log.end()).filter(|time| state.log.version(doc, *time).time == *time);
                actions.extend(writes.map(|shows| Action::Begin { client, op, shows }));
            }
            _ => {}
        }
    }

    /// The command reaches the primary, token and all.
    pub fn begin_write(&self, state: &mut State, client: usize, op: Op, shows: u8) {
        let (must, _) = obligations(self, state, &state.clients[client]);
        let home = state.clients[client].home;
        let (time, token) = if let Op::Replay(_) = op {
            // The server answers from its records; write concern waits for its newest entry.
            let end = state.log.end();
            (end, state.log.token_at(end).unwrap_or_default())
        } else {
            let token = state.toranas[home].next_token();
            let docs = op.docs().fold(0, |mask, doc| mask | 1 << doc);
            (state.log.apply(Entry { docs, live: !matches!(op, Op::Delete(_)), token }), token)
        };
        let snapshot = if op == Op::Exchange { time - 1 } else { shows };
        let mut shown = state.log.token_at(shows);
        if self.replays_unrecognised && matches!(op, Op::Replay(_)) {
            let fresh = state.toranas[home].next_token();
            state.toranas[home].resolve(fresh);
            shown = Some(fresh);
        }
        let write = Write { op, time, token, snapshot, shown, must, compare: None, create: false };
        state.clients[client].left -= 1;
        state.clients[client].phase = Phase::Writing(write);
    }

    /// writeConcernError, a time-out, or a new primary that does not know the write.
    pub fn give_up(&self, state: &mut State, client: usize) {
        let Some(write) = state.writing(client).cloned() else { return };
        if state.log.token_at(write.time) == Some(write.token) {
            state.left.give_ups -= 1;
        }
        if !self.rules.error_publishes_nothing {
            let mut now = *state.zookeeper.now();
            self.publish_write(state, &write, write.time, &mut now);
            state.zookeeper.write(now);
        }
        if !self.rules.done_waits {
            let home = state.clients[client].home;
            state.toranas[home].resolve(write.token);
        }
        state.clients[client].phase = Phase::Idle;
    }

    /// Publish and acknowledge, with a register that is raised in one step.
    pub fn acknowledge(&self, state: &mut State, client: usize, time: u8) {
        let Some(write) = state.writing(client).cloned() else { return };
        let mut now = *state.zookeeper.now();
        if self.rules.publish {
            self.publish_write(state, &write, time, &mut now);
        }
        self.finish_write(state, client, &write, time, now);
    }

    fn publish_write(&self, state: &State, write: &Write, time: u8, now: &mut Registers) {
        match self.wanted(write, time, now) {
            Some((doc, wanted)) => self.publish(doc, wanted, state.log.commit, now),
            None if self.rules.multi_raises_base => now.raise_base(time),
            None => {}
        }
    }

    /// What a write of one document publishes; None if it goes to `base`.
    fn wanted(&self, write: &Write, time: u8, now: &Registers) -> Option<(usize, Floor)> {
        let doc = write.single()?;
        let plain = Floor { time, token: Some(write.token), exact: true };
        let wanted = match write.op {
            Op::Delete(_) => Floor { token: None, ..plain },
            Op::FindAndModify(_) => Floor { exact: !self.rules.operation_time_is_a_bound, ..plain },
            Op::Replay(_) => return self.wanted_by_replay(doc, write, time, now),
            _ => plain,
        };
        Some((doc, wanted))
    }

    fn wanted_by_replay(
        &self,
        doc: usize,
        write: &Write,
        time: u8,
        now: &Registers,
    ) -> Option<(usize, Floor)> {
        let kept = now.docs[doc].and_then(|znode| znode.token);
        if self.replays_unrecognised || !self.rules.replay_sets_no_token {
            // The document in the reply is the one from then; an unrecognised replay has a token of its own.
            return Some((doc, Floor { time, token: write.shown, exact: true }));
        }
        now.docs[doc]?;
        let exact = !self.rules.replay_is_a_bound;
        Some((doc, Floor { time, token: kept, exact }))
    }

    /// Raises a document's register.
    pub fn publish(&self, doc: usize, wanted: Floor, commit: u8, now: &mut Registers) {
        if now.docs[doc].is_some_and(|znode| self.doubted(&znode)) {
            now.raise_base(commit);
        }
        if let Some(floor) = now.merged(doc, wanted) {
            let incarnation = now.docs[doc].map(|znode| znode.born);
            now.store(doc, floor, incarnation, self.split_publish);
        }
    }

    /// The compare-and-set's first half.
    pub fn read_znode(&self, state: &mut State, client: usize) {
        let now = *state.zookeeper.now();
        let Phase::Writing(write) = &mut state.clients[client].phase else { return };
        match write.single().and_then(|doc| now.docs[doc]) {
            Some(znode) => write.compare = Some((znode.version, znode.born)),
            None => write.create = true,
        }
    }

    /// Its second half: ZooKeeper compares the version and nothing else.
    pub fn set_znode(&self, state: &mut State, client: usize, time: u8) {
        let Some(write) = state.writing(client).cloned() else { return };
        let mut now = *state.zookeeper.now();
        let Some((doc, wanted)) = write.single().and_then(|_| self.wanted(&write, time, &now)) else {
            return self.acknowledge(state, client, time);
        };
        let meets = match (write.compare, now.docs[doc]) {
            (Some((version, _)), Some(znode)) => znode.version == version,
            (None, None) => true,
            _ => false,
        };
        if !meets {
            if let Phase::Writing(write) = &mut state.clients[client].phase {
                (write.compare, write.create) = (None, false);
            }
            return;
        }
        if now.docs[doc].is_some_and(|znode| self.doubted(&znode)) {
            now.raise_base(state.log.commit);
        }
        let same = now.docs[doc].is_none_or(|znode| Some(znode.born) == write.compare.map(|(_, born)| born));
        // A create, and a set that meets another incarnation, write what was right when they were sent.
        let floor = if same && !write.create { now.merged(doc, wanted) } else { Some(wanted) };
        if let Some(floor) = floor {
            now.store(doc, floor, write.compare.map(|(_, born)| born), true);
        }
        self.finish_write(state, client, &write, time, now);
    }

    fn finish_write(&self, state: &mut State, client: usize, write: &Write, time: u8, mut now: Registers) {
        let home = state.clients[client].home;
        let torana = &mut state.toranas[home];
        torana.resolve(write.token);
        torana.collection = torana.collection.max(time);
        for doc in write.op.docs() {
            torana.known[doc] = torana.known[doc].max(time);
        }
        if self.done {
            now.done[torana.epoch as usize] = torana.done().max(now.done[torana.epoch as usize]);
        }
        state.zookeeper.write(now);
        self.answer_write(state, client, write);
        state.clients[client].phase = Phase::Idle;
    }

    fn answer_write(&self, state: &mut State, client: usize, write: &Write) {
        if write.op == Op::Exchange {
            for doc in 0..DOCS {
                let got = state.log.version(doc, write.snapshot);
                judge(state, client, doc, got, write.must[doc]);
            }
        }
        if let (Op::Replay(doc), true) = (write.op, write.snapshot > 0) {
            let shown = state.log.version(doc, write.snapshot);
            return tell(state, client, doc, shown);
        }
        let live = !matches!(write.op, Op::Delete(_));
        for doc in write.op.docs() {
            tell(state, client, doc, Version { time: write.time, token: write.token, live });
        }
    }
}
