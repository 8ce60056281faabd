//! The promises of docs/CONSISTENCY.md, checked against the order of states that really was.
//!
//! Both checks give each operation the earliest place that its predecessors leave. A later place would leave its
//! successors less, so that an operation which finds none violates the promise, however the others are placed.

use std::collections::HashMap;

use super::event::{Op, What};
use super::order::{Order, Place};

/// One operation that has no place, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The operation.
    pub op: Op,
    /// What is wrong with it.
    pub kind: Kind,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An acknowledged write is not there in the end.
    Lost,
    /// A state was read that never was, or did not last.
    Phantom,
    /// Documents were read as they never were together.
    Torn,
    /// Something was read that is older than what had to be seen.
    Stale,
    /// A write stands before something that was seen before it was sent.
    Misplaced,
    /// What a write said of the document before it is not what was before it.
    WrongBefore,
}

/// Each client sees states in their order, its own writes among them: what `sequential` promises. Other clients'
/// operations count for nothing.
pub fn sequential(order: &Order, ops: &[Op]) -> Vec<Violation> {
    let mut reached: HashMap<u32, Place> = HashMap::new();
    let mut found = Vec::new();
    for op in ops {
        let floor = reached.entry(op.client).or_default();
        place(order, op, *floor, &mut found).inspect(|place| *floor = (*floor).max(*place));
    }
    found
}

/// Each operation sees all that anyone was told before it was sent: what `linearizable` promises.
pub fn linearizable(order: &Order, ops: &[Op]) -> Vec<Violation> {
    let mut by_start: Vec<&Op> = ops.iter().collect();
    by_start.sort_by_key(|op| op.start);
    // What is under way, the first to end on top.
    let mut ending = std::collections::BinaryHeap::new();
    let (mut floor, mut found) = (0, Vec::new());
    for op in by_start {
        while let Some(std::cmp::Reverse((end, place))) = ending.peek().copied()
            && end < op.start
        {
            floor = floor.max(place);
            ending.pop();
        }
        if let Some(place) = place(order, op, floor, &mut found) {
            ending.push(std::cmp::Reverse((op.end, place)));
        }
    }
    found
}

/// The earliest place of `op` that is not before `floor`; `None` if it tells nothing, or has none.
fn place(order: &Order, op: &Op, floor: Place, found: &mut Vec<Violation>) -> Option<Place> {
    let mut violates = |kind| found.push(Violation { op: op.clone(), kind });
    match &op.what {
        What::Read(seen) => match order.next_of_all(seen, floor) {
            Some(place) => Some(place),
            None => {
                let was = |(key, state): &(_, _)| order.next(*key, *state, 0).is_some();
                violates(match order.next_of_all(seen, 0) {
                    Some(_) => Kind::Stale,
                    None if seen.iter().all(was) => Kind::Torn,
                    None => Kind::Phantom,
                });
                None
            }
        },
        What::Wrote(id, before) => {
            let Some(place) = order.place(*id) else {
                violates(Kind::Lost);
                return None;
            };
            if place <= floor {
                violates(Kind::Misplaced);
            }
            if let Some((key, seen)) = before
                && order.next(*key, *seen, place - 1) != Some(place - 1)
            {
                violates(Kind::WrongBefore);
            }
            Some(place)
        }
        What::Doubtful(id) => {
            if order.place(*id).is_some_and(|place| place <= floor) {
                violates(Kind::Misplaced);
            }
            None
        }
    }
}
