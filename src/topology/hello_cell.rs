//! Where a member's newest hello copy is kept: written by the monitor's driver, read by every client's hello.
//!
//! A copy is given out only while fresh: not after the monitor lost the member, not when it is older than the
//! connect time-out, and through [`HelloCell::at_least_noted`] not when clients have seen something newer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, timeout_at};

use super::description::TopologyVersion;
use super::hello_copy::HelloCopy;
use super::noted::Noted;
use super::requests::Requests;

/// What those who wait for a change are woken by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The member does not answer (or has not yet): its listener answers no hello.
    Lost,
    /// The member answers, and this is its newest topologyVersion (none before server 4.4).
    Fresh(Option<TopologyVersion>),
}

/// The newest hello of one member.
#[derive(Debug)]
pub struct HelloCell {
    copy: ArcSwapOption<HelloCopy>,
    noted: Mutex<Noted>,
    state: Mutex<State>,
    changed: Notify,
    stored: Notify,
    requests: Arc<Requests>,
    fresh_for: Duration,
}

impl HelloCell {
    pub(super) fn new(requests: Arc<Requests>, fresh_for: Duration) -> HelloCell {
        HelloCell {
            copy: ArcSwapOption::empty(),
            noted: Mutex::default(),
            state: Mutex::new(State::Lost),
            changed: Notify::new(),
            stored: Notify::new(),
            requests,
            fresh_for,
        }
    }

    /// The newest copy; `None` while the member is lost, or has not answered for the connect time-out. Lock-free.
    pub fn latest(&self) -> Option<Arc<HelloCopy>> {
        let copy = self.copy.load_full()?;
        (copy.received.elapsed() < self.fresh_for).then_some(copy)
    }

    /// Ready once topologyVersion has changed after this call, or the member was lost or is back; not with each poll. A
    /// change that comes before it is polled counts.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Wakes those who wait for a change, so that they look at what else may have ended their wait.
    pub fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Remembers that a client was shown `version`, in an error for example. If the copy is behind it, the monitor is
    /// asked at once.
    pub fn note_passed(&self, version: &TopologyVersion) {
        let copy = self.copy.load();
        if self.noted().note(version, copy.as_deref(), Instant::now()) {
            self.requests.check();
        }
    }

    /// A connection to the member broke: no copy that was asked for before proves that it answers. The monitor is asked
    /// at once.
    pub fn note_failure(&self) {
        self.noted().fail(Instant::now());
        self.requests.check();
    }

    /// The newest copy that is not older than anything noted: at once as a rule, else as soon as the monitor, asked
    /// at once, has it. `None` when the member is lost, or at `deadline`. Cancel safe.
    pub async fn at_least_noted(&self, deadline: Instant) -> Option<Arc<HelloCopy>> {
        self.proven(deadline, |_| true).await
    }

    /// The newest copy as [`HelloCell::at_least_noted`] has it, if it was asked for at `since` or later: what the member
    /// itself answers now. `None` when the member is lost, or has not answered for the connect time-out. Cancel safe.
    pub async fn asked_since(&self, since: Instant) -> Option<Arc<HelloCopy>> {
        let is_new = |copy: &HelloCopy| copy.asked.is_some_and(|asked| asked >= since);
        self.proven(since + self.fresh_for, is_new).await
    }

    /// As [`HelloCell::at_least_noted`], but not waited for.
    pub fn noted_or_newer(&self) -> Option<Arc<HelloCopy>> {
        self.latest().filter(|copy| self.noted().reached_by(copy))
    }

    async fn proven(&self, deadline: Instant, proves: impl Fn(&HelloCopy) -> bool) -> Option<Arc<HelloCopy>> {
        loop {
            let stored = self.stored.notified();
            let copy = self.latest()?;
            if self.noted().reached_by(&copy) && proves(&copy) {
                return Some(copy);
            }
            self.requests.check();
            timeout_at(deadline, stored).await.ok()?;
        }
    }

    /// Puts `copy` in place, unless the one there is of a later state of the same process.
    pub(super) fn store(&self, copy: HelloCopy) {
        if self.copy.load().as_ref().is_some_and(|old| !copy.may_replace(old)) {
            return;
        }
        let state = State::Fresh(copy.topology_version());
        self.copy.store(Some(Arc::new(copy)));
        self.set_state(state);
    }

    /// The member is lost: the copy is gone until the next one.
    pub(super) fn lose(&self) {
        self.copy.store(None);
        self.set_state(State::Lost);
    }

    fn set_state(&self, state: State) {
        let old = std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state);
        if old != state {
            self.changed.notify_waiters();
        }
        self.stored.notify_waiters();
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        // Nothing panics while the lock is held, and a half-made note would do no harm.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
