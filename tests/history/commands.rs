//! The commands that clients send, and how what comes back is read.

use bson::{Document, doc};

use super::dice::Dice;
use super::event::{Key, Seen, WriteId};
use super::reply::{counted, distinct, documents, returned};

/// The collections, by index, and how many of ten operations each gets. Each but `plain` has the level that it is named
/// after.
pub const COLLECTIONS: [(&str, u64); 3] = [("sequential", 4), ("linearizable", 3), ("plain", 3)];

/// Places in [`COLLECTIONS`].
const SEQUENTIAL: u8 = 0;
const LINEARIZABLE: u8 = 1;

/// Documents of each collection.
pub const DOCUMENTS: u8 = 4;

/// How a document, or all of them, can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// `find` by `_id`.
    One,
    /// `count` by `_id`.
    Count,
    /// `distinct` of `w` by `_id`.
    Distinct,
    /// `find` of all.
    All,
    /// The same in two batches.
    Batches,
    /// `aggregate` of all.
    Aggregate,
    /// `aggregate` of all, each joined with all of the other tagged collection.
    Joined,
}

impl Reading {
    /// Any, `One` more often.
    pub fn any(dice: &mut Dice) -> Reading {
        use Reading::{Aggregate, All, Batches, Count, Distinct, Joined, One};
        [Count, Distinct, All, Batches, Aggregate, Joined, One, One, One][dice.below(9) as usize]
    }

    /// The collection that the read is of, given the document that was chosen.
    pub fn of(self, key: Key) -> Key {
        if self == Reading::Joined { Key { collection: LINEARIZABLE, ..key } } else { key }
    }

    /// The command.
    pub fn command(self, key: Key) -> Document {
        let name = COLLECTIONS[usize::from(key.collection)].0;
        let one = doc! { "_id": i32::from(key.id) };
        let w = doc! { "$project": { "w": 1 } };
        let other = COLLECTIONS[usize::from(SEQUENTIAL)].0;
        let lookup = doc! { "$lookup": { "from": other, "pipeline": [w.clone()], "as": "others" } };
        match self {
            Reading::One => doc! { "find": name, "filter": one },
            Reading::Count => doc! { "count": name, "query": one },
            Reading::Distinct => doc! { "distinct": name, "key": "w", "query": one },
            Reading::All => doc! { "find": name, "sort": { "_id": 1 } },
            Reading::Batches => doc! { "find": name, "batchSize": 1 },
            Reading::Aggregate => doc! { "aggregate": name, "pipeline": [w], "cursor": {} },
            Reading::Joined => doc! { "aggregate": name, "pipeline": [lookup], "cursor": {} },
        }
    }

    /// What it has seen, at one moment, by all its replies.
    pub fn seen(self, key: Key, replies: &[Document]) -> Vec<(Key, Seen)> {
        let of_collection = || replies.iter().flat_map(returned);
        match self {
            Reading::Count => vec![(key, counted(&replies[0]))],
            Reading::Distinct => vec![(key, distinct(&replies[0]))],
            Reading::One => all(key.collection, &documents(of_collection()))
                .into_iter()
                .filter(|(k, _)| *k == key)
                .collect(),
            Reading::All | Reading::Batches | Reading::Aggregate => {
                all(key.collection, &documents(of_collection()))
            }
            Reading::Joined => {
                let others =
                    of_collection().map(|document| document.get_array("others").expect("the others"));
                let others =
                    others.map(|others| documents(others.iter().filter_map(|other| other.as_document())));
                let mut seen = all(key.collection, &documents(of_collection()));
                others.for_each(|others| seen.extend(all(SEQUENTIAL, &others)));
                seen
            }
        }
    }
}

/// The states of all documents of a collection, given those that are there.
fn all(collection: u8, there: &[(u8, Seen)]) -> Vec<(Key, Seen)> {
    let state = |id| there.iter().find(|(other, _)| *other == id).map_or(Seen::Absent, |(_, seen)| *seen);
    (0..DOCUMENTS).map(|id| (Key { collection, id }, state(id))).collect()
}

fn change(id: WriteId) -> Document {
    doc! { "$set": { "w": id as i64 }, "$inc": { "n": 1 } }
}

fn update(key: Key, id: WriteId, upsert: bool) -> Document {
    let update = doc! { "q": { "_id": i32::from(key.id) }, "u": change(id), "upsert": upsert };
    doc! { "update": COLLECTIONS[usize::from(key.collection)].0, "updates": [update] }
}

/// A command that writes a document, whether it is there or not.
pub fn upsert(key: Key, id: WriteId) -> Document {
    update(key, id, true)
}

/// A command that changes a document, if it can.
pub fn any_write(dice: &mut Dice, key: Key, id: WriteId) -> Document {
    let name = COLLECTIONS[usize::from(key.collection)].0;
    let one = doc! { "_id": i32::from(key.id) };
    match dice.below(10) {
        0 => doc! { "insert": name, "documents": [{ "_id": i32::from(key.id), "w": id as i64, "n": 0 }] },
        1 => doc! { "delete": name, "deletes": [{ "q": one, "limit": 1 }] },
        2 => doc! { "findAndModify": name, "query": one, "remove": true },
        3 | 4 => doc! { "findAndModify": name, "query": one, "update": change(id) },
        5 | 6 => update(key, id, false),
        _ => upsert(key, id),
    }
}

/// The two writes of a transaction over both tagged collections.
pub fn pair(dice: &mut Dice, id: WriteId) -> [Document; 2] {
    let mut any = |collection| Key { collection, id: dice.below(u64::from(DOCUMENTS)) as u8 };
    [any(SEQUENTIAL), any(LINEARIZABLE)].map(|key| upsert(key, id))
}

/// The collection that such a transaction counts for.
pub const OF_PAIRS: u8 = LINEARIZABLE;
