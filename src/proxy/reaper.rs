//! Ends transactions that nobody is left to end.
//!
//! A few at a time: a client that leaves thousands behind must not put as many aborts in front of the commits of
//! others. Called once a second, while the proxy serves and while it shuts down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::{Duration, timeout};

use super::context::{Member, Set, Shared};
use super::exchange::check_in;
use super::own_command;
use super::transactions::Orphan;
use crate::command::TransactionId;
use crate::metrics::OrphanEnd;
use crate::pool::{CheckoutError, Class};

/// How often it is called.
pub const EVERY: Duration = Duration::from_secs(1);

/// Aborts of one set under way at once: each takes a connection before ordinary work.
const AT_ONCE: usize = 4;

/// How long one may take, connection included: a member that does not answer must not hold up those of others.
const WITHIN: Duration = Duration::from_secs(10);

/// How many aborts of a set are under way.
#[derive(Debug, Default)]
pub struct Reaping(AtomicUsize);

impl Reaping {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One that is counted until it is dropped.
struct Counted(Arc<Set>);

impl Counted {
    fn one_more(set: &Arc<Set>) -> Counted {
        set.reaping.0.fetch_add(1, Ordering::Relaxed);
        Counted(set.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.reaping.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Begins to abort what is orphaned in `set`, on the current tokio runtime.
pub fn reap(shared: &Arc<Shared>, set: &Arc<Set>) {
    let after = shared.limits.transaction_orphan_timeout;
    while set.reaping.count() < AT_ONCE {
        let Some(orphan) = set.transactions.take_orphan(after) else { return };
        let (shared, counted) = (shared.clone(), Counted::one_more(set));
        tokio::spawn(async move {
            let mut next = Some(orphan);
            while let Some(orphan) = next {
                abort(&shared, &counted.0, orphan).await;
                next = counted.0.transactions.take_orphan(after);
            }
        });
    }
}

/// Aborts one. If that cannot be done now, it is tried again later: its member may be out of reach, or its queue full
/// of those who wait for this very transaction.
async fn abort(shared: &Shared, set: &Set, orphan: Orphan<Member>) {
    let member = orphan.member().clone();
    let failed = match timeout(WITHIN, try_abort(shared, &member, &orphan.id)).await {
        Ok(Ok(())) => return member.metrics.orphans.ended.inc(OrphanEnd::Aborted),
        Ok(Err(failed)) => failed,
        Err(_) => Failed::Now(format!("no answer in {WITHIN:?}")),
    };
    match failed {
        Failed::MemberRemoved => {}
        Failed::Now(error) => {
            if !orphan.is_again() {
                tracing::warn!(member = %member.name, %error, "an orphaned transaction was not aborted yet");
            }
            set.transactions.not_aborted(orphan);
        }
    }
}

/// Why a transaction was not aborted.
enum Failed {
    /// Its member has left the set, and nothing of it is served any more.
    MemberRemoved,
    /// It may be done later.
    Now(String),
}

async fn try_abort(shared: &Shared, member: &Member, id: &TransactionId) -> Result<(), Failed> {
    let mut server = match member.pools.common().check_out(Class::Relief, None).await {
        Ok(server) => server,
        Err(CheckoutError::Closed) => return Err(Failed::MemberRemoved),
        Err(error) => return Err(Failed::Now(error.to_string())),
    };
    let reply = own_command::run(shared, &mut server, &own_command::abort_transaction(id)).await;
    reply.map_err(|error| Failed::Now(error.to_string()))?;
    check_in(server);
    Ok(())
}
