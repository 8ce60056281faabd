//! Values put in the place of others: of the same type and length, the same for the same value, and without the key,
//! which is kept nowhere, not to be traced back.
//!
//! Texts become texts, ids become ids. Numbers and dates are replaced in one of two ways: by what has nothing to do
//! with them ([`Hider::hide`]), or so that their order stays ([`Hider::shift`]), for which there is little room in as
//! many bits: what is small stays small, and neighbours may become equal above 2^30 and 2^62.

use crate::doc::BsonType;

/// What hidden texts are made of: no character means anything in a path, an expression or a regular expression but the
/// two that are in names as well.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// How far dates are moved, days: about ten years.
const DAYS_MAX: u64 = 3650;

/// Replaces values, by a key that is new for each capture.
pub struct Hider {
    key: [u8; 32],
    /// Where the numbers from each power of two on are moved to.
    places: [u64; 64],
    days: i64,
    bend: f64,
}

impl Hider {
    /// One with this key.
    pub fn new(key: [u8; 32]) -> Hider {
        let mut hider = Hider { key, places: [0; 64], days: 0, bend: 1.0 };
        let random = |of: &[u8]| {
            let mut bytes = [0; 8];
            hider.stream(b's', of, &mut bytes);
            u64::from_le_bytes(bytes)
        };
        let (days, bend) = (random(b"days"), random(b"bend"));
        let places = places(|power| random(&[b'p', power]));
        hider.places = places;
        hider.days = (days % (2 * DAYS_MAX)) as i64 - DAYS_MAX as i64;
        hider.bend = 0.7 + (bend % 1000) as f64 / 1000.0 * 0.6;
        hider
    }

    /// Replaces `value`, the bytes of a value of this type behind its key, by one that has nothing to do with it. Yes
    /// and no, nothing, documents and arrays stay.
    pub fn hide(&self, kind: BsonType, value: &mut [u8]) {
        match kind {
            BsonType::String | BsonType::Code | BsonType::Symbol => {
                if let Some(text) = inside(value, 4, 1) {
                    self.text(text);
                }
            }
            BsonType::Binary => {
                // The old subtype has a length of its own inside.
                let front = if value.get(4) == Some(&2) { 9 } else { 5 };
                if let Some(bytes) = inside(value, front, 0) {
                    self.bytes(b'b', bytes);
                }
            }
            BsonType::ObjectId => self.bytes(b'o', value),
            BsonType::Int32 | BsonType::Int64 | BsonType::DateTime | BsonType::Timestamp => {
                self.bytes(b'n', value)
            }
            BsonType::Double => {
                self.bytes(b'n', value);
                // A number, and no large one.
                if let Some(last) = value.last_mut() {
                    *last &= 0xbf;
                }
            }
            BsonType::Decimal128 => {
                if let Some(low) = value.get_mut(..8) {
                    self.bytes(b'd', low);
                }
            }
            BsonType::Regex => {
                let end = value.iter().position(|byte| *byte == 0).unwrap_or(0);
                self.text(&mut value[..end]);
            }
            BsonType::DbPointer => {
                let split = value.len().saturating_sub(12);
                let (name, id) = value.split_at_mut(split);
                if let Some(name) = inside(name, 4, 1) {
                    self.text(name);
                }
                self.bytes(b'o', id);
            }
            BsonType::CodeWithScope => {
                let length = value.get(4..8).and_then(|length| length.first_chunk());
                let length = length.map_or(0, |length| u32::from_le_bytes(*length) as usize);
                if let Some(code) = value.get_mut(8..(8 + length).saturating_sub(1)) {
                    self.text(code);
                }
            }
            BsonType::Document
            | BsonType::Array
            | BsonType::Boolean
            | BsonType::Null
            | BsonType::Undefined
            | BsonType::MaxKey
            | BsonType::MinKey => {}
        }
    }

