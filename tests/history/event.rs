//! What clients record.

/// A write: the client's number in the upper half, its transaction number in the lower one. A document that it wrote
/// has it as `w`, and the oplog has it as session and transaction number.
pub type WriteId = u64;

/// A document: its collection and its `_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Index of the collection.
    pub collection: u8,
    /// `_id`.
    pub id: u8,
}

/// What an operation has seen of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is not there.
    Absent,
    /// It is there; which state it has was not told.
    Present,
    /// It is there as this write left it.
    Left(WriteId),
}

/// What was asked, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// What was seen of some documents, at one moment.
    Read(Vec<(Key, Seen)>),
    /// A write that was acknowledged, and what its reply said of the document before it.
    Wrote(WriteId, Option<(Key, Seen)>),
    /// A write of which nobody knows whether it was made, or will be.
    Doubtful(WriteId),
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Whose it is: an application that goes from torana to torana, one operation at a time.
    pub client: u32,
    /// The collection that it is about.
    pub collection: u8,
    /// When it was sent first, and when its outcome was known: nanoseconds of one clock.
    pub start: u64,
    /// See `start`.
    pub end: u64,
    /// The rest.
    pub what: What,
}
