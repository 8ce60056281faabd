//! Which operations *raced* in the capture: another connection's, of which one changes what the other looks at, was under way
//! at the same time. What they were answered was a matter of luck, and may differ in a replay though nothing is wrong.
//!
//! Two writes that raced leave their document as one of them came last: whoever reads it later is told so, too. Such things
//! are *tainted*.

use std::collections::HashSet;

use super::hash::{Hashing, Map};
use super::touch::{Mode, Touched};

/// Tainted things that are remembered; beyond that, nothing more is.
const TAINTED_MAX: usize = 1_000_000;

/// Collections whose lists are kept while they are empty.
const AREAS_KEPT: usize = 10_000;

/// What is under way.
#[derive(Debug, Default)]
pub struct Races {
    things: Map<u64, Vec<(u64, bool)>>,
    areas: Map<u64, Vec<Inside>>,
    tainted: HashSet<u64, Hashing>,
    /// Areas in which something is.
    tainted_inside: HashSet<u64, Hashing>,
}

/// What a job does in an area.
#[derive(Debug, Clone, Copy)]
struct Inside {
    job: u64,
    mode: Mode,
    /// It changes documents, and not the collection's making alone.
    changes: bool,
}

impl Races {
    /// A job begins that touches these; `changes`: it changes documents. Gives all jobs that race because of it, itself among
    /// them.
    pub fn begin(&mut self, touched: &Touched, job: u64, changes: bool) -> Vec<u64> {
        let mut racing = Vec::new();
        for (thing, is_write) in &touched.things {
            let open = self.things.entry(*thing).or_default();
            let rivals = open.iter().filter(|(_, other)| *is_write || *other);
            racing.extend(rivals.map(|(other, _)| *other));
            if *is_write && open.iter().any(|(_, other)| *other) && self.tainted.len() < TAINTED_MAX {
                self.tainted.insert(*thing);
                self.tainted_inside.extend(touched.areas.iter().map(|(area, _)| *area));
            }
            open.push((job, *is_write));
        }
        for (area, mode) in &touched.areas {
            let open = self.areas.entry(*area).or_default();
            let rivals = || open.iter().filter(|other| mode.conflicts_with(other.mode));
            racing.extend(rivals().map(|other| other.job));
            if changes && rivals().any(|other| other.changes) {
                self.tainted.insert(*area);
                self.tainted_inside.extend(touched.areas.iter().map(|(area, _)| *area));
            }
            open.push(Inside { job, mode: *mode, changes });
        }
        if !racing.is_empty() || self.is_tainted(touched) {
            racing.push(job);
        }
        racing.sort_unstable();
        racing.dedup();
        racing
    }

    /// Whether what a job touches is as it is by luck.
    fn is_tainted(&self, touched: &Touched) -> bool {
        if self.tainted_inside.is_empty() {
            return false;
        }
        let in_area = |(area, mode): &(u64, Mode)| match mode {
            Mode::Reads | Mode::Writes => self.tainted_inside.contains(area),
            Mode::ReadsInside | Mode::WritesInside => self.tainted.contains(area),
        };
        touched.things.iter().any(|(thing, _)| self.tainted.contains(thing))
            || touched.areas.iter().any(in_area)
    }

    /// The job is over.
    pub fn end(&mut self, touched: &Touched, job: u64) {
        for (thing, _) in &touched.things {
            if let Some(open) = self.things.get_mut(thing) {
                open.retain(|(other, _)| *other != job);
                if open.is_empty() {
                    self.things.remove(thing);
                }
            }
        }
        for (area, _) in &touched.areas {
            if let Some(open) = self.areas.get_mut(area) {
                open.retain(|other| other.job != job);
                // Few collections are kept for their memory.
                if open.is_empty() && self.areas.len() > AREAS_KEPT {
                    self.areas.remove(area);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(thing: u64, is_write: bool) -> Touched {
        let mode = if is_write { Mode::WritesInside } else { Mode::ReadsInside };
        Touched { things: vec![(thing, is_write)], areas: vec![(100, mode)] }
    }

    fn whole(mode: Mode) -> Touched {
        Touched { things: Vec::new(), areas: vec![(100, mode)] }
    }

    #[test]
    fn what_overlaps_a_change_of_what_it_looks_at_races() {
        let mut races = Races::default();
        assert!(races.begin(&document(1, false), 10, false).is_empty());
        assert!(races.begin(&document(1, false), 11, false).is_empty());
        assert!(races.begin(&document(2, true), 12, true).is_empty(), "another document");
        assert_eq!(races.begin(&whole(Mode::Reads), 13, false), [12, 13]);
        assert_eq!(races.begin(&document(1, true), 14, true), [10, 11, 13, 14]);
        for (job, touched) in [(10, document(1, false)), (11, document(1, false)), (14, document(1, true))] {
            races.end(&touched, job);
        }
        assert!(races.begin(&document(1, false), 15, false).is_empty());
    }

    #[test]
    fn what_two_writes_raced_for_is_as_it_is_by_luck_from_then_on() {
        let mut races = Races::default();
        races.begin(&document(1, true), 10, true);
        assert_eq!(races.begin(&document(1, true), 11, true), [10, 11]);
        races.end(&document(1, true), 10);
        races.end(&document(1, true), 11);
        assert_eq!(races.begin(&document(1, false), 12, false), [12]);
        assert_eq!(races.begin(&whole(Mode::Reads), 13, false), [13]);
        assert!(races.begin(&document(2, false), 14, false).is_empty());
        // An update of many documents may have hit one that was just made.
        races.begin(&whole(Mode::Writes), 15, true);
        races.begin(&document(3, true), 16, true);
        for (job, touched) in [(13, whole(Mode::Reads)), (15, whole(Mode::Writes)), (16, document(3, true))] {
            races.end(&touched, job);
        }
        assert_eq!(races.begin(&document(2, false), 17, false), [17]);
    }
}
