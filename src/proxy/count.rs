//! How many of something there are now, and at most.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are in some state now.
#[derive(Debug, Default)]
pub struct Count(AtomicUsize);

impl Count {
    /// Counts one more until the guard is dropped.
    pub fn enter(&self) -> CountGuard<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountGuard(&self.0)
    }

    /// Counts one more until the guard is dropped, if there are fewer than `max`.
    pub fn enter_below(&self, max: usize) -> Option<CountGuard<'_>> {
        let one_more = |count: usize| (count < max).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(CountGuard(&self.0))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One that is counted.
#[derive(Debug)]
pub struct CountGuard<'a>(&'a AtomicUsize);

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
