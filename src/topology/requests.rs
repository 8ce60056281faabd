//! What others ask of a member's monitor between its own polls.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Pending requests to one monitor. Any number of equal requests is one: the next poll answers all that were made
/// before it was sent.
#[derive(Debug, Default)]
pub(super) struct Requests {
    check: AtomicBool,
    config: AtomicBool,
    wake: Notify,
}

impl Requests {
    /// Asks for a hello at once.
    pub(super) fn check(&self) {
        self.check.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Asks for the set's configuration.
    pub(super) fn config(&self) {
        self.config.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn take_check(&self) -> bool {
        self.check.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take_config(&self) -> bool {
        self.config.swap(false, Ordering::AcqRel)
    }

    /// Returns when something may have been asked for. Cancel safe.
    pub(super) async fn asked(&self) {
        self.wake.notified().await;
    }
}
