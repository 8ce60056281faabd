//! Which operations *raced* in the capture: a write to their collection, by another connection, was under way at the same time.
//! What they were answered was a matter of luck, and may differ in a replay though nothing is wrong.

use super::hash::Map;

/// Operations that are under way, by collection.
#[derive(Debug, Default)]
pub struct Races {
    open: Map<u64, Vec<Under>>,
}

#[derive(Debug, Clone, Copy)]
struct Under {
    job: u64,
    is_write: bool,
}

impl Races {
    /// A job on `collection` is under way from here on; gives those that race now.
    pub fn begin(&mut self, collection: u64, job: u64, is_write: bool) -> Vec<u64> {
        let open = self.open.entry(collection).or_default();
        let races = open.iter().filter(|other| is_write || other.is_write);
        let mut racing: Vec<u64> = races.map(|other| other.job).collect();
        if !racing.is_empty() {
            racing.push(job);
        }
        open.push(Under { job, is_write });
        racing
    }

    /// It is over.
    pub fn end(&mut self, collection: u64, job: u64) {
        if let Some(open) = self.open.get_mut(&collection) {
            open.retain(|other| other.job != job);
            if open.is_empty() {
                self.open.remove(&collection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_a_write_to_its_collection_races() {
        let mut races = Races::default();
        assert!(races.begin(1, 10, false).is_empty());
        assert!(races.begin(1, 11, false).is_empty());
        assert!(races.begin(2, 12, true).is_empty());
        assert_eq!(races.begin(1, 13, true), [10, 11, 13]);
        races.end(1, 13);
        assert!(races.begin(1, 14, false).is_empty());
    }
}
