//! The protocol's rules, each of which a test removes.

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Writes are acknowledged once majority-committed.
    pub majority: bool,
    /// A write is published before it is acknowledged.
    pub publish: bool,
    /// A read publishes what it returns.
    pub help: bool,
    /// A new connection's first read waits for a barrier.
    pub barrier: bool,
    /// So do all connections after the session with ZooKeeper changed.
    pub barrier_after_reconnect: bool,
    /// A read is sent at `L`.
    pub known: bool,
    /// A query is sent at `C`.
    pub collection: bool,
    /// A query is also sent at the largest `L`, as reads by `_id` do not raise `C`.
    pub query_covers_known: bool,
    /// For strict queries a barrier also asks the primary (linearizable) for its time, and raises `C` to it.
    pub probe: bool,
    /// What help publishes names the version, so that the next reader need not publish it again.
    pub help_names_the_version: bool,
    /// Garbage: `base` first, then delete.
    pub base_before_delete: bool,
    /// A token that is neither the znode's nor below the floor is unknown, not newer.
    pub unknown_is_not_newer: bool,
    /// A document without a token matches no znode, even one without a token: that of a delete.
    pub tokenless_matches_nothing: bool,
    /// A returned absence raises `C` and `L`.
    pub absence_raises_collection: bool,
    /// A returned absence is published.
    pub absence_publishes: bool,
    /// What help publishes is a bound on its token, no proof that a read of it is fresh.
    pub help_is_a_bound: bool,
    /// So is what findAndModify publishes.
    pub operation_time_is_a_bound: bool,
    /// So is the token that a replay leaves in place.
    pub replay_is_a_bound: bool,
    /// A replay does not take its own token for the document's.
    pub replay_sets_no_token: bool,
    /// writeConcernError publishes nothing.
    pub error_publishes_nothing: bool,
    /// `done` stops before a write of unknown outcome.
    pub done_waits: bool,
    /// A write of several documents raises `base`.
    pub multi_raises_base: bool,
    /// distinct raises `base`.
    pub distinct_raises_base: bool,
    /// The documents that a read-only transaction returned are validated before its commit is answered.
    pub transaction_validates: bool,
    /// `base` is read after the znode: garbage collection raises the one before it deletes the other.
    pub base_read_last: bool,
    /// Deletes go through the session that owns the leader's znode, one at a time for a path.
    pub one_collector: bool,
    /// A znode that was written over across incarnations counts as unknown.
    pub incarnation: bool,
}

impl Rules {
    pub const ALL: Rules = Rules {
        majority: true,
        publish: true,
        help: true,
        barrier: true,
        barrier_after_reconnect: true,
        known: true,
        collection: true,
        query_covers_known: true,
        probe: true,
        help_names_the_version: true,
        base_before_delete: true,
        unknown_is_not_newer: true,
        tokenless_matches_nothing: true,
        absence_raises_collection: true,
        absence_publishes: true,
        help_is_a_bound: true,
        operation_time_is_a_bound: true,
        replay_is_a_bound: true,
        replay_sets_no_token: true,
        error_publishes_nothing: true,
        done_waits: true,
        multi_raises_base: true,
        distinct_raises_base: true,
        transaction_validates: true,
        base_read_last: true,
        one_collector: true,
        incarnation: true,
    };
}
