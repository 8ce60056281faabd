//! Latencies and rates, in memory that does not grow with the number of operations.

use hdrhistogram::Histogram;

use super::hash::Map;

/// Commands, collections and shapes that are told apart, each; what comes later is `other`.
pub const GROUPS_MAX: usize = 200;

/// What groups beyond the limit are called.
pub const OTHER: &str = "other";

/// The longest latency that is told from longer ones, microseconds: an hour.
const LATENCY_MAX: u64 = 3_600_000_000;

/// Points of the timeline; when there are more, two become one.
const POINTS_MAX: usize = 1200;

/// Nanoseconds of a point at first.
const POINT: u64 = 1_000_000_000;

/// A histogram of microseconds.
pub fn histogram(digits: u8) -> Histogram<u64> {
    // Two or three digits and this limit are within what a histogram can be: creation cannot fail.
    let bounded = Histogram::new_with_bounds(1, LATENCY_MAX, digits);
    bounded.unwrap_or_else(|_| unreachable!("bounds of a histogram"))
}

/// Latencies of one group of operations, microseconds.
#[derive(Debug)]
pub struct Latencies {
    /// From the moment it was sent to its reply.
    pub sent: Histogram<u64>,
    /// From the moment it was due to its reply.
    pub due: Histogram<u64>,
    /// As recorded in the capture, of the same operations.
    pub recorded: Histogram<u64>,
    /// Answers that were errors, and operations that failed.
    pub errors: u64,
    /// Answers that differ from the recorded ones.
    pub different: u64,
}

impl Latencies {
    /// Of two digits for one of many groups, of three for the whole.
    pub fn new(digits: u8) -> Latencies {
        Latencies {
            sent: histogram(digits),
            due: histogram(digits),
            recorded: histogram(digits),
            errors: 0,
            different: 0,
        }
    }
}

/// One operation's measurements, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// From sent to its reply; `None` if there was none.
    pub sent: Option<u64>,
    /// From due to its reply.
    pub due: Option<u64>,
    /// As recorded.
    pub recorded: Option<u64>,
    /// It was an error, or failed.
    pub is_error: bool,
    /// The answer differs.
    pub is_different: bool,
}

impl Latencies {
    /// Adds one operation.
    pub fn add(&mut self, measured: &Measured) {
        let put = |histogram: &mut Histogram<u64>, value: Option<u64>| {
            if let Some(nanos) = value {
                histogram.saturating_record((nanos / 1000).max(1));
            }
        };
        put(&mut self.sent, measured.sent);
        put(&mut self.due, measured.due);
        put(&mut self.recorded, measured.recorded);
        self.errors += u64::from(measured.is_error);
        self.different += u64::from(measured.is_different);
    }
}

/// Latencies by name.
#[derive(Debug, Default)]
pub struct Groups {
    places: Map<String, usize>,
    groups: Vec<Latencies>,
}

impl Groups {
    /// Adds an operation to the group at this place.
    pub fn add(&mut self, place: usize, measured: &Measured) {
        if let Some(group) = self.groups.get_mut(place) {
            group.add(measured);
        }
    }

    /// Adds all operations of a group that was counted elsewhere.
    pub fn merge(&mut self, name: &str, latencies: &Latencies) {
        let place = self.place(name);
        if let Some(group) = self.groups.get_mut(place) {
            group.merge(latencies);
        }
    }

    /// The place of the group called `name`.
    pub fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let name = if self.places.len() < GROUPS_MAX { name } else { OTHER };
        let Groups { places, groups } = self;
        *places.entry(name.to_owned()).or_insert_with(|| {
            groups.push(Latencies::new(2));
            groups.len() - 1
        })
    }

    /// All groups, those with most operations first.
    pub fn sorted(&self) -> Vec<(&str, &Latencies)> {
        let named =
            self.places.iter().filter_map(|(name, place)| Some((name.as_str(), self.groups.get(*place)?)));
        let mut groups: Vec<(&str, &Latencies)> = named.collect();
        groups.sort_by(|(a, x), (b, y)| y.count().cmp(&x.count()).then(a.cmp(b)));
        groups
    }
}

