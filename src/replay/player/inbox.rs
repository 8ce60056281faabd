//! From the planner to the player: batches of items, and a signal that wakes a player that sleeps on its sockets.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::replay::job::Item;

/// Batches on their way.
const BATCHES_MAX: usize = 8;

/// The planner's end.
#[derive(Debug)]
pub struct Sender {
    batches: Option<SyncSender<Vec<Item>>>,
    signal: Arc<OwnedFd>,
}

/// The player's end.
#[derive(Debug)]
pub struct Inbox {
    batches: Receiver<Vec<Item>>,
    signal: Arc<OwnedFd>,
    first: Option<Vec<Item>>,
    is_over: bool,
}

/// Both ends.
pub fn inbox() -> std::io::Result<(Sender, Inbox)> {
    let (sender, batches) = sync_channel(BATCHES_MAX);
    let signal = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let inbox = Inbox { batches, signal: signal.clone(), first: None, is_over: false };
    Ok((Sender { batches: Some(sender), signal }, inbox))
}

impl Sender {
    /// Hands a batch over, and waits while too many are on their way. False if the player is gone.
    pub fn send(&self, batch: Vec<Item>) -> bool {
        let sent = self.batches.as_ref().is_some_and(|batches| batches.send(batch).is_ok());
        self.wake();
        sent
    }

    fn wake(&self) {
        // It only fails when the counter is full, and then the player is awake already.
        let _ = rustix::io::write(&*self.signal, &1u64.to_ne_bytes());
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.batches = None;
        self.wake();
    }
}

impl Inbox {
    /// What the poller watches.
    pub(super) fn signal(&self) -> &OwnedFd {
        &self.signal
    }

    /// The signal came.
    pub(super) fn heard(&self) {
        let _ = rustix::io::read(&*self.signal, &mut [0u8; 8]);
    }

    /// Waits for the first batch.
    pub(super) fn wait_first(&mut self, stop: &AtomicBool) {
        while self.first.is_none() && !self.is_over && !stop.load(Ordering::Relaxed) {
            match self.batches.recv_timeout(Duration::from_millis(50)) {
                Ok(batch) => self.first = Some(batch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.is_over = true,
            }
        }
    }

    /// The next batch, if one is there.
    pub(super) fn next(&mut self) -> Option<Vec<Item>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.batches.try_recv() {
            Ok(batch) => Some(batch),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.is_over = true;
                None
            }
        }
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.first.is_none()
    }
}
