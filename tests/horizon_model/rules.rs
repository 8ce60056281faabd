//! What makes the protocol hold, each rule to be taken away by a test, and how much a search covers.

use super::state::Op;

/// The protocol's rules.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A write is published before it is acknowledged.
    pub publishes_writes: bool,
    /// A read that shows more than what was published (count, and reads of a majority) is published before it is
    /// returned.
    pub publishes_reads: bool,
    /// A client that is new to a torana waits until that torana has proven its horizon.
    pub proves_horizon: bool,
    /// The horizon is proven by a compare-and-set that was begun after the client came, not by a look at what a server
    /// shows.
    pub proves_by_writing: bool,
    /// The register is set by compare-and-set.
    pub compares: bool,
    /// Reads are sent as of the latest time that is known to be published, not of the one that was last proven.
    pub reads_as_of_published: bool,
    /// What clients are told raises that time once it was published, not before.
    pub raises_after_publishing: bool,
    /// Writes are acknowledged once a majority has them.
    pub waits_for_majority: bool,
    /// A write whose outcome is in doubt publishes nothing.
    pub doubt_publishes_nothing: bool,
    /// A register that fell is raised to what is known, when the next thing is published.
    pub targets_all_known: bool,
    /// A read that is sent as of a time is sent as of a published one, whatever other floors it has.
    pub snapshots_are_published: bool,
}

pub const ALL: Rules = Rules {
    publishes_writes: true,
    publishes_reads: true,
    proves_horizon: true,
    proves_by_writing: true,
    compares: true,
    reads_as_of_published: true,
    raises_after_publishing: true,
    waits_for_majority: true,
    doubt_publishes_nothing: true,
    targets_all_known: true,
    snapshots_are_published: true,
};

/// How often each fault may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// The primary changes, and what no majority has is lost.
    pub failovers: u8,
    /// A torana ends and begins anew, knowing nothing.
    pub crashes: u8,
    /// An answer of the register's is lost: torana forgets the request, which may still arrive.
    pub timeouts: u8,
    /// An application moves to the other torana.
    pub moves: u8,
    /// A write's outcome is in doubt: a time-out of its write concern.
    pub doubts: u8,
    /// The register loses what it had.
    pub losses: u8,
}

/// One search.
#[derive(Clone, Debug)]
pub struct Config {
    /// What each client does: its application, and its operations in their order.
    pub clients: Vec<(usize, Vec<Op>)>,
    /// The torana that each application begins at.
    pub homes: Vec<usize>,
    pub faults: Faults,
    pub rules: Rules,
}