impl Latencies {
    /// Adds all operations of another group.
    pub fn merge(&mut self, other: &Latencies) {
        // Histograms of one range can be added, whatever their digits.
        let _ = self.sent.add(&other.sent);
        let _ = self.due.add(&other.due);
        let _ = self.recorded.add(&other.recorded);
        self.errors += other.errors;
        self.different += other.different;
    }

    /// Operations in it.
    pub fn count(&self) -> u64 {
        self.sent.len().max(self.recorded.len()).max(self.errors)
    }
}

/// Throughput and latency over time.
#[derive(Debug)]
pub struct Timeline {
    /// Nanoseconds of a point.
    width: u64,
    points: Vec<Point>,
    /// The point that is being filled, and its latencies.
    current: usize,
    latencies: Histogram<u64>,
}

/// What happened within one stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// Operations that were answered.
    pub operations: u64,
    /// Errors and failures among them.
    pub errors: u64,
    /// The 99th percentile of latency from sent, microseconds; of several stretches that became one, the worst.
    pub p99: u64,
    /// The longest that torana itself was late, microseconds.
    pub lag: u64,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline { width: POINT, points: Vec::new(), current: 0, latencies: histogram(2) }
    }
}

impl Timeline {
    /// Adds an operation that ended `at`, nanoseconds since the replay began.
    pub fn add(&mut self, at: u64, measured: &Measured, lag: u64) {
        let mut place = (at / self.width) as usize;
        while place >= POINTS_MAX {
            self.halve();
            place = (at / self.width) as usize;
        }
        if place > self.current || self.points.is_empty() {
            self.close();
            self.current = place;
        }
        if self.points.len() <= place {
            self.points.resize(place + 1, Point::default());
        }
        if let Some(point) = self.points.get_mut(place) {
            point.operations += 1;
            point.errors += u64::from(measured.is_error);
            point.lag = point.lag.max(lag / 1000);
        }
        if let Some(sent) = measured.sent {
            self.latencies.saturating_record((sent / 1000).max(1));
        }
    }

    /// The points so far, and the nanoseconds of each.
    pub fn finish(&mut self) -> (&[Point], u64) {
        self.close();
        (&self.points, self.width)
    }

    fn close(&mut self) {
        if !self.latencies.is_empty()
            && let Some(point) = self.points.get_mut(self.current)
        {
            point.p99 = point.p99.max(self.latencies.value_at_quantile(0.99));
        }
        self.latencies.reset();
    }

    fn halve(&mut self) {
        self.close();
        self.width *= 2;
        self.current /= 2;
        let join = |pair: &[Point]| {
            pair.iter().fold(Point::default(), |sum, point| Point {
                operations: sum.operations + point.operations,
                errors: sum.errors + point.errors,
                p99: sum.p99.max(point.p99),
                lag: sum.lag.max(point.lag),
            })
        };
        self.points = self.points.chunks(2).map(join).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: Measured = Measured {
        sent: Some(1_000_000),
        due: Some(2_000_000),
        recorded: None,
        is_error: false,
        is_different: false,
    };

    #[test]
    fn groups_beyond_the_limit_are_one() {
        let mut groups = Groups::default();
        for number in 0..GROUPS_MAX + 50 {
            let place = groups.place(&format!("shape {number}"));
            groups.add(place, &MEASURED);
        }
        let sorted = groups.sorted();
        assert_eq!(sorted.len(), GROUPS_MAX + 1);
        assert_eq!((sorted[0].0, sorted[0].1.count()), (OTHER, 50));
    }

    #[test]
    fn a_long_timeline_keeps_its_sums_in_few_points() {
        let mut timeline = Timeline::default();
        for second in 0..10_000u64 {
            timeline.add(second * POINT, &MEASURED, 5_000);
        }
        let (points, width) = timeline.finish();
        assert!(points.len() <= POINTS_MAX && width == 16 * POINT, "{} {width}", points.len());
        assert_eq!(points.iter().map(|point| point.operations).sum::<u64>(), 10_000);
        assert!(points.iter().all(|point| point.p99.abs_diff(1000) <= 10 && point.lag == 5));
    }
}
