//! What clients ask and servers answer, as far as pooling and pinning care.

use std::sync::Arc;
use std::time::Duration;

use torana::proxy::transactions::Step;
use torana::topology::TopologyVersion;

use crate::node::Transaction;
use crate::wire::Wire;

/// An operation.
#[derive(Clone)]
pub enum Op {
    Find,
    /// A plain write of a document; it waits for a transaction that holds it.
    Write(u8),
    /// The next batch of a cursor that does not await.
    GetMore,
    /// The next batch of one that does: nothing comes for so long.
    Await(Duration),
    /// A statement of a transaction, which writes a document.
    Statement(Transaction, Step, u8),
    Commit(Transaction),
    Abort(Transaction),
    /// killOp on what runs for a connection.
    Kill(Arc<Wire>),
}

impl Op {
    /// Whether ending it half-way changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(self, Op::Find | Op::GetMore | Op::Await(_))
    }

    /// Whether it frees what others wait for, by its command alone.
    pub fn is_relief(&self) -> bool {
        matches!(self, Op::Commit(_) | Op::Abort(_) | Op::Kill(_))
    }

    /// The transaction that it belongs to, and what it does to it.
    pub fn statement(&self) -> Option<(Transaction, Step)> {
        match self {
            Op::Statement(transaction, step, _) => Some((*transaction, *step)),
            Op::Commit(transaction) => Some((*transaction, Step::Commit)),
            Op::Abort(transaction) => Some((*transaction, Step::Continue)),
            _ => None,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Op::Find => "find".into(),
            Op::Write(document) => format!("write {document}"),
            Op::GetMore => "getMore".into(),
            Op::Await(wait) => format!("getMore awaiting {wait:?}"),
            Op::Statement(transaction, step, document) => format!("{step:?} {transaction:?} on {document}"),
            Op::Commit(transaction) => format!("commit {transaction:?}"),
            Op::Abort(transaction) => format!("abort {transaction:?}"),
            Op::Kill(wire) => format!("killOp on connection {}", wire.id),
        }
    }
}

/// An operation on its way.
#[derive(Clone)]
pub struct Request {
    pub client: u64,
    pub nonce: u64,
    pub op: Op,
    /// How long the server works on it.
    pub service: Duration,
}

/// Its answer: whose it is, and the error if it is one.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    pub client: u64,
    pub nonce: u64,
    pub code: Option<i64>,
    pub version: TopologyVersion,
}
