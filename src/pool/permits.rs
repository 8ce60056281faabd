//! Permits that change hands without a lock while nobody waits for one.
//!
//! tokio's semaphore takes its lock at each permit that comes back, to look for who waits. Mostly nobody does, so a permit
//! that comes back is only counted then. Whoever is about to wait first hands what was counted to the semaphore, and as
//! long as anyone waits all permits go there, so they are given first come first served.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// Permits, of which each is taken and given back by count: nothing gives one back by itself but a
/// [`SemaphorePermit`] that was waited for and not forgotten.
pub(super) struct Permits {
    /// Those that nobody waited for when they came back.
    free: AtomicUsize,
    waiting: AtomicUsize,
    queue: Semaphore,
}

/// One more in a count, until dropped.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(super) fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Permits {
    pub(super) fn new(count: usize) -> Self {
        Permits { free: AtomicUsize::new(count), waiting: AtomicUsize::new(0), queue: Semaphore::new(0) }
    }

    /// Takes a permit, if there is one and nobody waits for it.
    pub(super) fn try_take(&self) -> bool {
        let free = self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1));
        // Those that had been handed over and were not needed.
        free.is_ok() || self.queue.try_acquire().map(SemaphorePermit::forget).is_ok()
    }

    /// Gives a permit back, to the oldest waiter if there is one.
    pub(super) fn give(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return self.queue.add_permits(1);
        }
        self.free.fetch_add(1, Ordering::SeqCst);
        // Whoever waits has counted itself before it looked for free ones, so one of the two sees the other.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.hand_over();
        }
    }

    /// Counts the caller among those who wait, until it drops what it gets: from now on permits go by the order of asking.
    pub(super) fn wait(&self) -> Counted<'_> {
        let waits = Counted::new(&self.waiting);
        self.hand_over();
        waits
    }

    /// A permit, in the order of asking. Only for callers of [`wait`](Self::wait), which keep what that returned.
    ///
    /// Cancel safe: what was meant for a dropped waiter goes to the next.
    // No `async fn` that counts as well: every waiting session would be larger.
    pub(super) fn acquire(&self) -> impl Future<Output = Result<SemaphorePermit<'_>, AcquireError>> {
        self.queue.acquire()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many nobody has.
    pub(super) fn available(&self) -> usize {
        self.free.load(Ordering::Relaxed) + self.queue.available_permits()
    }

    fn hand_over(&self) {
        match self.free.swap(0, Ordering::SeqCst) {
            0 => {}
            free => self.queue.add_permits(free),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use tokio::task::yield_now;

    #[tokio::test]
    async fn who_waits_comes_before_who_asks_later_and_in_order() {
        let permits = Permits::new(1);
        assert!(permits.try_take() && !permits.try_take());
        let (mut first, mut second) = (Box::pin(acquire(&permits)), Box::pin(acquire(&permits)));
        assert!(is_pending(&mut first).await && is_pending(&mut second).await);
        permits.give();
        assert!(!permits.try_take(), "it is the first one's");
        assert!(is_pending(&mut second).await);
        first.await;
        permits.give();
        drop(second);
        assert_eq!(permits.available(), 1);
        assert!(permits.try_take(), "what was meant for who has left");
    }

    async fn acquire(permits: &Permits) {
        let _waits = permits.wait();
        permits.acquire().await.unwrap().forget();
    }

    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn none_is_lost_or_given_twice() {
        const COUNT: usize = 3;
        const ROUNDS: usize = 2_000;
        let permits = Arc::new(Permits::new(COUNT));
        let taken = Arc::new(AtomicUsize::new(0));
        let too_many = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = (0..12)
            .map(|number| {
                let (permits, taken, too_many) = (permits.clone(), taken.clone(), too_many.clone());
                tokio::spawn(async move {
                    for round in 0..ROUNDS {
                        if !permits.try_take() {
                            acquire(&permits).await;
                        }
                        if taken.fetch_add(1, Ordering::SeqCst) >= COUNT {
                            too_many.store(true, Ordering::SeqCst);
                        }
                        if (round + number) % 3 == 0 {
                            yield_now().await;
                        }
                        taken.fetch_sub(1, Ordering::SeqCst);
                        permits.give();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(!too_many.load(Ordering::SeqCst));
        assert_eq!(permits.available(), COUNT);
    }
}
