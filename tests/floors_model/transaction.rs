//! Transactions that only read. One that writes is a write whose snapshot is the entry before its own: a conflict
//! aborts it otherwise, and a deposed primary cannot commit it. Neither holds for one that only reads.

use super::check::obligations;
use super::client::{Op, Phase, Read};
use super::config::Config;
use super::machine::{Action, State};
use super::read::replies;

impl Config {
    pub fn transaction_actions(&self, state: &State, client: usize, actions: &mut Vec<Action>) {
        if self.role_allows(state, client).contains(&Op::ReadAll) {
            for view in self.views(state, client) {
                let floor = self.transaction_floor(state, client, view);
                let open = |(snapshot, _)| Action::Open { client, op: Op::ReadAll, view, snapshot };
                let mut opened: Vec<_> = replies(state, Op::ReadAll, floor).into_iter().map(open).collect();
                opened.dedup();
                actions.extend(opened);
            }
        }
        let Some(read) = state.clients[client].reading().filter(|read| read.op == Op::ReadAll) else {
            return;
        };
        let Some(registers) = &read.registers else {
            let views = self.views(state, client);
            return actions.extend(views.map(|view| Action::Registers { client, view }));
        };
        let passes = !self.rules.transaction_validates || self.needed(state, read, registers).is_none();
        actions.push(if passes { Action::Return { client } } else { Action::GiveUp { client } });
    }

    /// `base`, what is in memory, and the floor of the first statement's document.
    fn transaction_floor(&self, state: &State, client: usize, view: u8) -> u8 {
        let seen = state.zookeeper.history[view as usize];
        self.floor_in_memory(state, client, Op::ReadAll).max(seen.floor(0))
    }

    /// The first statement: any majority-committed snapshot, as a deposed primary may not know of its fall.
    pub fn open(&self, state: &mut State, client: usize, op: Op, view: u8, snapshot: u8) {
        let (must, must_here) = obligations(self, state, &state.clients[client]);
        let floor = self.transaction_floor(state, client, view);
        self.complete_barrier(state, client);
        self.look(state, client, view);
        let operation_time = state.log.commit;
        let read = Read { op, must, must_here, floor, snapshot, operation_time, registers: None };
        state.clients[client].left -= 1;
        state.clients[client].phase = Phase::Reading(read);
    }
}
