//! The algorithm of the thesis that *Ordered floors* replaces, with everything in its favour: one document, no fault, a
//! member that never lags. A PUT keeps a copy of the object that it read, sets its own hash in ZooKeeper, then the
//! object. A GET returns the object if its hash is ZooKeeper's, else the copy with that hash.

use stateright::{Model, Property};

/// How far one PUT is. Each torana does one, of a value with its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Put {
    Waiting,
    Copied,
    Hashed,
    Acknowledged,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// ZooKeeper's hash: the value's number.
    pub hash: u8,
    pub object: u8,
    /// Values of which a copy exists, one bit each.
    pub copies: u8,
    pub puts: [Put; 2],
}

pub struct Thesis;

pub const READABLE: &str = "once every PUT is acknowledged, a GET can be answered";

impl Model for Thesis {
    type State = Store;
    /// The torana whose PUT takes its next step.
    type Action = usize;

    fn init_states(&self) -> Vec<Store> {
        vec![Store { hash: 0, object: 0, copies: 0, puts: [Put::Waiting; 2] }]
    }

    fn actions(&self, store: &Store, actions: &mut Vec<usize>) {
        actions.extend((0..store.puts.len()).filter(|put| store.puts[*put] != Put::Acknowledged));
    }

    fn next_state(&self, last: &Store, torana: usize) -> Option<Store> {
        let mut store = last.clone();
        let value = torana as u8 + 1;
        store.puts[torana] = match last.puts[torana] {
            Put::Waiting => {
                store.copies |= 1 << store.object;
                Put::Copied
            }
            Put::Copied => {
                store.hash = value;
                Put::Hashed
            }
            Put::Hashed => {
                store.object = value;
                Put::Acknowledged
            }
            Put::Acknowledged => return None,
        };
        Some(store)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::<Self>::always(READABLE, |_, store| {
            let busy = store.puts.iter().any(|put| *put != Put::Acknowledged);
            busy || store.hash == store.object || store.copies & (1 << store.hash) != 0
        })]
    }
}
