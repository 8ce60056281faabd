//! The errors that torana answers in a member's place: no room, no time, going away.
//!
//! None of them is a "not writable primary" error: drivers would take that for news of the member and look for
//! another primary, while it is torana that has too much to do.

use std::time::Duration;

use super::error_code::ErrorCode;
use super::errors::{CommandError, Labels};
use crate::command::Fields;

/// What of a failed request may be tried once more, by the client's driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryScope {
    /// Neither a retryable write nor a transaction.
    Plain,
    /// The same write with the same txnNumber; commitTransaction and abortTransaction too.
    Write,
    /// The whole transaction that this statement is part of.
    Transaction,
    /// The change stream that this getMore may be of. Drivers resume one by this label alone (change streams
    /// specification, "resumable error", servers from 4.4).
    Stream,
}

impl RetryScope {
    /// The scope of the command that `fields` were read from.
    ///
    /// A commit never gets TransientTransactionError: the driver would run the transaction again while the first may
    /// commit yet. As in mongod it counts as a retryable write.
    pub fn of(fields: &Fields<'_>) -> RetryScope {
        let ends = matches!(fields.name, b"commitTransaction" | b"abortTransaction");
        match (fields.transaction.is_some(), fields.in_transaction && !ends) {
            (true, true) => RetryScope::Transaction,
            (true, false) => RetryScope::Write,
            (false, _) => RetryScope::Plain,
        }
    }

    /// The label that lets drivers do so.
    pub fn label(self) -> Labels {
        match self {
            RetryScope::Plain => Labels::NONE,
            RetryScope::Write => Labels::RETRYABLE_WRITE,
            RetryScope::Transaction => Labels::TRANSIENT_TRANSACTION,
            RetryScope::Stream => Labels::RESUMABLE_STREAM,
        }
    }
}

/// Why a request did not get a server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// The wait queue is at its limit.
    QueueFull {
        /// Requests that may wait.
        limit: usize,
    },
    /// It waited as long as is allowed.
    WaitTimeout {
        /// How long it waited.
        waited: Duration,
        /// Connections of the pool that it waited for.
        pool_max: usize,
    },
}

/// No server connection for this request: ExceededTimeLimit (262), on which current drivers back off and retry.
pub fn overloaded(why: Overload, member: &str, scope: RetryScope) -> CommandError {
    let what = match why {
        Overload::QueueFull { limit } => {
            format!("{limit} requests already wait for a connection to {member}, which is the limit")
        }
        Overload::WaitTimeout { waited, pool_max } => format!(
            "the request waited {} ms for one of the {pool_max} connections to {member} and was not sent",
            waited.as_millis()
        ),
    };
    let next =
        "try again later, raise pool.max (--pool-max), or look for slow operations with db.currentOp()";
    CommandError::of_torana(ErrorCode::EXCEEDED_TIME_LIMIT, what, next)
        .labelled(scope.label().and(Labels::SYSTEM_OVERLOADED).and(Labels::RETRYABLE))
}

/// The request's own maxTimeMS passed while it waited: it was never sent.
pub fn max_time_passed_in_queue(max_time_ms: i64, member: &str) -> CommandError {
    let what = format!(
        "maxTimeMS of {max_time_ms} ms passed while the request waited for a connection to {member}; it was not sent"
    );
    CommandError::of_torana(ErrorCode::MAX_TIME_MS_EXPIRED, what, "raise maxTimeMS or pool.max (--pool-max)")
}

/// torana is being stopped. Drivers take it as they take a mongod that shuts down.
pub fn shutting_down(scope: RetryScope) -> CommandError {
    let next = "connect again: another process may have taken its place";
    CommandError::of_torana(ErrorCode::SHUTDOWN_IN_PROGRESS, "it is shutting down", next)
        .labelled(scope.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    fn scope(document: bson::Document) -> RetryScope {
        let bytes = bson::serialize_to_vec(&document).unwrap();
        RetryScope::of(&Fields::read(&bytes).unwrap())
    }

    #[test]
    fn labels_follow_from_what_may_be_run_again() {
        let id = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] };
        let lsid = doc! { "id": id };
        assert_eq!(scope(doc! { "find": "c", "lsid": lsid.clone() }), RetryScope::Plain);
        assert_eq!(scope(doc! { "insert": "c", "lsid": lsid.clone(), "txnNumber": 1i64 }), RetryScope::Write);
        let inside = doc! { "insert": "c", "lsid": lsid.clone(), "txnNumber": 1i64, "autocommit": false };
        assert_eq!(scope(inside), RetryScope::Transaction);
        let commit = doc! { "commitTransaction": 1, "lsid": lsid, "txnNumber": 1i64, "autocommit": false };
        assert_eq!(scope(commit), RetryScope::Write);
    }

    #[test]
    fn an_overload_names_the_limit_and_makes_drivers_back_off() {
        let error = overloaded(Overload::QueueFull { limit: 7 }, "db1:27017", RetryScope::Transaction);
        assert!(error.errmsg.starts_with("torana: 7 requests already wait for a connection to db1:27017"));
        let labels: Vec<_> = error.labels.texts().collect();
        assert_eq!(labels, ["TransientTransactionError", "SystemOverloadedError", "RetryableError"]);
        assert_eq!(error.code, ErrorCode::EXCEEDED_TIME_LIMIT);
    }
}
