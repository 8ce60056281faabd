//! The order of states that really was: all writes that lasted, as the oplog has them.

use std::collections::HashMap;

use super::event::{Key, Seen, WriteId};

/// A place in the order: the state after so many writes. 0 is before all.
pub type Place = usize;

/// What one write did: to one document, or in a transaction to several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The write.
    pub id: WriteId,
    /// The documents, and whether each was there afterwards.
    pub documents: Vec<(Key, bool)>,
}

/// All writes in their order, looked up by write and by document.
#[derive(Debug, Default)]
pub struct Order {
    places: HashMap<WriteId, Place>,
    /// From which place on a document has which state; before the first it is absent.
    states: HashMap<Key, Vec<(Place, Seen)>>,
}

impl Order {
    /// Of these writes, each of which was made once.
    pub fn of(changes: &[Change]) -> Order {
        let mut order = Order::default();
        for (index, change) in changes.iter().enumerate() {
            let place = index + 1;
            let twice = order.places.insert(change.id, place);
            assert_eq!(twice, None, "write {:x} was made twice", change.id);
            for (key, is_there) in &change.documents {
                let state = if *is_there { Seen::Left(change.id) } else { Seen::Absent };
                order.states.entry(*key).or_default().push((place, state));
            }
        }
        order
    }

    /// The place of a write; `None` if it did not last.
    pub fn place(&self, id: WriteId) -> Option<Place> {
        self.places.get(&id).copied()
    }

    /// The first place at `from` or later where `key` looks like `seen`.
    pub fn next(&self, key: Key, seen: Seen, from: Place) -> Option<Place> {
        let none = Vec::new();
        let states = self.states.get(&key).unwrap_or(&none);
        // The state at `from` is the last that began there or before.
        let current = states.partition_point(|(place, _)| *place <= from);
        let now = current.checked_sub(1).map_or(Seen::Absent, |index| states[index].1);
        if fits(now, seen) {
            return Some(from);
        }
        states[current..].iter().find(|(_, state)| fits(*state, seen)).map(|(place, _)| *place)
    }

    /// The first place at `from` or later where all of these hold at once.
    pub fn next_of_all(&self, seen: &[(Key, Seen)], from: Place) -> Option<Place> {
        let mut place = from;
        loop {
            let mut latest = place;
            for (key, seen) in seen {
                latest = latest.max(self.next(*key, *seen, latest)?);
            }
            if latest == place {
                return Some(place);
            }
            place = latest;
        }
    }

    /// What each document was in the end.
    pub fn last(&self) -> impl Iterator<Item = (Key, Seen)> {
        self.states.iter().filter_map(|(key, states)| Some((*key, states.last()?.1)))
    }
}

fn fits(state: Seen, seen: Seen) -> bool {
    state == seen || (seen == Seen::Present && matches!(state, Seen::Left(_)))
}
