//! Which collections were written to lately, as far as this torana sees: a difference there may be one of the moment.
//!
//! A fixed table of times by a hash of the name, so that a write costs one store. Two collections may share a place, and
//! then a write to one is taken for one to both: a difference is then doubted that need not be.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Places in the table: 32 KiB.
const PLACES: usize = 4096;

/// When each collection was last written to, milliseconds since this was made; 0 is never.
#[derive(Debug)]
pub struct Writes {
    began: Instant,
    hasher: RandomState,
    places: Box<[AtomicU64]>,
    /// A write that may have been to any collection.
    any: AtomicU64,
}

impl Default for Writes {
    fn default() -> Writes {
        Writes {
            began: Instant::now(),
            hasher: RandomState::new(),
            places: std::iter::repeat_with(AtomicU64::default).take(PLACES).collect(),
            any: AtomicU64::new(0),
        }
    }
}

impl Writes {
    /// A write to `named`, database and collection; to any if `None`.
    pub fn note(&self, named: Option<(&[u8], &[u8])>) {
        let now = self.millis(Instant::now()).max(1);
        let place = named.and_then(|named| self.place(named)).unwrap_or(&self.any);
        place.fetch_max(now, Ordering::Relaxed);
    }

    /// Whether there was a write to the collection since `within` before `since`.
    pub fn has_one(&self, named: (&[u8], &[u8]), since: Instant, within: Duration) -> bool {
        let from = self.millis(since).saturating_sub(within.as_millis() as u64);
        let is_later = |last: u64| last != 0 && last >= from;
        let own = self.place(named).map_or(0, |place| place.load(Ordering::Relaxed));
        is_later(own) || is_later(self.any.load(Ordering::Relaxed))
    }

    fn place(&self, named: (&[u8], &[u8])) -> Option<&AtomicU64> {
        self.places.get(self.hasher.hash_one(named) as usize % PLACES)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_makes_its_own_collection_doubtful_and_one_to_any_makes_all() {
        let writes = Writes::default();
        let (users, orders) = ((&b"app"[..], &b"users"[..]), (&b"app"[..], &b"orders"[..]));
        let (now, within) = (Instant::now(), Duration::from_secs(2));
        assert!(!writes.has_one(users, now, within));
        writes.note(Some(users));
        assert!(writes.has_one(users, now, within));
        assert!(!writes.has_one(orders, now, within));
        assert!(!writes.has_one(users, now + Duration::from_secs(3), within));
        writes.note(None);
        assert!(writes.has_one(orders, now, within));
    }
}
