//! Floors: for each collection, the latest time that anyone was told of through this torana.
//!
//! A client is everything that reaches the set through one torana, on whatever connection, since drivers spread one
//! application over many. So floors belong to torana, not to a socket. They only rise, and only to times that a majority
//! has, as far as a reply can say so: what is in flight would make every read wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use super::times::cluster_time;
use crate::config::Level;
use crate::metrics::{CollectionCounts, CollectionMetrics, CollectionRead};

/// Collections with a floor of their own. For one more the lowest that nobody uses goes into the floor that all share,
/// which only makes reads wait for more, and for no more than that.
const COLLECTIONS_MAX: usize = 10_000;

/// The longest name of a collection, bytes, database included (MongoDB 4.4 and later). Longer ones name nothing.
const NAME_MAX: usize = 255;

/// Collections that one operation may touch one by one; with more it touches all.
const TOUCHED_MAX: usize = 32;

/// The longest `$clusterTime` that is kept, bytes. A signed one has 90.
const CLUSTER_TIME_MAX: usize = 512;

/// The floors of one replica set.
#[derive(Debug, Default)]
pub struct Floors {
    collections: Mutex<Collections>,
    /// No collection's floor is below this one.
    shared: Arc<Floor>,
    /// The highest of all.
    highest: Floor,
    /// The newest `$clusterTime` that came with a floor, signature included.
    cluster_time: Mutex<(u64, Vec<u8>)>,
    metrics: Arc<CollectionMetrics>,
}

/// By the collection's name.
type OfDatabase = HashMap<Box<[u8]>, Arc<Floor>>;

#[derive(Debug, Default)]
struct Collections {
    databases: HashMap<Box<[u8]>, OfDatabase>,
    count: usize,
}

/// A time that only rises: a BSON timestamp as one number; 0 if nobody was told anything.
#[derive(Debug, Default)]
struct Floor {
    time: AtomicU64,
    /// The reads of its collection.
    reads: CollectionCounts,
}

impl Floor {
    fn get(&self) -> u64 {
        self.time.load(Ordering::Acquire)
    }

    fn raise(&self, time: u64) {
        self.time.fetch_max(time, Ordering::AcqRel);
    }
}

impl Collections {
    /// Makes room by putting the lowest floor that no operation holds into `shared`; false if all are held.
    fn forget_lowest(&mut self, shared: &Floor) -> bool {
        let named = self.databases.iter().flat_map(|(database, collections)| {
            collections.iter().map(move |(name, floor)| (database, name, floor))
        });
        // New holders come only through the lock that is held here.
        let free = named.filter(|(_, _, floor)| Arc::strong_count(floor) == 1);
        let Some((database, name, floor)) = free.min_by_key(|(_, _, floor)| floor.get()) else {
            return false;
        };
        // What the last holder raised before it let go is seen from here on.
        fence(Ordering::Acquire);
        shared.raise(floor.get());
        let (database, name) = (database.clone(), name.clone());
        let is_empty = self.databases.get_mut(&database).is_none_or(|collections| {
            collections.remove(&name);
            collections.is_empty()
        });
        if is_empty {
            self.databases.remove(&database);
        }
        self.count -= 1;
        true
    }
}

/// The collections that one operation is about.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    first: Option<Arc<Floor>>,
    /// Seldom any.
    others: Vec<Arc<Floor>>,
    /// All of them: a transaction's commit, a dropped database.
    every: bool,
    /// The highest level of any.
    level: Level,
}

impl Touched {
    /// All collections, of which the highest level is `level`.
    pub fn every(level: Level) -> Touched {
        Touched { every: true, level, ..Touched::default() }
    }

    /// The request asks for `level`: it has that, or a higher one.
    pub fn asks_for(&mut self, level: Level) {
        self.level = self.level.max(level);
    }

    /// The highest level of any of them.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first.is_none() && !self.every
    }

    /// Whether there are several.
    pub fn is_many(&self) -> bool {
        !self.others.is_empty() || self.every
    }

    /// All of both.
    pub fn add(&mut self, other: &Touched) {
        self.every |= other.every;
        self.level = self.level.max(other.level);
        for floor in other.each() {
            match self.first {
                None => self.first = Some(floor.clone()),
                Some(_) if self.each().any(|known| Arc::ptr_eq(known, floor)) => {}
                Some(_) => self.others.push(floor.clone()),
            }
        }
    }

    /// Counts a read of these.
    pub fn count(&self, read: CollectionRead) {
        self.each().for_each(|floor| floor.reads.inc(read));
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Floor>> {
        self.first.iter().chain(&self.others)
    }
}

impl Floors {
    /// Nobody was told anything yet; the reads of its collections are counted in `metrics`.
    pub fn counted_in(metrics: Arc<CollectionMetrics>) -> Floors {
        Floors { metrics, ..Floors::default() }
    }

    /// Adds `database.collection`, whose level is `level`, to `touched`.
    pub fn touch(&self, database: &[u8], collection: &[u8], level: Level, touched: &mut Touched) {
        if touched.every || database.len() + 1 + collection.len() > NAME_MAX {
            return;
        }
        let floor = self.of(database, collection);
        touched.level = touched.level.max(level);
        match touched.first {
            None => touched.first = Some(floor),
            Some(_) if touched.each().any(|known| Arc::ptr_eq(known, &floor)) => {}
            Some(_) if touched.others.len() >= TOUCHED_MAX => touched.every = true,
            Some(_) => touched.others.push(floor),
        }
    }

