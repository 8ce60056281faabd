//! What happens by itself: replication, elections, crashes, lost sessions, clients that move.

use super::client::Phase;
use super::config::Config;
use super::machine::{Action, State};
use super::torana::Torana;

impl Config {
    pub fn fault_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.left;
        if state.log.commit < state.log.end() {
            actions.push(Action::Commit);
            if left.failovers > 0 {
                actions.extend((state.log.commit..state.log.end()).map(|keep| Action::Failover { keep }));
            }
        }
        for torana in 0..state.toranas.len() {
            if left.crashes > 0 {
                actions.push(Action::Crash { torana });
            }
            if left.reconnects > 0 {
                actions.push(Action::Reconnect { torana });
            }
        }
        if left.moves > 0 {
            let idle = |client: &usize| {
                state.clients[*client].phase == Phase::Idle && state.clients[*client].left > 0
            };
            actions.extend((0..state.clients.len()).filter(idle).map(|client| Action::Move { client }));
        }
    }

    pub fn fail_over(&self, state: &mut State, keep: u8) {
        state.left.failovers -= 1;
        state.log.entries.truncate(keep as usize);
    }

    /// The client closes its connection and opens one to the other torana.
    pub fn move_client(&self, state: &mut State, client: usize) {
        state.left.moves -= 1;
        let client = &mut state.clients[client];
        client.home = 1 - client.home;
        client.unproven = true;
    }

    /// SIGKILL and a new start: memory is gone, operations in flight end with a network error.
    pub fn crash(&self, state: &mut State, torana: usize) {
        state.left.crashes -= 1;
        state.toranas[torana] = Torana::new(state.next_epoch);
        state.next_epoch += 1;
        for client in state.clients.iter_mut().filter(|client| client.home == torana) {
            client.unproven = true;
            client.phase = Phase::Idle;
        }
    }

    pub fn reconnect(&self, state: &mut State, torana: usize) {
        state.left.reconnects -= 1;
        state.toranas[torana].view = 0;
        if self.rules.barrier_after_reconnect {
            for client in state.clients.iter_mut().filter(|client| client.home == torana) {
                client.unproven = true;
            }
        }
    }
}
