//! Which job has to wait for which, and which are done.
//!
//! The rule is that of the capture's own clients: an operation that was sent when another had been *acknowledged* may
//! rely on it, if they share a resource; what overlapped in time may have gone either way, and may again. [`Order`] is the
//! planner's half, which knows what was acknowledged in the capture; [`Done`] is the player's, which knows what is over.

use std::collections::VecDeque;

use super::hash::Map;
use super::job::ConnectionId;

/// Resources are looked through for those that nobody has to wait for any more whenever so many were added.
const SWEEP_EVERY: usize = 16_384;

/// Who touched each resource last.
#[derive(Debug, Default)]
pub struct Order {
    last: Map<u64, Vec<Holder>>,
    added: usize,
}

/// A job that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    job: u64,
    connection: ConnectionId,
}

impl Order {
    /// The jobs that one on `connection`, which needs `resources`, has to wait for. Those of its own connection are done before
    /// it anyway.
    pub fn before(&self, resources: impl Iterator<Item = u64>, connection: ConnectionId) -> Vec<u64> {
        let holders = resources.filter_map(|resource| self.last.get(&resource)).flatten();
        let mut jobs: Vec<u64> =
            holders.filter(|holder| holder.connection != connection).map(|holder| holder.job).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs
    }

    /// In the capture, `job` was acknowledged: who needs one of `resources` from here on waits for it. It stands for those that it
    /// `waited` for itself, and for all before it on its connection. All jobs below `done_below` are done.
    pub fn acknowledged(
        &mut self,
        job: u64,
        connection: ConnectionId,
        resources: &[u64],
        waited: &[u64],
        done_below: u64,
    ) {
        for resource in resources {
            let holders = self.last.entry(*resource).or_default();
            holders.retain(|holder| holder.connection != connection && !waited.contains(&holder.job));
            holders.push(Holder { job, connection });
        }
        self.added += resources.len();
        if self.added >= SWEEP_EVERY {
            self.added = 0;
            self.last.retain(|_, holders| {
                holders.retain(|holder| holder.job >= done_below);
                !holders.is_empty()
            });
        }
    }

    /// How many resources are remembered.
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}

/// Which jobs are over. Remembers one bit for each job above the first that is not.
#[derive(Debug, Default)]
pub struct Done {
    below: u64,
    above: VecDeque<bool>,
}

impl Done {
    /// Whether `job` is over.
    pub fn is_done(&self, job: u64) -> bool {
        match job.checked_sub(self.below) {
            None => true,
            Some(place) => self.above.get(place as usize).copied().unwrap_or(false),
        }
    }

    /// `job` is over.
    pub fn finish(&mut self, job: u64) {
        let Some(place) = job.checked_sub(self.below) else { return };
        let place = place as usize;
        if place >= self.above.len() {
            self.above.resize(place + 1, false);
        }
        if let Some(bit) = self.above.get_mut(place) {
            *bit = true;
        }
        while self.above.front() == Some(&true) {
            self.above.pop_front();
            self.below += 1;
        }
    }

    /// All jobs below this one are over.
    pub fn below(&self) -> u64 {
        self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn on(number: u64) -> ConnectionId {
        ConnectionId { lap: 0, number }
    }

    #[test]
    fn a_job_waits_for_those_that_were_acknowledged_before_it_on_other_connections() {
        let mut order = Order::default();
        assert!(order.before([1].into_iter(), on(9)).is_empty());
        order.acknowledged(10, on(1), &[1, 2], &[], 0);
        order.acknowledged(11, on(2), &[2], &[], 0);
        assert_eq!(order.before([1].into_iter(), on(9)), [10]);
        assert_eq!(order.before([2, 1].into_iter(), on(9)), [10, 11]);
        assert_eq!(order.before([2].into_iter(), on(1)), [11]);
        order.acknowledged(12, on(3), &[2], &[10, 11], 0);
        assert_eq!(order.before([2].into_iter(), on(9)), [12]);
    }

    #[test]
    fn what_is_done_is_forgotten() {
        let mut order = Order::default();
        for job in 0..SWEEP_EVERY as u64 {
            order.acknowledged(job, on(job), &[job], &[], job.saturating_sub(10));
        }
        assert!(order.len() <= 11, "{}", order.len());
    }

    proptest! {
        #[test]
        fn the_jobs_that_are_done_are_those_that_were_finished(jobs in Just((0u64..50).collect::<Vec<_>>()).prop_shuffle(), count in 0usize..50) {
            let mut done = Done::default();
            let (finished, rest) = jobs.split_at(count);
            finished.iter().for_each(|job| done.finish(*job));
            prop_assert!(finished.iter().all(|job| done.is_done(*job)));
            prop_assert!(rest.iter().all(|job| !done.is_done(*job)));
            prop_assert_eq!(done.below(), rest.iter().min().copied().unwrap_or(50));
        }
    }
}
