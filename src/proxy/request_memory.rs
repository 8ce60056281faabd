//! Memory for requests that do not fit a usual buffer.
//!
//! It is taken as bytes arrive, so that whoever only announces a large request takes nothing from others. Then several
//! may each hold a part of what all of them need: a few of the longest requests have room of their own beside the
//! budget, and whoever gets that is read to its end whatever the others hold.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::buffer::BUFFER_LEN;

/// Of all the memory, the share that is kept for those who cannot go on otherwise.
const KEPT_SHARE: usize = 8;

/// How much more than has arrived a request gets room for: each step copies what there is, and claims what there is not.
const STEP: usize = 4;

/// Bytes a unit of the budget.
const UNIT: usize = 1024;

/// The memory of a proxy.
#[derive(Debug)]
pub struct RequestMemory {
    budget: Arc<Semaphore>,
    units: u32,
    /// One permit for each request of the greatest length that fits the share that is kept.
    kept: Arc<Semaphore>,
}

/// What one request holds of it; given back when dropped.
#[derive(Debug)]
pub struct Room {
    /// How much of the request there is room for, bytes.
    pub bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
    /// It is one of those that have room of their own.
    _kept: Option<OwnedSemaphorePermit>,
}

impl RequestMemory {
    /// `bytes` in all, for requests of at most `longest` bytes.
    pub fn new(bytes: usize, longest: usize) -> Self {
        let kept = (bytes / KEPT_SHARE / longest.max(1)).max(1);
        let left = bytes.saturating_sub(kept.saturating_mul(longest));
        let units = u32::try_from(left / UNIT).unwrap_or(u32::MAX).max(1);
        let budget = Arc::new(Semaphore::new(units as usize));
        RequestMemory { budget, units, kept: Arc::new(Semaphore::new(kept)) }
    }

    /// Bytes in use.
    pub fn in_use(&self) -> usize {
        (self.units as usize).saturating_sub(self.budget.available_permits()) * UNIT
    }

    /// More room for a request of `length` bytes that fills what it `holds`, if there is some now.
    pub fn try_more(&self, holds: Option<Room>, length: usize) -> Result<Room, Option<Room>> {
        let (bytes, units) = self.step(holds.as_ref(), length);
        match self.budget.clone().try_acquire_many_owned(units) {
            Ok(permit) => Ok(Room::joined(holds, bytes, permit)),
            Err(_) => Err(holds),
        }
    }

    /// The same, when there is. Cancelled, what it held is given back.
    pub async fn more(&self, holds: Option<Room>, length: usize) -> Room {
        let (bytes, units) = self.step(holds.as_ref(), length);
        tokio::select! {
            biased;
            // Neither semaphore is ever closed.
            Ok(permit) = self.budget.clone().acquire_many_owned(units), if units <= self.units => {
                Room::joined(holds, bytes, permit)
            }
            Ok(kept) = self.kept.clone().acquire_owned() => {
                Room { bytes: length, permit: holds.and_then(|holds| holds.permit), _kept: Some(kept) }
            }
            else => Room { bytes: length, permit: None, _kept: None },
        }
    }

    /// The room after the next step, bytes, and what it takes more of the budget.
    fn step(&self, holds: Option<&Room>, length: usize) -> (usize, u32) {
        let (held, permits) = holds.map_or((BUFFER_LEN, 0), |room| {
            (room.bytes, room.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits))
        });
        let bytes = held.saturating_mul(STEP).min(length);
        let units = bytes.div_ceil(UNIT).saturating_sub(permits);
        (bytes, u32::try_from(units).unwrap_or(u32::MAX))
    }
}

impl Room {
    fn joined(held: Option<Room>, bytes: usize, more: OwnedSemaphorePermit) -> Room {
        let permit = match held.and_then(|held| held.permit) {
            Some(mut permit) => {
                permit.merge(more);
                permit
            }
            None => more,
        };
        Room { bytes, permit: Some(permit), _kept: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Duration, timeout};

    const MIB: usize = 1024 * 1024;
    const LONGEST: usize = 48 * MIB;

    #[tokio::test]
    async fn an_announcement_takes_little_and_the_whole_what_it_is() {
        let memory = RequestMemory::new(64 * MIB, LONGEST);
        let mut room = memory.try_more(None, 3 * MIB).unwrap();
        assert_eq!((room.bytes, memory.budget.available_permits()), (64 * 1024, 16 * 1024 - 64));
        while room.bytes < 3 * MIB {
            room = memory.try_more(Some(room), 3 * MIB).unwrap();
        }
        assert_eq!((room.bytes, memory.budget.available_permits()), (3 * MIB, 13 * 1024));
        drop(room);
        assert_eq!(memory.budget.available_permits(), 16 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn several_that_hold_parts_of_what_all_need_come_to_their_ends() {
        let memory = Arc::new(RequestMemory::new(64 * MIB, LONGEST));
        let reading: Vec<_> = (0..6)
            .map(|_| {
                let memory = memory.clone();
                tokio::spawn(async move {
                    let mut room = memory.more(None, LONGEST).await;
                    while room.bytes < LONGEST {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        room = memory.more(Some(room), LONGEST).await;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                })
            })
            .collect();
        for reads in reading {
            timeout(Duration::from_secs(5), reads).await.expect("it was read").unwrap();
        }
        assert_eq!(memory.budget.available_permits(), 16 * 1024);
    }
}
