//! Waiting for something to become true, with a limit.

use std::time::{Duration, Instant};

/// How often a condition is looked at. Short against an election (seconds) and long against a look (under 1 ms).
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `condition` gives something, and panics with `what` if it has not within `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks until `condition` is true, and panics with `what` if it is not within `limit`.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, limit, || condition().then_some(()));
}
