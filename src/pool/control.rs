//! What changes for all at once: clear, pause, resume, close; and what a caller is told meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::shared::{Availability, Shared};
use super::{CheckoutError, Class, Connect, Status};

impl<C: Connect> Shared<C> {
    pub(super) fn clear(&self) {
        self.advance(&mut self.state());
        self.wake_tasks();
    }

    pub(super) fn clear_generation(&self, generation: u64) -> bool {
        {
            let mut state = self.state();
            if generation != self.generation() {
                return false;
            }
            self.advance(&mut state);
        }
        self.wake_tasks();
        true
    }

    pub(super) fn pause(&self, cause: &Arc<str>) {
        if self.halt(Availability::Paused(cause.clone())) {
            self.events.paused(cause);
        }
    }

    pub(super) fn close(&self) {
        self.awaiting.close();
        self.halt(Availability::Closed);
    }

    /// Makes all connections stale and has all who wait look at `verdict`. False after a close, which is for good.
    fn halt(&self, verdict: Availability) -> bool {
        {
            let mut state = self.state();
            if matches!(state.availability, Availability::Closed) {
                return false;
            }
            state.availability = verdict;
            self.advance(&mut state);
        }
        self.verdict.notify_waiters();
        self.wake_tasks();
        true
    }

    pub(super) fn resume(&self) {
        let resumed = {
            let mut state = self.state();
            state.try_now = true;
            state.open()
        };
        if resumed {
            self.events.resumed();
        }
        self.wake_connector.notify_one();
    }

    /// Why nobody gets or awaits a connection now, if so.
    pub(super) fn verdict(&self) -> Option<CheckoutError> {
        match &self.state().availability {
            Availability::Open => None,
            Availability::Failing(cause) | Availability::Paused(cause) => {
                Some(CheckoutError::Unavailable { cause: cause.clone() })
            }
            Availability::Closed => Some(CheckoutError::Closed),
        }
    }

    /// Whether one more may wait. The caller has counted itself, and listens for verdicts already.
    ///
    /// Ordinary work ends the queue at its limit; behind it there is as much room again for those who hold what the
    /// queue may be waiting for.
    pub(super) fn admit(&self, class: Class) -> Result<(), CheckoutError> {
        if let Some(refusal) = self.verdict() {
            return Err(self.refuse(refusal));
        }
        let waiting = self.waiting.load(Ordering::Relaxed);
        let limit = match class {
            Class::Ordinary => self.options.queue_max,
            Class::Relief => self.options.queue_max.saturating_mul(2),
        };
        if waiting <= limit {
            return Ok(());
        }
        let Status { max, out, .. } = self.status();
        Err(self.refuse(CheckoutError::QueueFull { waiting: waiting - 1, limit, max, out }))
    }

    /// Now, and how long a caller may wait from now on.
    pub(super) fn time_to_wait(&self, deadline: Option<Instant>) -> (Instant, Sleep) {
        let now = Instant::now();
        let end = now + self.options.wait_timeout;
        (now, sleep_until(deadline.map_or(end, |deadline| deadline.min(end))))
    }

    /// Tells the observer.
    pub(super) fn refuse(&self, error: CheckoutError) -> CheckoutError {
        self.events.checkout_failed(&error);
        error
    }

    /// What a caller whose time is up is told.
    pub(super) fn expired(&self, waited: Duration) -> CheckoutError {
        let Status { max, out, connecting, waiting, .. } = self.status();
        CheckoutError::WaitTimeout { waited, max, out, connecting, waiting: waiting.saturating_sub(1) }
    }

    pub(super) fn status(&self) -> Status {
        let stack = self.stack.status();
        let reaping = self.reaping.load(Ordering::Relaxed);
        let idle = (stack.available + reaping).min(stack.size);
        let awaiting_max = self.options.awaiting_budget();
        let ordinary_max = self.ordinary_max;
        Status {
            max: self.options.max,
            size: stack.size,
            idle,
            out: stack.size - idle,
            connecting: self.connecting.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            queue_max: self.options.queue_max,
            ordinary: ordinary_max.saturating_sub(self.ordinary.available()),
            ordinary_max,
            awaiting: awaiting_max.saturating_sub(self.awaiting.available_permits()),
            awaiting_max,
        }
    }

    fn wake_tasks(&self) {
        self.wake_connector.notify_one();
        self.wake_reaper.notify_one();
    }
}