    /// As [`Hider::hide`], but that numbers and dates keep their order, and numbers of all types that are equal stay so.
    pub fn shift(&self, kind: BsonType, value: &mut [u8]) {
        match kind {
            BsonType::Int32 => {
                put(value, |bytes| self.whole(i64::from(i32::from_le_bytes(bytes))) as i32, i32::to_le_bytes)
            }
            BsonType::Int64 => put(value, |bytes| self.whole(i64::from_le_bytes(bytes)), i64::to_le_bytes),
            BsonType::Double => put(value, |bytes| self.real(f64::from_le_bytes(bytes)), f64::to_le_bytes),
            BsonType::DateTime => put(value, |bytes| self.date(i64::from_le_bytes(bytes)), i64::to_le_bytes),
            BsonType::Timestamp => {
                if let Some(seconds) = value.get_mut(4..8) {
                    let moved = |bytes| {
                        let seconds = i64::from(u32::from_le_bytes(bytes));
                        self.date(seconds * 1000).div_euclid(1000).clamp(0, i64::from(u32::MAX)) as u32
                    };
                    put(seconds, moved, u32::to_le_bytes);
                }
            }
            _ => self.hide(kind, value),
        }
    }

    /// Replaces a text, in which no character of more than one byte is left.
    pub fn text(&self, text: &mut [u8]) {
        self.bytes(b't', text);
        text.iter_mut().for_each(|byte| *byte = ALPHABET[usize::from(*byte & 63)]);
    }

    fn bytes(&self, domain: u8, bytes: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[domain]).update(bytes);
        hasher.finalize_xof().fill(bytes);
    }

    fn stream(&self, domain: u8, of: &[u8], out: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[domain]).update(of);
        hasher.finalize_xof().fill(out);
    }

    fn whole(&self, number: i64) -> i64 {
        let moved = self.magnitude(number.unsigned_abs()).min(i64::MAX as u64) as i64;
        match number {
            i64::MIN => number,
            _ if number < 0 => -moved,
            _ => moved,
        }
    }

    /// A line from power of two to power of two, steep enough that whole numbers stay apart while there is room.
    fn magnitude(&self, number: u64) -> u64 {
        if number < 2 {
            return number;
        }
        let power = number.ilog2().min(62);
        let (from, to) = (self.places[power as usize], self.places[power as usize + 1]);
        let above = (u128::from(number - (1 << power)) * u128::from(to - from)) >> power;
        from + above as u64
    }

    fn real(&self, number: f64) -> f64 {
        let size = number.abs();
        if !number.is_finite() || size >= (1u64 << 53) as f64 {
            return number;
        }
        let below = size.floor();
        let place = self.magnitude(below as u64);
        let room = self.magnitude(below as u64 + 1) - place;
        let moved = place as f64 + (size - below).powf(self.bend) * room as f64;
        moved.copysign(number)
    }

    fn date(&self, millis: i64) -> i64 {
        let (day, within) = (millis.div_euclid(DAY_MS), millis.rem_euclid(DAY_MS));
        let part = (within as f64 / DAY_MS as f64).powf(self.bend);
        let moved = day.checked_add(self.days).and_then(|day| day.checked_mul(DAY_MS));
        moved.and_then(|day| day.checked_add((part * DAY_MS as f64) as i64)).unwrap_or(millis)
    }
}

impl std::fmt::Debug for Hider {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hider").finish_non_exhaustive()
    }
}

/// Where 2^0, 2^1, ... 2^63 are moved to. What fits 32 bits stays there, as it may stand in as many: so 2^31 and 2^63
/// are where they were. In between each step is at least as wide as it was, but for the last one before these.
fn places(random: impl Fn(u8) -> u64) -> [u64; 64] {
    let mut places = [0; 64];
    for (first, last) in [(0u8, 31u8), (31, 63)] {
        // How far beyond its power the place is, in 1/1024 of it: grows, so that no step becomes narrower.
        let mut beyond = 0;
        for power in first..=last {
            let start = 1u64 << power;
            let extra = match power {
                _ if power == first || power == last => 0,
                _ => ((u128::from(start) * u128::from(beyond)) >> 10) as u64,
            };
            places[usize::from(power)] = start + extra;
            beyond = (beyond + random(power) % 60).min(1000);
        }
    }
    places[63] = i64::MAX as u64;
    places
}

