//! One search: who takes part, what may happen, which rules hold.

use super::client::Op;
use super::rules::Rules;

/// A client that begins on torana `home` and begins up to `count` of `ops`, in any order.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    pub home: usize,
    pub ops: &'static [Op],
    pub count: u8,
}

/// How often each fault, and each cycle of garbage collection, may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub failovers: u8,
    pub crashes: u8,
    pub reconnects: u8,
    pub moves: u8,
    pub folds: u8,
    /// writeConcernErrors, time-outs: the client is told of an unknown outcome.
    pub give_ups: u8,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub name: &'static str,
    pub clients: &'static [Role],
    pub budget: Budget,
    pub rules: Rules,
    /// The documents were there before the tag.
    pub existed: bool,
    /// ZooKeeper's answer may come after the member's.
    pub late_registers: bool,
    /// Sessions may read the past.
    pub lagging: bool,
    /// `done` is published.
    pub done: bool,
    /// A publish is a read and a conditional set, with other steps in between.
    pub split_publish: bool,
    /// Publishes made by readers are counted, and bounded.
    pub count_helps: bool,
    /// Queries, too, show a client that moved what it was told elsewhere; otherwise which documents match promises only
    /// what was told through the same torana. Needs [`Rules::probe`].
    pub strict_queries: bool,
    /// Reads by `_id` raise `C` too.
    pub reads_raise_collection: bool,
    /// A replay is taken for a write: its own token, which no document has, is published as the version at its time.
    pub replays_unrecognised: bool,
    /// A barrier before every read, and the check that every read sees all that anyone was told before it began.
    pub linearizable: bool,
}

impl Config {
    pub const BASIC: Config = Config {
        name: "",
        clients: &[],
        budget: Budget { failovers: 0, crashes: 0, reconnects: 0, moves: 0, folds: 0, give_ups: 0 },
        rules: Rules::ALL,
        existed: true,
        late_registers: false,
        lagging: true,
        done: false,
        split_publish: false,
        count_helps: false,
        strict_queries: false,
        reads_raise_collection: false,
        replays_unrecognised: false,
        linearizable: false,
    };
}
