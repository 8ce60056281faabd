//! Cursors that read more tagged collections than the one that their getMores name: joins.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::consistency::Touched;

/// Cursors remembered on a member. Above it all are forgotten, and a getMore that may be one of theirs counts as one on
/// every collection.
const REMEMBERED_MAX: usize = 10_000;

/// The cursors of one member.
#[derive(Debug, Default)]
pub struct Joins(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    cursors: HashMap<i64, Touched>,
    has_forgotten: bool,
}

impl Joins {
    /// The cursor `id` was opened on these.
    pub fn opened(&self, id: i64, touched: &Touched) {
        let mut known = self.locked();
        if known.cursors.len() >= REMEMBERED_MAX {
            known.cursors.clear();
            known.has_forgotten = true;
        }
        known.cursors.insert(id, touched.clone());
    }

    /// What a getMore of the cursor `id` is about besides the collection that it names.
    pub fn of(&self, id: i64) -> Option<Touched> {
        let known = self.locked();
        match known.cursors.get(&id) {
            Some(touched) => Some(touched.clone()),
            None => known.has_forgotten.then(Touched::every),
        }
    }

    /// The cursor `id` has come to its end.
    pub fn closed(&self, id: i64) {
        self.locked().cursors.remove(&id);
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::Floors;

    #[test]
    fn what_was_forgotten_counts_as_a_join_of_all() {
        let floors = Floors::default();
        let mut touched = Touched::default();
        floors.touch(b"app", b"x", &mut touched);
        let joins = Joins::default();
        joins.opened(7, &touched);
        assert!(joins.of(7).is_some() && joins.of(8).is_none());
        joins.closed(7);
        assert!(joins.of(7).is_none());
        (0..=REMEMBERED_MAX as i64).for_each(|id| joins.opened(id, &touched));
        floors.raise(&joins.of(1).unwrap(), 9);
        assert_eq!(floors.highest(), 9);
        assert!(joins.of(REMEMBERED_MAX as i64).is_some_and(|touched| !touched.is_many()));
    }
}
