//! Numbers that many threads count up and few ever read.
//!
//! Each thread counts in cells of its own, its lane, with a load and a store; an atomic addition costs ten times as
//! much, and thirty times when another thread counts the same. Whoever reads adds the lanes up. The cells of one
//! owner's metrics lie side by side, so that a message touches a few cache lines of them and not one for each metric.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Lanes that one thread at a time has to itself. Threads beyond that many share one more.
const OWN: usize = 32;
const SHARED: usize = OWN;

/// A bit for each lane that a thread has. Static, as threads are: what a thread counts in has to be found without a handle.
static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LANE: Lane = Lane::take();
}

/// This thread's lane, given back when the thread ends.
struct Lane(usize);

impl Lane {
    fn take() -> Lane {
        let mut taken = TAKEN.load(Ordering::Relaxed);
        loop {
            let free = taken.trailing_ones() as usize;
            if free >= OWN {
                return Lane(SHARED);
            }
            // Acquires what the lane's last owner has stored.
            match TAKEN.compare_exchange_weak(taken, taken | 1 << free, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Lane(free),
                Err(now) => taken = now,
            }
        }
    }

    /// A thread that is ending, and has given its lane back, shares.
    fn of_this_thread() -> usize {
        LANE.try_with(|lane| lane.0).unwrap_or(SHARED)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.0 < OWN {
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

/// The cells of one owner's metrics, in every lane.
pub(super) struct Lanes {
    /// Cells of a lane. Grows while the metrics are made, and no more once one was counted.
    length: AtomicUsize,
    /// Made at the first count of a thread.
    lanes: [OnceLock<Box<[AtomicU64]>>; OWN + 1],
}

impl Lanes {
    pub(super) fn new() -> Lanes {
        Lanes { length: AtomicUsize::new(0), lanes: array::from_fn(|_| OnceLock::new()) }
    }

    /// Room for `cells` more, and where it begins.
    pub(super) fn reserve(&self, cells: usize) -> usize {
        debug_assert!(self.lanes.iter().all(|lane| lane.get().is_none()), "counted before all was made");
        self.length.fetch_add(cells, Ordering::Relaxed)
    }

    /// Adds to each cell its count. Allocates at the first call in a lane.
    #[inline]
    pub(super) fn add<const N: usize>(&self, counts: [(usize, u64); N]) {
        let lane = Lane::of_this_thread();
        let cells = self.lanes[lane].get_or_init(|| self.cells());
        for (at, count) in counts {
            let cell = &cells[at];
            if lane == SHARED {
                cell.fetch_add(count, Ordering::Relaxed);
            } else {
                cell.store(cell.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
            }
        }
    }

    /// What all threads have counted in cell `at`.
    pub(super) fn sum(&self, at: usize) -> u64 {
        let cells = self.lanes.iter().filter_map(|lane| lane.get()?.get(at));
        cells.fold(0, |sum, cell| sum.wrapping_add(cell.load(Ordering::Relaxed)))
    }

    #[cold]
    fn cells(&self) -> Box<[AtomicU64]> {
        (0..self.length.load(Ordering::Relaxed)).map(|_| AtomicU64::new(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn nothing_is_lost_by_more_threads_than_there_are_lanes_and_those_that_end_make_room() {
        let lanes = Lanes::new();
        let (first, second) = (lanes.reserve(1), lanes.reserve(2));
        let threads = OWN + 8;
        let together = Barrier::new(threads);
        for _ in 0..2 {
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        together.wait();
                        for _ in 0..1000 {
                            lanes.add([(first, 1)]);
                            lanes.add([(second + 1, 3)]);
                        }
                    });
                }
            });
        }
        let counted = 2 * 1000 * threads as u64;
        assert_eq!([first, second, second + 1].map(|at| lanes.sum(at)), [counted, 0, 3 * counted]);
        for _ in 0..4 * OWN {
            let lane = thread::scope(|scope| scope.spawn(Lane::of_this_thread).join().unwrap());
            assert_ne!(lane, SHARED);
        }
    }
}
