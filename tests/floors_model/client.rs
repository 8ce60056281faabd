//! A client: one connection to one torana, with one operation at a time.

use super::mongo::{DOCS, Token, Version};
use super::zookeeper::Registers;

/// What a client may ask for. The number is a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Insert, update or replacement by `_id`; the reply has the write's own opTime.
    Put(usize),
    /// findAndModify: the reply's time is only an upper bound.
    FindAndModify(usize),
    Delete(usize),
    /// Both documents in one write.
    PutAll,
    /// A write that changes nothing, or did already: nModified 0, duplicate key, a replayed retryable write.
    Replay(usize),
    /// find by `_id`.
    Get(usize),
    /// find of all documents, returned with their tokens.
    Query,
    /// distinct or `$group`: shows every document's version, without tokens.
    Distinct,
    /// A transaction that only reads both documents.
    ReadAll,
    /// A transaction that reads both documents and writes both.
    Exchange,
}

impl Op {
    /// The documents that it names or shows.
    pub fn docs(self) -> std::ops::Range<usize> {
        match self {
            Op::Put(d) | Op::FindAndModify(d) | Op::Delete(d) | Op::Replay(d) | Op::Get(d) => d..d + 1,
            Op::PutAll | Op::Query | Op::Distinct | Op::ReadAll | Op::Exchange => 0..DOCS,
        }
    }
}

/// What each document must at least be in the answer.
pub type Must = [Version; DOCS];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    pub op: Op,
    /// By what the client and its torana had been told when it began.
    pub must: Must,
    /// The same without what the client brought from another torana: what holds for documents that do not match.
    pub must_here: Must,
    /// What it was sent with as afterClusterTime.
    pub floor: u8,
    /// The member's snapshot.
    pub snapshot: u8,
    /// The reply's operationTime: the commit point when the member answered, not when it looked.
    pub operation_time: u8,
    /// ZooKeeper's answer, once there.
    pub registers: Option<Registers>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    pub op: Op,
    /// The entry to be majority-committed before the reply.
    pub time: u8,
    pub token: Token,
    /// What a transaction read, or the version that a replay answers with.
    pub snapshot: u8,
    /// The replayed version's token.
    pub shown: Option<Token>,
    pub must: Must,
    /// The compare-and-set on its way, computed for this version and incarnation.
    pub compare: Option<(u8, u8)>,
    /// It was computed for no znode at all: a create.
    pub create: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    #[default]
    Idle,
    Reading(Read),
    Writing(Write),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    /// The torana that it is connected to.
    pub home: usize,
    /// No barrier has been completed since it connected, or since its torana's session changed.
    pub unproven: bool,
    /// Operations it may still begin.
    pub left: u8,
    /// The checker's: what it was told, through any torana.
    pub told: [Version; DOCS],
    pub phase: Phase,
}
