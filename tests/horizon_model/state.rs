//! What there is.

use super::rules::Faults;

/// Documents of the tagged collection.
pub const DOCS: usize = 2;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Writes one document.
    Put(usize),
    /// Reads all documents as of a published time.
    Snapshot,
    /// Reads all documents as a majority has them, at or behind a floor.
    Majority,
    /// Writes to a collection that is causal: its torana remembers the time, and nobody publishes it.
    Own,
    /// Reads all documents, and that collection too: at or behind the floors of both.
    Join,
}

/// Where a client's operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    /// Its write is entry `time`, named `name`.
    Written {
        time: u8,
        name: u8,
    },
    /// Its reply is here, which shows `shown` and is not later than `time`: to be published.
    Publishing {
        time: u8,
        shown: [u8; DOCS],
    },
    /// Read, and nothing is to be published.
    Read {
        shown: [u8; DOCS],
    },
}

/// One connection of an application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    pub application: usize,
    pub done: usize,
    pub phase: Phase,
    /// What its application had been told when the operation began.
    pub began_with: [u8; DOCS],
    /// Whether its torana's horizon was proven since it came.
    pub is_proven: bool,
}

/// An application: whatever connections it has, they are one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Application {
    pub torana: usize,
    /// The latest version of each document that it was told of, as the position of its entry.
    pub told: [u8; DOCS],
}

/// A set that is on its way to the register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Setting {
    pub target: u8,
    pub version: u8,
    /// The clients that wait for the horizon to be proven, by bit.
    pub proves: u8,
}

/// What a torana remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Torana {
    /// Everything up to here is published.
    pub published: u8,
    /// The horizon as it was last proven.
    pub proven: u8,
    /// The latest time that a client of this torana was told of.
    pub told: u8,
    /// The same for the collection that is causal.
    pub own: u8,
    /// The register's version, as far as it is known.
    pub version: u8,
    pub setting: Option<Setting>,
}

/// The register in ZooKeeper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Register {
    pub time: u8,
    pub version: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Each entry's document and name.
    pub log: Vec<(usize, u8)>,
    /// How many of them a majority has.
    pub commit: u8,
    pub names: u8,
    pub register: Register,
    /// Earlier states of the register: what a late server may show.
    pub past: Vec<Register>,
    /// Sets that nobody waits for any more.
    pub strays: Vec<(u8, u8)>,
    pub toranas: [Torana; 2],
    pub applications: Vec<Application>,
    pub clients: Vec<Client>,
    pub left: Faults,
    pub fault: Option<&'static str>,
}

impl State {
    /// The position of the entry that each document is at as of `time`; 0 for none.
    pub fn versions(&self, time: u8) -> [u8; DOCS] {
        let newest = |doc| (1..=time).rev().find(|at| self.log[usize::from(*at) - 1].0 == doc).unwrap_or(0);
        std::array::from_fn(newest)
    }

    pub fn torana_of(&self, client: usize) -> usize {
        self.applications[self.clients[client].application].torana
    }
}
