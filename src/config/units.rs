//! Durations and sizes as people write them: `"10s"`, `"1m30s"`, `"64KiB"`, `"off"`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

const DURATION_HELP: &str =
    "a duration with its unit, above zero, such as \"500ms\", \"10s\", \"5m\" or \"1h\"";
const DURATION_OR_OFF_HELP: &str =
    "a duration with its unit, above zero, such as \"10s\" or \"5m\", or \"off\"";
const SIZE_HELP: &str = "a size with its unit, such as \"64KiB\" or \"48MB\"";

/// Units of durations and what each is in milliseconds, largest first.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of sizes and what each is in bytes, largest first.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Why a text is neither a duration nor a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

/// A duration of at least one millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A duration of at least one millisecond, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanOrOff(pub Option<Duration>);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Span, UnitError> {
        let wrong = || UnitError { text: text.to_owned(), expected: DURATION_HELP };
        let ms = sum(text, &DURATION_UNITS).filter(|ms| *ms > 0).ok_or_else(wrong)?;
        Ok(Span(Duration::from_millis(ms)))
    }
}

impl FromStr for SpanOrOff {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<SpanOrOff, UnitError> {
        if text == "off" {
            return Ok(SpanOrOff(None));
        }
        let span = text.parse::<Span>();
        let wrong = |_| UnitError { text: text.to_owned(), expected: DURATION_OR_OFF_HELP };
        span.map(|span| SpanOrOff(Some(span.0))).map_err(wrong)
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Size, UnitError> {
        let wrong = || UnitError { text: text.to_owned(), expected: SIZE_HELP };
        let bytes = sum(text, &SIZE_UNITS).ok_or_else(wrong)?;
        usize::try_from(bytes).map(Size).map_err(|_| wrong())
    }
}

/// Adds up numbers that are each followed by a unit; `None` if `text` is anything else or does not fit.
fn sum(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit_first) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let unit_first = unit_first.trim_start();
        let letters = unit_first.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit_first.len());
        let (unit, after) = unit_first.split_at(letters);
        let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        total = total.checked_add(number.checked_mul(*factor)?)?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// The shortest way to write `span`.
pub fn show_duration(span: Duration) -> String {
    show(u64::try_from(span.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// The shortest way to write `bytes`.
pub fn show_size(bytes: usize) -> String {
    show(bytes as u64, &SIZE_UNITS)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    match unit.or(units.last()) {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => amount.to_string(),
    }
}

/// Reads a `T` from a string; anything else is told what is expected.
pub(super) struct TextVisitor<T>(pub &'static str, pub PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! from_text {
    ($($kind:ty: $help:expr,)*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(crate::config::units::TextVisitor($help, std::marker::PhantomData))
            }
        }
    )*};
}
pub(super) use from_text;

from_text! {
    Span: DURATION_HELP,
    SpanOrOff: DURATION_OR_OFF_HELP,
    Size: SIZE_HELP,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> Option<u64> {
        text.parse::<Span>().ok().map(|span| span.0.as_millis() as u64)
    }

    #[test]
    fn durations_are_numbers_with_units() {
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("10s"), Some(10_000));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("1h 5m"), Some(3_900_000));
        assert_eq!(ms("2d"), Some(172_800_000));
    }

    #[test]
    fn what_has_no_unit_or_no_sense_is_no_duration() {
        for text in ["", "10", "s", "-1s", "1.5s", "10 apples", "0s", "10s5", "99999999999999999d"] {
            assert_eq!(ms(text), None, "{text:?}");
        }
        let error = "10".parse::<Span>().unwrap_err().to_string();
        assert!(error.starts_with("\"10\" is not a duration with its unit"), "{error}");
    }

    #[test]
    fn off_is_no_duration_at_all() {
        assert_eq!("off".parse(), Ok(SpanOrOff(None)));
        assert_eq!("5m".parse(), Ok(SpanOrOff(Some(Duration::from_secs(300)))));
        assert!("never".parse::<SpanOrOff>().is_err());
    }

    #[test]
    fn sizes_know_both_kinds_of_units() {
        for (text, bytes) in
            [("64KiB", 65_536), ("48MB", 48_000_000), ("3kb", 3_000), ("1GiB", 1 << 30), ("7b", 7), ("0B", 0)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text:?}");
        }
        assert!("64".parse::<Size>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(amount in 1_u64..1 << 50) {
            prop_assert_eq!(ms(&show_duration(Duration::from_millis(amount))), Some(amount));
            prop_assert_eq!(show_size(amount as usize).parse(), Ok(Size(amount as usize)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = (text.parse::<SpanOrOff>(), text.parse::<Size>());
        }
    }
}
