//! The limit of file descriptors, which is the limit of connections.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What a process without a limit is taken to have.
const UNLIMITED: u64 = i64::MAX as u64;

/// Raises the soft limit to the hard one, and says what it is then. Linux starts processes with 1024, for the sake of
/// programs that use select(2); each client takes one, so torana takes what it may.
pub(super) fn raise_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    let now = match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, limit = before, "the descriptor limit stays as it is");
            before
        }
    };
    now.unwrap_or(UNLIMITED)
}

/// Descriptors of a load test that are not for connections to its target.
const KEPT: u64 = 100;

/// As many of `wanted` connections as there is room for, at least one; says so if these are fewer.
pub(super) fn room_for(wanted: usize) -> usize {
    let room = raise_limit().saturating_sub(KEPT).max(1);
    let granted = wanted.clamp(1, usize::try_from(room).unwrap_or(usize::MAX));
    if granted < wanted {
        eprintln!("the descriptor limit leaves room for {granted} connections, not {wanted}");
    }
    granted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afterwards_the_soft_limit_is_the_hard_one() {
        let raised = raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(raised, limit.current.unwrap_or(UNLIMITED));
    }
}
