//! Which job has to wait for which, and which are done.
//!
//! The rule is that of the capture's own clients: an operation that was sent when another had been *acknowledged* may
//! rely on it, if one of them changes what the other looks at; what overlapped in time may have gone either way, and may
//! again. [`Order`] is the planner's half, which knows what was acknowledged in the capture; [`Done`] is the player's, which
//! knows what is over.

use std::collections::VecDeque;

use super::hash::Map;
use super::job::ConnectionId;
use super::touch::{Mode, Touched};

/// Acknowledged touches between two sweeps.
const SWEEP_EVERY: usize = 65_536;

/// Who was acknowledged, and is not known to be done.
#[derive(Debug, Default)]
pub struct Order {
    things: Map<u64, Thing>,
    areas: Map<u64, Area>,
    added: usize,
}

/// A document, a session, a cursor: who touched it last, by connection.
#[derive(Debug, Default)]
struct Thing {
    reads: Vec<Holder>,
    writes: Vec<Holder>,
}

/// A collection or a database: who touched something in it, or all of it.
#[derive(Debug, Default)]
struct Area {
    reads_inside: Map<ConnectionId, u64>,
    writes_inside: Map<ConnectionId, u64>,
    whole: Thing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    job: u64,
    connection: ConnectionId,
}

impl Thing {
    fn of(&self, is_write: bool) -> impl Iterator<Item = Holder> {
        let reads = if is_write { self.reads.as_slice() } else { &[] };
        self.writes.iter().chain(reads).copied()
    }

    /// `waited`: sorted; whoever waits for this job waits for those, too.
    fn acknowledge(&mut self, holder: Holder, is_write: bool, waited: &[u64]) {
        let stays = |other: &Holder| {
            other.connection != holder.connection && waited.binary_search(&other.job).is_err()
        };
        if is_write {
            self.reads.retain(stays);
            self.writes.retain(stays);
            self.writes.push(holder);
        } else {
            self.reads.retain(|other| other.connection != holder.connection);
            self.reads.push(holder);
        }
    }

    /// False if nobody is left.
    fn forget(&mut self, done_below: u64) -> bool {
        self.reads.retain(|holder| holder.job >= done_below);
        self.writes.retain(|holder| holder.job >= done_below);
        !(self.reads.is_empty() && self.writes.is_empty())
    }
}

impl Area {
    fn of(&self, mode: Mode, out: &mut Vec<Holder>) {
        let holders = |inside: &Map<ConnectionId, u64>, out: &mut Vec<Holder>| {
            out.extend(inside.iter().map(|(connection, job)| Holder { job: *job, connection: *connection }));
        };
        match mode {
            Mode::ReadsInside => out.extend(&self.whole.writes),
            Mode::WritesInside => out.extend(self.whole.of(true)),
            Mode::Reads => {
                holders(&self.writes_inside, out);
                out.extend(&self.whole.writes);
            }
            Mode::Writes => {
                holders(&self.reads_inside, out);
                holders(&self.writes_inside, out);
                out.extend(self.whole.of(true));
            }
        }
    }

    fn acknowledge(&mut self, holder: Holder, mode: Mode, waited: &[u64]) {
        match mode {
            Mode::ReadsInside => drop(self.reads_inside.insert(holder.connection, holder.job)),
            Mode::WritesInside => drop(self.writes_inside.insert(holder.connection, holder.job)),
            Mode::Reads => self.whole.acknowledge(holder, false, waited),
            Mode::Writes => {
                let stays = |_: &ConnectionId, job: &mut u64| waited.binary_search(job).is_err();
                self.reads_inside.retain(stays);
                self.writes_inside.retain(stays);
                self.whole.acknowledge(holder, true, waited);
            }
        }
    }

    fn forget(&mut self, done_below: u64) -> bool {
        self.reads_inside.retain(|_, job| *job >= done_below);
        self.writes_inside.retain(|_, job| *job >= done_below);
        self.whole.forget(done_below) | !(self.reads_inside.is_empty() && self.writes_inside.is_empty())
    }
}

