//! Memory for reads that wait: a number of bytes, of which each takes a share until it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes in all.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    limit: usize,
}

/// A part of a budget, until dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// `limit` bytes.
    pub fn new(limit: usize) -> Budget {
        Budget { used: AtomicUsize::new(0), limit }
    }

    /// A share of `bytes`, if there is one.
    pub fn share(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        self.add(bytes).then(|| Share { budget: self.clone(), bytes })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl Share {
    /// Makes it larger by `bytes`; false if there is no room.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let has_room = self.budget.add(bytes);
        if has_room {
            self.bytes += bytes;
        }
        has_room
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_within_the_limit_and_come_back() {
        let budget = Arc::new(Budget::new(100));
        let mut first = budget.share(60).unwrap();
        assert!(budget.share(41).is_none());
        assert!(first.grow(40) && !first.grow(1));
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(budget.share(usize::MAX).is_none());
    }
}
