//! What an exchange tells of its member: a broken connection, or an error that says that the member's state changed.
//! The monitor knows better, and is asked at once; the pool is told only what cannot be wrong.

use std::io;

use crate::pool::{Connect, Pool};
use crate::topology::{Member, TopologyVersion};

/// Errors that say that the member's state has changed (SDAM specification, "not writable primary and node is
/// recovering"): passed on as they are, and the monitor looks at once.
const STATE_CHANGE: [i64; 8] = [10107, 13435, 10058, 189, 11600, 11602, 13436, 91];

/// Those that say that the member is going down: no connection to it outlives them.
const SHUTDOWN: [i64; 2] = [11600, 91];

/// What a peer's end of a connection looks like when it closes it.
const ENDED_BY_PEER: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// A connection of `generation` broke under an exchange, `error` if the server did not just close it: no hello is
/// answered until the monitor, which looks at once, has seen that the member still answers.
///
/// A server closes a connection for what its client sent, or because the process ends. In either case each other
/// connection tells by itself what it is worth, before it is used again. Only one that was lost without a word, to a
/// host or a network that is gone, makes those of its generation suspect, which would find out as slowly.
pub fn connection_failed<C: Connect>(
    pool: &Pool<C>,
    monitored: &Member,
    generation: u64,
    error: Option<&io::Error>,
) {
    if error.is_some_and(|error| !ENDED_BY_PEER.contains(&error.kind())) {
        pool.clear_generation(generation, "a server connection broke");
    }
    monitored.hello.note_failure();
}

/// An error of this code, on a connection of `generation`, was passed to a client, which now knows of `version`.
pub fn error_passed<C: Connect>(
    pool: &Pool<C>,
    monitored: &Member,
    generation: u64,
    code: i64,
    version: Option<TopologyVersion>,
) {
    if STATE_CHANGE.contains(&code) {
        if let Some(version) = version {
            monitored.hello.note_passed(&version);
        }
        monitored.request_check();
    }
    if SHUTDOWN.contains(&code) {
        pool.clear_generation(generation, "the member is shutting down");
    }
}
