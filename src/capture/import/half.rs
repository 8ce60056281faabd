//! One direction of a TCP connection: its bytes in their order, whatever order they came in, and once, however often they
//! came. Of bytes that came twice with another content the first stand.

use std::collections::BTreeMap;

/// Bytes that may wait for those before them, of one direction: more than a usual window, which is what may be on its way.
pub const WAITING_MAX: usize = 8 << 20;

/// What a segment that waits takes beside its bytes.
const BESIDE: usize = 128;

/// How long a gap may last, nanoseconds: a peer sends again within less.
const GAP_TIME_MAX: i64 = 60_000_000_000;

/// Numbers further ahead than any window are those of another connection.
const AHEAD_MAX: i64 = 1 << 30;

/// Bytes are missing that will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap;

/// The direction.
#[derive(Debug, Default)]
pub struct Half {
    /// The number of the next byte that is wanted; `None` before the first segment.
    next: Option<u32>,
    /// Bytes given so far.
    given: u64,
    /// What came too early, by its place among all bytes.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_bytes: usize,
    gap_since: Option<i64>,
    /// Where the direction ends.
    end: Option<u64>,
}

impl Half {
    /// The direction begins behind the number `sequence`. True if it had begun elsewhere before: it is another connection.
    pub fn begin(&mut self, sequence: u32) -> bool {
        let first = sequence.wrapping_add(1);
        match self.next {
            None => {
                self.next = Some(first);
                false
            }
            // Said again, of the direction as it is.
            Some(next) => next.wrapping_sub(self.given as u32) != first,
        }
    }

    /// Whether anything of it has been seen.
    pub fn has_begun(&self) -> bool {
        self.next.is_some()
    }

    /// Bytes in memory.
    pub fn held(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether there are bytes behind a gap.
    pub fn has_gap(&self) -> bool {
        !self.waiting.is_empty() || self.end.is_some_and(|end| end > self.given)
    }

    /// Whether all has been given, and nothing more will come.
    pub fn is_over(&self) -> bool {
        self.end.is_some_and(|end| self.given >= end)
    }

    /// Takes a segment that came at `time`. What of it is next, if anything is; more may have waited for it
    /// ([`Half::waited`]).
    pub fn take<'b>(&mut self, time: i64, sequence: u32, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Gap> {
        let next = *self.next.get_or_insert(sequence);
        let ahead = i64::from(sequence.wrapping_sub(next) as i32);
        if ahead > AHEAD_MAX {
            return Err(Gap);
        }
        if ahead <= 0 {
            let known = usize::try_from(-ahead).unwrap_or(usize::MAX);
            let new = bytes.get(known..).filter(|new| !new.is_empty());
            if let Some(new) = new {
                self.give(new.len());
            }
            return Ok(new);
        }
        let since = *self.gap_since.get_or_insert(time);
        if time.saturating_sub(since) > GAP_TIME_MAX || bytes.len() + self.waiting_bytes > WAITING_MAX {
            return Err(Gap);
        }
        let place = self.given.saturating_add(ahead as u64);
        let is_longer = self.waiting.get(&place).is_none_or(|there| there.len() < bytes.len());
        if is_longer && !bytes.is_empty() {
            self.waiting_bytes += bytes.len() + BESIDE;
            if let Some(shorter) = self.waiting.insert(place, bytes.to_vec()) {
                self.waiting_bytes -= shorter.len() + BESIDE;
            }
        }
        Ok(None)
    }

    /// What has waited, and is next now.
    pub fn waited(&mut self) -> Option<Vec<u8>> {
        while let Some(first) = self.waiting.first_entry().filter(|first| *first.key() <= self.given) {
            let (place, mut bytes) = first.remove_entry();
            self.waiting_bytes -= bytes.len() + BESIDE;
            let known = usize::try_from(self.given - place).unwrap_or(usize::MAX);
            if known < bytes.len() {
                bytes.drain(..known);
                self.give(bytes.len());
                return Some(bytes);
            }
        }
        if self.waiting.is_empty() {
            self.gap_since = None;
        }
        None
    }

    /// The direction ends with a segment of so many bytes at this number.
    pub fn ends(&mut self, sequence: u32, bytes: usize) {
        let Some(next) = self.next else { return };
        let ahead = i64::from(sequence.wrapping_sub(next) as i32).saturating_add(bytes as i64);
        self.end = Some(self.given.saturating_add_signed(ahead));
    }

    fn give(&mut self, bytes: usize) {
        self.given += bytes as u64;
        self.next = self.next.map(|next| next.wrapping_add(bytes as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All that a direction gives of these segments.
    fn given(half: &mut Half, segments: &[(u32, &[u8])]) -> Result<Vec<u8>, Gap> {
        let mut all = Vec::new();
        for (sequence, bytes) in segments {
            if let Some(next) = half.take(0, *sequence, bytes)? {
                all.extend_from_slice(next);
                std::iter::from_fn(|| half.waited()).for_each(|waited| all.extend(waited));
            }
        }
        Ok(all)
    }

    #[test]
    fn a_gap_that_lasts_or_holds_too_much_ends_it() {
        let late = |time| {
            let mut half = Half::default();
            half.begin(9);
            half.take(0, 20, b"x").unwrap();
            half.take(time, 21, b"y")
        };
        assert_eq!((late(GAP_TIME_MAX), late(GAP_TIME_MAX + 1)), (Ok(None), Err(Gap)));
        let mut half = Half::default();
        half.begin(9);
        let chunk = vec![0; 1 << 20];
        let taken = (0..).take_while(|n| half.take(0, 20 + (n << 20), &chunk).is_ok()).count();
        assert_eq!(taken, 7);
        assert!(half.held() <= WAITING_MAX && half.has_gap());
        // Far off is elsewhere.
        assert_eq!(Half { next: Some(0), ..Half::default() }.take(0, 0x7000_0000, b"x"), Err(Gap));
    }

    #[test]
    fn its_end_is_reached_when_all_before_it_was_given() {
        let mut half = Half::default();
        assert!(!half.begin(u32::MAX - 1) && !half.begin(u32::MAX - 1) && half.begin(7));
        half.ends(3, 2);
        assert!(!half.is_over() && half.has_gap());
        assert_eq!(given(&mut half, &[(u32::MAX, b"abcd"), (3, b"ef")]).unwrap(), b"abcdef");
        assert!(half.is_over() && !half.has_gap());
        // The beginning, said again after bytes were given.
        assert!(!half.begin(u32::MAX - 1));
    }

    proptest! {
        #[test]
        fn whatever_the_order_and_the_overlaps_the_bytes_come_once_and_in_order(
            start: u32,
            length in 1usize..400,
            pieces in proptest::collection::vec((0usize..400, 1usize..60), 0..40),
            order in any::<prop::sample::Index>(),
        ) {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
            let cut = |(at, size): &(usize, usize)| (at % length, (at % length + size).min(length));
            let mut ranges: Vec<(usize, usize)> = pieces.iter().map(cut).collect();
            // With these, all bytes are there.
            ranges.extend((0..length).step_by(10).map(|at| (at, (at + 10).min(length))));
            let turn = order.index(ranges.len());
            ranges.rotate_left(turn);
            let mut half = Half::default();
            half.begin(start);
            let first = start.wrapping_add(1);
            let segments: Vec<(u32, &[u8])> =
                ranges.iter().map(|(from, to)| (first.wrapping_add(*from as u32), &bytes[*from..*to])).collect();
            prop_assert_eq!(given(&mut half, &segments), Ok(bytes));
            prop_assert_eq!(half.held(), 0);
            prop_assert!(!half.has_gap());
        }
    }
}