fn inside(value: &mut [u8], front: usize, behind: usize) -> Option<&mut [u8]> {
    let end = value.len().checked_sub(behind)?;
    value.get_mut(front..end)
}

/// Reads, changes and writes a number of a fixed size.
fn put<const N: usize, T>(value: &mut [u8], change: impl Fn([u8; N]) -> T, bytes: impl Fn(T) -> [u8; N]) {
    if let Some(place) = value.first_chunk_mut::<N>() {
        *place = bytes(change(*place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shift_i64(hider: &Hider, number: i64) -> i64 {
        let mut bytes = number.to_le_bytes();
        hider.shift(BsonType::Int64, &mut bytes);
        i64::from_le_bytes(bytes)
    }

    fn shift_f64(hider: &Hider, number: f64) -> f64 {
        let mut bytes = number.to_le_bytes();
        hider.shift(BsonType::Double, &mut bytes);
        f64::from_le_bytes(bytes)
    }

    fn shift_date(hider: &Hider, millis: i64) -> i64 {
        let mut bytes = millis.to_le_bytes();
        hider.shift(BsonType::DateTime, &mut bytes);
        i64::from_le_bytes(bytes)
    }

    #[test]
    fn nothing_one_and_minus_one_stay_and_others_move() {
        let hider = Hider::new([3; 32]);
        for number in [-1, 0, 1] {
            assert_eq!(shift_i64(&hider, number), number);
        }
        let moved = (1_000..2_000).filter(|number| shift_i64(&hider, *number) != *number).count();
        assert!(moved > 900, "{moved}");
        assert_ne!(shift_date(&hider, 1_700_000_000_000), 1_700_000_000_000);
        assert_ne!(shift_f64(&hider, 0.25), 0.25);
    }

    proptest! {
        #[test]
        fn order_stays_and_whole_numbers_of_all_types_stay_equal(
            key in any::<[u8; 32]>(), a in -(1i64 << 30)..1 << 30, b in -(1i64 << 30)..1 << 30,
        ) {
            let hider = Hider::new(key);
            let (x, y) = (shift_i64(&hider, a), shift_i64(&hider, b));
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
            prop_assert!(i32::try_from(x).is_ok());
            let mut small = (a as i32).to_le_bytes();
            hider.shift(BsonType::Int32, &mut small);
            prop_assert_eq!(i64::from(i32::from_le_bytes(small)), x);
            prop_assert_eq!(shift_f64(&hider, a as f64), x as f64);
        }

        #[test]
        fn order_stays_for_all_whole_numbers_though_some_may_become_equal(key in any::<[u8; 32]>(), a: i64, b: i64) {
            let hider = Hider::new(key);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(shift_i64(&hider, low) <= shift_i64(&hider, high));
        }

        #[test]
        fn order_stays_for_reals_and_for_dates(key in any::<[u8; 32]>(), a in -1e6f64..1e6, b in -1e6f64..1e6, n: i32, m: i32) {
            let hider = Hider::new(key);
            prop_assert!(shift_f64(&hider, a.min(b)) <= shift_f64(&hider, a.max(b)));
            let (n, m) = (i64::from(n) * 1000, i64::from(m) * 1000);
            prop_assert!(shift_date(&hider, n.min(m)) <= shift_date(&hider, n.max(m)));
        }

        #[test]
        fn texts_become_texts_of_the_same_length_and_equal_ones_stay_equal(key in any::<[u8; 32]>(), text in "\\PC{8,40}") {
            let hider = Hider::new(key);
            let (mut one, mut two) = (text.clone().into_bytes(), text.clone().into_bytes());
            hider.text(&mut one);
            hider.text(&mut two);
            prop_assert_eq!(&one, &two);
            prop_assert_eq!(one.len(), text.len());
            prop_assert!(one != text.as_bytes() && std::str::from_utf8(&one).is_ok());
        }

        #[test]
        fn no_bytes_of_any_type_make_it_panic(number: u8, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let hider = Hider::new([1; 32]);
            if let Some(kind) = BsonType::from_u8(number) {
                let (mut one, mut two) = (bytes.clone(), bytes.clone());
                hider.hide(kind, &mut one);
                hider.shift(kind, &mut two);
            }
        }
    }
}
