//! How a bound is declared, read, checked against its range and put in force.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::error::{Place, Problems};
use super::units::{Size, Span, SpanOrOff, show_duration, show_size};

/// A number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Count(pub usize);

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Flag(pub bool);

/// How a value is written in the file, and what it is in force.
pub(super) trait Setting: Copy {
    /// What the rest of torana sees.
    type Value;
    /// What its range is of.
    type Bound: PartialOrd + Copy;

    /// The value in force.
    fn value(self) -> Self::Value;

    /// What has to be in range, if anything.
    fn bound(self) -> Option<Self::Bound>;

    /// How a bound is written.
    fn show(bound: Self::Bound) -> String;
}

macro_rules! settings {
    ($($kind:ident: $value:ty, $bound:ty, $to_bound:expr, $show:expr;)*) => {$(
        impl Setting for $kind {
            type Value = $value;
            type Bound = $bound;

            fn value(self) -> $value {
                self.0
            }

            fn bound(self) -> Option<$bound> {
                $to_bound(self.0)
            }

            fn show(bound: $bound) -> String {
                $show(bound)
            }
        }
    )*};
}

settings! {
    Count: usize, usize, Some, |bound: usize| bound.to_string();
    Flag: bool, bool, Some, |bound: bool| bound.to_string();
    Size: usize, usize, Some, show_size;
    Span: Duration, Duration, Some, show_duration;
    SpanOrOff: Option<Duration>, Duration, std::convert::identity, show_duration;
}

/// Puts `given` in force in `field` if it lies in `range`. It was said at its own place in the file, or at `place`.
pub(super) fn set<S: Setting>(
    field: &mut S::Value,
    given: Option<&Spanned<S>>,
    range: RangeInclusive<S::Bound>,
    name: &str,
    place: Option<&Place>,
    problems: &mut Problems<'_>,
) {
    let Some(given) = given else { return };
    let setting = *given.get_ref();
    if let Some(bound) = setting.bound()
        && !range.contains(&bound)
    {
        let [found, low, high] = [bound, *range.start(), *range.end()].map(S::show);
        let place = place.cloned().unwrap_or(Place::At(given.span()));
        problems.add(&place, format!("{name} is {found}, which is outside {low} to {high}"));
    }
    *field = setting.value();
}

macro_rules! bounds {
    (
        $(#[$doc:meta])*
        $name:ident, $section:ident, $table:literal {
            $($(#[$field_doc:meta])* $field:ident: $value:ty as $kind:ident = $default:expr, $range:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $value,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)* }
            }
        }

        /// The same as the file says it: what it does not say stays as it is.
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $section {
            $(pub $field: Option<toml::Spanned<$kind>>,)*
        }

        impl $name {
            /// Puts in force what `section` says, said at its own place in the file or at `place`.
            pub(super) fn apply(
                &mut self,
                section: &$section,
                place: Option<&crate::config::error::Place>,
                problems: &mut crate::config::error::Problems<'_>,
            ) {
                $(crate::config::bounds::set(
                    &mut self.$field,
                    section.$field.as_ref(),
                    $range,
                    concat!($table, ".", stringify!($field)),
                    place,
                    problems,
                );)*
            }
        }
    };
}
pub(super) use bounds;

/// Milliseconds.
pub(super) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Seconds.
pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Hours.
pub(super) const fn hours(count: u64) -> Duration {
    Duration::from_secs(3600 * count)
}