    fn of(&self, database: &[u8], collection: &[u8]) -> Arc<Floor> {
        let known = &mut *self.collections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(floor) = known.databases.get(database).and_then(|database| database.get(collection)) {
            return floor.clone();
        }
        if known.count >= COLLECTIONS_MAX && !known.forget_lowest(&self.shared) {
            return self.shared.clone();
        }
        known.count += 1;
        let reads = self.metrics.of(database, collection);
        let floor = Arc::new(Floor { reads, ..Floor::default() });
        let database = known.databases.entry(database.into()).or_default();
        database.insert(collection.into(), floor.clone());
        floor
    }

    /// The floor that a read of these has to be sent at; 0 if nobody was told anything.
    pub fn floor(&self, touched: &Touched) -> u64 {
        if touched.every {
            return self.highest.get();
        }
        touched.each().map(|floor| floor.get()).max().unwrap_or(0).max(self.shared.get())
    }

    /// The highest floor of any collection: for what may go on to any of them.
    pub fn highest(&self) -> u64 {
        self.highest.get()
    }

    /// Somebody is about to be told of these as of `time`, and nobody waits for that.
    pub fn note(&self, touched: &Touched, time: u64) {
        touched.each().for_each(|floor| floor.raise(time));
    }

    /// Somebody is about to be told of these as of `time`.
    pub fn raise(&self, touched: &Touched, time: u64) {
        // First, as it is the bound of the others.
        self.highest.raise(time);
        touched.each().for_each(|floor| floor.raise(time));
        if touched.every {
            self.shared.raise(time);
        }
    }

    /// A server knows of this `$clusterTime`. A member that has not heard of a floor refuses it (72, 6.0) unless the
    /// request tells it of the time as well.
    pub fn heard(&self, document: &[u8]) {
        let Some(time) = cluster_time(document).filter(|_| document.len() <= CLUSTER_TIME_MAX) else {
            return;
        };
        let (newest, kept) = &mut *self.cluster_time.lock().unwrap_or_else(PoisonError::into_inner);
        if time > *newest {
            *newest = time;
            kept.clear();
            kept.extend_from_slice(document);
        }
    }

    /// Puts the newest `$clusterTime` into `out`, which is emptied; nothing if none was heard.
    pub fn cluster_time(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.cluster_time.lock().unwrap_or_else(PoisonError::into_inner).1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Timestamp, doc};

    fn touched(floors: &Floors, names: &[&str]) -> Touched {
        let mut touched = Touched::default();
        names.iter().for_each(|name| floors.touch(b"app", name.as_bytes(), Level::Causal, &mut touched));
        touched
    }

    #[test]
    fn floors_only_rise_and_each_collection_has_its_own() {
        let floors = Floors::default();
        let (x, y, both) =
            (touched(&floors, &["x"]), touched(&floors, &["y"]), touched(&floors, &["x", "y"]));
        floors.raise(&x, 5);
        floors.raise(&x, 3);
        assert_eq!((floors.floor(&x), floors.floor(&y), floors.floor(&both)), (5, 0, 5));
        floors.raise(&Touched::every(Level::Causal), 4);
        assert_eq!((floors.floor(&x), floors.floor(&y), floors.highest()), (5, 4, 5));
        assert_eq!(floors.floor(&Touched::every(Level::Causal)), 5);
        assert!(touched(&floors, &[]).is_empty() && !Touched::every(Level::Causal).is_empty());
    }

    #[test]
    fn collections_beyond_the_bound_share_a_floor() {
        let floors = Floors::default();
        let names: Vec<String> = (0..COLLECTIONS_MAX).map(|number| number.to_string()).collect();
        touched(&floors, &names.iter().map(String::as_str).collect::<Vec<_>>());
        (0..COLLECTIONS_MAX).for_each(|number| {
            floors.raise(&touched(&floors, &[number.to_string().as_str()]), 10 + number as u64);
        });
        assert_eq!(floors.floor(&touched(&floors, &["0"])), 10);
        floors.raise(&touched(&floors, &["late"]), 99_999);
        assert_eq!(floors.floor(&touched(&floors, &["late"])), 99_999);
        assert_eq!(floors.floor(&touched(&floors, &["0"])), 11, "the lowest went twice, and nothing fell");
        let held: Vec<Touched> = (0..COLLECTIONS_MAX)
            .map(|number| touched(&floors, &[format!("held{number}").as_str()]))
            .collect();
        let (more, most) = (touched(&floors, &["more"]), touched(&floors, &["most"]));
        floors.raise(&more, 100_000);
        assert_eq!(floors.floor(&most), 100_000, "all are held: these share one");
        drop(held);
        let long = "x".repeat(NAME_MAX);
        assert!(touched(&floors, &[long.as_str()]).is_empty());
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let many = touched(&floors, &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(many.every && many.others.len() <= TOUCHED_MAX);
    }

    #[test]
    fn the_newest_cluster_time_is_kept_with_its_signature() {
        let floors = Floors::default();
        let document = |time| {
            let clock = Timestamp { time, increment: 0 };
            bson::serialize_to_vec(&doc! { "clusterTime": clock, "signature": { "keyId": 1i64 } }).unwrap()
        };
        let mut out = vec![1];
        floors.cluster_time(&mut out);
        assert!(out.is_empty());
        floors.heard(&document(7));
        floors.heard(&document(6));
        floors.heard(b"nonsense");
        floors.cluster_time(&mut out);
        assert_eq!(out, document(7));
    }
}
