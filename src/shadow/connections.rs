//! The connections to the second set that are not in use, and who its members are.
//!
//! There are never more connections than tasks: each task holds one at most, and one that lies idle ends before another is made
//! in its place.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;

use super::connection::Connection;
use crate::capture::Role;
use crate::pool::ConnectError;
use crate::replay::target::Target;

/// Members and idle connections.
#[derive(Debug)]
pub struct Connections {
    set_name: Option<String>,
    limit: usize,
    seats: Arc<Seats>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The primary first.
    members: Vec<String>,
    idle: Vec<Held>,
    turn: usize,
}

/// A connection with the member that it leads to.
#[derive(Debug)]
pub struct Held {
    /// The connection.
    pub inner: Connection,
    member: String,
    _seat: Seat,
}

impl Connections {
    /// At most `limit`, to members of `set_name` if one is given; `shown` shows how many there are.
    pub fn new(set_name: Option<String>, limit: usize, shown: IntGauge) -> Connections {
        let seats = Arc::new(Seats { taken: AtomicUsize::new(0), shown });
        Connections { set_name, limit, seats, state: Mutex::default() }
    }

    /// From now on these are the members.
    pub fn lead_to(&self, target: Target) {
        let members: Vec<String> = target.members.into_iter().map(|(name, _)| name).collect();
        let mut state = self.locked();
        state.idle.retain(|held| members.contains(&held.member));
        state.members = members;
    }

    /// A connection to a member that stands for one of this `role`. Not bounded in time. Cancelled, it leaves nothing behind.
    pub async fn take(&self, role: Role) -> Result<Held, ConnectError> {
        let (member, _seat) = {
            let mut state = self.locked();
            let member = state.member(role);
            while let Some(place) = state.idle.iter().rposition(|held| held.member == member) {
                let mut held = state.idle.swap_remove(place);
                if !held.inner.is_broken() {
                    return Ok(held);
                }
            }
            if self.seats.taken.load(Ordering::Relaxed) >= self.limit {
                state.idle.pop();
            }
            (member, Seat::take(&self.seats))
        };
        let inner = Connection::open(&member, self.set_name.as_deref()).await?;
        Ok(Held { inner, member, _seat })
    }

    /// A connection that may be used again.
    pub fn give_back(&self, held: Held) {
        let mut state = self.locked();
        if state.members.contains(&held.member) {
            state.idle.push(held);
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Empty if no members are known, which no connection leads to.
    fn member(&mut self, role: Role) -> String {
        let others = self.members.len().saturating_sub(1);
        let place = match role {
            Role::Secondary if others > 0 => {
                self.turn = self.turn.wrapping_add(1);
                1 + self.turn % others
            }
            _ => 0,
        };
        self.members.get(place).cloned().unwrap_or_default()
    }
}

#[derive(Debug)]
struct Seats {
    taken: AtomicUsize,
    shown: IntGauge,
}

/// Counts as a connection, or as the attempt at one, until dropped.
#[derive(Debug)]
struct Seat(Arc<Seats>);

impl Seat {
    fn take(seats: &Arc<Seats>) -> Seat {
        seats.taken.fetch_add(1, Ordering::Relaxed);
        seats.shown.inc();
        Seat(seats.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.shown.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secondary_stands_for_a_secondary_in_turn_and_the_primary_for_all_if_it_is_alone() {
        let mut state = State { members: vec!["p".into(), "a".into(), "b".into()], ..State::default() };
        let turns: Vec<String> = (0..4).map(|_| state.member(Role::Secondary)).collect();
        assert_eq!(turns, ["b", "a", "b", "a"]);
        assert_eq!(state.member(Role::Primary), "p");
        state.members.truncate(1);
        assert_eq!(state.member(Role::Secondary), "p");
        state.members.clear();
        assert_eq!(state.member(Role::Primary), "");
    }
}
