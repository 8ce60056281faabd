//! Closes idle connections that nobody should get: stale, broken, too old, or idle for too long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::shared::{Availability, Object, Shared};
use super::{CloseReason, Connect};

/// A dead connection is found at checkout anyway; this is how long it may hold a descriptor for nothing.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// The pool's reaper task. Ends when the pool is closed and the last connection has come back.
pub(super) async fn reap_until_closed<C: Connect>(shared: Arc<Shared<C>>) {
    let mut tick = interval(REAP_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut idle = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = tick.tick() => {}
            () = shared.wake_reaper.notified() => {}
        }
        reap(&shared, &mut idle);
        if shared.stack.status().size == 0 && matches!(shared.state().availability, Availability::Closed) {
            return;
        }
    }
}

/// Looks at every idle connection. `idle` is empty before and after. The stack shows only its top, so all come off
/// it and the good ones go back in reverse order. A checkout meanwhile waits for the first that goes back.
fn reap<C: Connect>(shared: &Shared<C>, idle: &mut Vec<Object<C>>) {
    while let Some(object) = shared.pop() {
        shared.reaping.fetch_add(1, Ordering::Relaxed);
        idle.push(object);
    }
    let now = Instant::now();
    let mut kept = 0;
    while let Some(mut object) = idle.pop() {
        let spare = kept + idle.len() >= shared.options.min_idle;
        let idle_too_long = |since| {
            let idle = now.saturating_duration_since(since);
            spare && shared.options.idle_timeout.is_some_and(|limit| idle >= limit)
        };
        let since = object.since;
        let fault =
            shared.fault(&mut object, now).or_else(|| idle_too_long(since).then_some(CloseReason::Idle));
        match fault {
            Some(reason) => shared.discard(object, reason),
            None => {
                shared.push(object);
                kept += 1;
            }
        }
        shared.reaping.fetch_sub(1, Ordering::Relaxed);
    }
}
