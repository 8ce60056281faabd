//! Where floors are kept so that they outlive this torana, and are shared with others.
//!
//! For each document a [`Floor`]: the latest time that anyone has been told of, and the version that it was told of.
//! For each collection a base, below which no document needs a floor of its own. Both only rise. For each torana that
//! has ever run an epoch, and how many of its writes are settled. `tests/floors_model` searches the protocol that these
//! registers are for.

mod key;
mod value;
mod zookeeper;

use std::future::Future;

pub use key::{CollectionKey, DocumentKey};
pub use value::{Floor, Malformed, Token};
pub use zookeeper::{ZooKeeper, ZooKeeperOptions};

/// What the registers said of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its own floor, if it has one.
    pub floor: Option<Floor>,
    /// Whether that floor was written over by somebody who had read it before it was deleted and made anew: then it says
    /// nothing, and the base has to be raised to the primary's time.
    pub is_doubtful: bool,
    /// The collection's base, read after the floor: who deletes a floor has raised the base before.
    pub base: u64,
}

/// Why a register could not be read or raised.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer, or no connection. What was to be raised may be raised or not; to raise it again does no harm.
    #[error("{0}")]
    Unavailable(String),
    /// What stands there was not written by torana.
    #[error("{path} holds something that torana did not write: {cause}")]
    Foreign {
        /// Where.
        path: String,
        /// What is wrong with it.
        cause: Malformed,
    },
    /// The configuration names no place in the store.
    #[error(
        "{0:?} is no place in ZooKeeper: write an absolute path such as /torana/rs0, without a slash at its end"
    )]
    Root(String),
    /// The store does not let us.
    #[error("{0} is not allowed: its access control list does not name this torana")]
    Forbidden(String),
}

/// Registers that only rise. All calls are cancel safe: a raise that was cancelled may or may not be done.
pub trait FloorStore: Send + Sync {
    /// The epoch of this torana: unique among all that ever used this store.
    fn epoch(&self) -> u32;

    /// What the registers say of a document. At least what they said when the last [`barrier`](Self::barrier) that has
    /// ended was begun.
    fn read(
        &self,
        collection: &CollectionKey,
        document: DocumentKey,
    ) -> impl Future<Output = Result<Seen, StoreError>> + Send;

    /// The base of a collection, as new as [`read`](Self::read) has it.
    fn base(&self, collection: &CollectionKey) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Raises a document's floor to `wanted`, unless it or the base says as much already. False if what stands there is
    /// doubtful ([`Seen::is_doubtful`]): nothing was written then. Raise the base to the primary's time first, so that no
    /// reader takes the doubt for settled before it is, and then [`settle`](Self::settle).
    fn raise(
        &self,
        collection: &CollectionKey,
        document: DocumentKey,
        wanted: Floor,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Writes a document's floor over a doubtful one, once the base covers all that this one may have said.
    fn settle(
        &self,
        collection: &CollectionKey,
        document: DocumentKey,
        wanted: Floor,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Raises a collection's base to `time`.
    fn raise_base(
        &self,
        collection: &CollectionKey,
        time: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// After it, reads show at least what any torana had written when it was begun. Shared by all who wait.
    fn barrier(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How many of the writes of `epoch` are settled: published, covered by a base, or known not to have happened.
    fn done(&self, epoch: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Every write of this torana up to `serial` is settled. Takes effect with the next barrier, too.
    fn raise_done(&self, serial: u64) -> impl Future<Output = Result<(), StoreError>> + Send;
}
