//! Several sources of one format as one, in the order of their times.

use super::input::Cut;
use super::tally::Tally;

/// Something that is read from a source, with its time.
#[derive(Debug)]
pub struct Timed<T> {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// The source, counted from 0.
    pub source: usize,
    /// What was read.
    pub item: T,
}

/// A source of items.
pub trait Source {
    /// What it is made of.
    type Item;

    /// The next one and its time, nanoseconds since 1970; `None` at its end. What is none is counted in `tally`.
    fn next(&mut self, tally: &mut Tally) -> Result<Option<(i64, Self::Item)>, Cut>;
}

/// A source that is being read.
struct Reading<S: Source> {
    name: String,
    source: S,
    next: Option<(i64, S::Item)>,
}

/// The sources.
pub struct Merge<S: Source> {
    sources: Vec<Reading<S>>,
}

impl<S: Source> Merge<S> {
    /// Of these, with the names by which damage is told.
    pub fn new(sources: Vec<(String, S)>, tally: &mut Tally) -> Merge<S> {
        let sources =
            sources.into_iter().map(|(name, source)| Reading { name, source, next: None }).collect();
        let mut merge = Merge { sources };
        (0..merge.sources.len()).for_each(|place| merge.fill(place, tally));
        merge
    }

    /// The earliest of what comes next in each source.
    pub fn next(&mut self, tally: &mut Tally) -> Option<Timed<S::Item>> {
        let times = self.sources.iter().enumerate();
        let times = times.filter_map(|(place, reading)| Some((reading.next.as_ref()?.0, place)));
        let (_, source) = times.min()?;
        let (time, item) = self.sources.get_mut(source)?.next.take()?;
        self.fill(source, tally);
        Some(Timed { time, source, item })
    }

    /// Reads the next of one source. One that is cut off ends there; what came before it stays.
    fn fill(&mut self, place: usize, tally: &mut Tally) {
        let Some(reading) = self.sources.get_mut(place) else { return };
        match reading.source.next(tally) {
            Ok(read) => reading.next = read,
            Err(Cut::Off(what)) => tally.note(format!("{}: {what}", reading.name)),
        }
    }
}

impl<S: Source> std::fmt::Debug for Merge<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge").field("sources", &self.sources.len()).finish()
    }
}
