//! ZooKeeper: linearizable writes, and sessions that read states of the past, in order.

use super::mongo::{DOCS, Token};

/// Epochs that one search can use: two toranas and their restarts.
pub const EPOCHS: usize = 4;

/// A document's floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Znode {
    /// What anyone has been told about the document is at most this old.
    pub time: u8,
    /// A version known to be at or below `time`, so that nobody publishes it again.
    pub token: Option<Token>,
    /// `token` is *the* version at `time`: a read that returns it is not stale.
    pub exact: bool,
    /// ZooKeeper's own version, which starts at 0 again in every incarnation.
    pub version: u8,
    /// ZooKeeper's czxid: which incarnation this is.
    pub born: u8,
    /// The incarnation that the value was computed for, kept in the value.
    pub written_for: u8,
}

impl Znode {
    /// Written over by a compare-and-set that was computed for an earlier incarnation.
    pub fn overwritten(&self) -> bool {
        self.born != self.written_for
    }
}

/// What one wants a document's floor to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Floor {
    pub time: u8,
    pub token: Option<Token>,
    pub exact: bool,
}

/// All registers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Registers {
    pub docs: [Option<Znode>; DOCS],
    pub base: u8,
    /// By epoch.
    pub done: [u8; EPOCHS],
    /// Incarnations so far.
    pub births: u8,
}

impl Registers {
    /// The document's floor for one who has seen nothing himself.
    pub fn floor(&self, doc: usize) -> u8 {
        self.docs[doc].map_or(0, |znode| znode.time).max(self.base)
    }

    pub fn raise_base(&mut self, time: u8) {
        self.base = self.base.max(time);
    }

    /// What the register says after `wanted` was published to it, or None if it says enough already.
    pub fn merged(&self, doc: usize, wanted: Floor) -> Option<Floor> {
        let Some(old) = self.docs[doc] else {
            return (wanted.time > self.base).then_some(wanted);
        };
        if wanted.time > old.time {
            // Without a token of its own a raise keeps the old one, as a mere bound.
            let kept = wanted.token.is_none() && !wanted.exact;
            return Some(if kept { Floor { token: old.token, ..wanted } } else { wanted });
        }
        (wanted.time == old.time && wanted.exact && !old.exact).then_some(wanted)
    }

    /// Creates or overwrites the znode. `computed_for` is the incarnation that the writer had read, None for a create.
    pub fn store(&mut self, doc: usize, floor: Floor, computed_for: Option<u8>, count_versions: bool) {
        let (version, born) = match self.docs[doc] {
            Some(old) if count_versions => (old.version + 1, old.born),
            Some(old) => (0, old.born),
            None if count_versions => {
                self.births += 1;
                (0, self.births)
            }
            None => (0, 0),
        };
        let Floor { time, token, exact } = floor;
        let written_for = computed_for.unwrap_or(born);
        self.docs[doc] = Some(Znode { time, token, exact, version, born, written_for });
    }
}

/// The states that some session may still read, oldest first; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ensemble {
    pub history: Vec<Registers>,
}

impl Ensemble {
    pub fn now(&self) -> &Registers {
        &self.history[self.history.len() - 1]
    }

    pub fn newest(&self) -> u8 {
        self.history.len() as u8 - 1
    }

    /// One write through the quorum.
    pub fn write(&mut self, registers: Registers) {
        if registers != *self.now() {
            self.history.push(registers);
        }
    }
}