impl Order {
    /// Whom a job of `connection` that touches these waits for, sorted.
    pub fn before(&self, touched: &Touched, connection: ConnectionId) -> Vec<u64> {
        let mut holders = Vec::new();
        for (thing, is_write) in &touched.things {
            holders.extend(self.things.get(thing).into_iter().flat_map(|known| known.of(*is_write)));
        }
        for (area, mode) in &touched.areas {
            self.areas.get(area).into_iter().for_each(|known| known.of(*mode, &mut holders));
        }
        holders.retain(|holder| holder.connection != connection);
        let mut jobs: Vec<u64> = holders.into_iter().map(|holder| holder.job).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs
    }

    /// `job` of `connection` was acknowledged: whoever is sent from now on relies on it, and on nothing that it has itself
    /// `waited` for. Jobs below `done_below` are over.
    pub fn acknowledged(
        &mut self,
        job: u64,
        connection: ConnectionId,
        touched: &Touched,
        waited: &[u64],
        done_below: u64,
    ) {
        let holder = Holder { job, connection };
        for (thing, is_write) in &touched.things {
            self.things.entry(*thing).or_default().acknowledge(holder, *is_write, waited);
        }
        for (area, mode) in &touched.areas {
            self.areas.entry(*area).or_default().acknowledge(holder, *mode, waited);
        }
        self.added += touched.things.len() + touched.areas.len();
        if self.added >= SWEEP_EVERY {
            self.added = 0;
            self.things.retain(|_, thing| thing.forget(done_below));
            self.areas.retain(|_, area| area.forget(done_below));
        }
    }

    /// Resources that are remembered.
    pub fn len(&self) -> usize {
        self.things.len() + self.areas.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    fn things(things: &[(u64, bool)]) -> Touched {
        Touched { things: things.to_vec(), areas: Vec::new() }
    }

    fn area(mode: Mode) -> Touched {
        Touched { things: Vec::new(), areas: vec![(1, mode)] }
    }

    #[test]
    fn a_job_waits_for_those_that_were_acknowledged_before_it_on_other_connections() {
        let (read, write) = (|thing| things(&[(thing, false)]), |thing| things(&[(thing, true)]));
        let mut order = Order::default();
        assert!(order.before(&write(1), on(9)).is_empty());
        order.acknowledged(10, on(1), &things(&[(1, true), (2, true)]), &[], 0);
        order.acknowledged(11, on(2), &write(2), &[], 0);
        assert_eq!(order.before(&read(1), on(9)), [10]);
        assert_eq!(order.before(&things(&[(2, false), (1, false)]), on(9)), [10, 11]);
        assert_eq!(order.before(&read(2), on(1)), [11]);
        // A read changes nothing for other reads, and what it has seen must not be changed before it.
        order.acknowledged(12, on(3), &read(2), &[10, 11], 0);
        assert_eq!(order.before(&read(2), on(9)), [10, 11]);
        assert_eq!(order.before(&write(2), on(9)), [10, 11, 12]);
        order.acknowledged(13, on(4), &write(2), &[10, 11, 12], 0);
        assert_eq!(order.before(&read(2), on(9)), [13]);
        assert_eq!(order.before(&write(2), on(9)), [13]);
    }

    #[test]
    fn what_is_done_to_a_whole_collection_waits_for_what_was_done_inside_and_the_other_way_round() {
        use Mode::{Reads, ReadsInside, Writes, WritesInside};
        let waits = |later: Mode, earlier: Mode| {
            let mut order = Order::default();
            order.acknowledged(1, on(1), &area(earlier), &[], 0);
            !order.before(&area(later), on(2)).is_empty()
        };
        let all = [ReadsInside, WritesInside, Reads, Writes];
        let of = |later| all.map(|earlier| waits(later, earlier));
        assert_eq!(of(ReadsInside), [false, false, false, true]);
        assert_eq!(of(WritesInside), [false, false, true, true]);
        assert_eq!(of(Reads), [false, true, false, true]);
        assert_eq!(of(Writes), [true; 4]);
    }

    #[test]
    fn what_is_done_is_forgotten() {
        let mut order = Order::default();
        for job in 0..SWEEP_EVERY as u64 {
            order.acknowledged(job, on(job), &things(&[(job, job % 2 == 0)]), &[], job.saturating_sub(10));
        }
        for job in 0..SWEEP_EVERY as u64 {
            order.acknowledged(job, on(job), &area(Mode::WritesInside), &[], job.saturating_sub(10));
        }
        assert!(order.len() <= 12, "{}", order.len());
        assert!(order.before(&area(Mode::Reads), on(1)).len() <= 11);
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
