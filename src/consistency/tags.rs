//! Which level a collection has: the most specific tag wins.

use std::collections::HashMap;

use crate::config::{Level, Tag};

/// The tags of one replica set.
#[derive(Debug, Default)]
pub struct Tags {
    /// Sorted by name: there are few, and this is asked for every message.
    databases: Vec<(Box<[u8]>, OfDatabase)>,
    highest: Level,
}

#[derive(Debug, Default)]
struct OfDatabase {
    /// Sorted by name.
    exact: Vec<(Box<[u8]>, Level)>,
    /// The longest first.
    prefixes: Vec<(Box<[u8]>, Level)>,
}

impl Tags {
    /// Of two that are as specific the last counts.
    pub fn new(tags: &[Tag]) -> Tags {
        let mut databases: HashMap<Box<[u8]>, OfDatabase> = HashMap::new();
        for Tag { pattern, level } in tags {
            let database = databases.entry(pattern.database.as_bytes().into()).or_default();
            let name: Box<[u8]> = pattern.collection.as_bytes().into();
            if !pattern.is_prefix {
                match database.exact.binary_search_by(|(known, _)| known.cmp(&name)) {
                    Ok(found) => database.exact[found].1 = *level,
                    Err(place) => database.exact.insert(place, (name, *level)),
                }
                continue;
            }
            database.prefixes.retain(|(prefix, _)| *prefix != name);
            database.prefixes.push((name, *level));
            database.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        }
        let highest = tags.iter().map(|tag| tag.level).max().unwrap_or_default();
        let mut databases: Vec<_> = databases.into_iter().collect();
        databases.sort_by(|(one, _), (other, _)| one.cmp(other));
        Tags { databases, highest }
    }

    /// Whether there is none, so that nothing has to be looked up.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }

    /// The level of `database.collection`.
    pub fn level(&self, database: &[u8], collection: &[u8]) -> Level {
        let Some(tags) = self.of(database) else { return Level::Default };
        if let Ok(found) = tags.exact.binary_search_by(|(name, _)| name.as_ref().cmp(collection)) {
            return tags.exact[found].1;
        }
        if tags.prefixes.is_empty() {
            return Level::Default;
        }
        // A pattern does not mean the server's own collections, nor commands on the database as a whole.
        let is_own =
            collection.starts_with(b"system.") || collection.starts_with(b"$") || collection.is_empty();
        if is_own {
            return Level::Default;
        }
        let prefix = tags.prefixes.iter().find(|(prefix, _)| collection.starts_with(prefix));
        prefix.map_or(Level::Default, |(_, level)| *level)
    }

    /// The highest level of any collection.
    pub fn highest(&self) -> Level {
        self.highest
    }

    /// Whether any collection of `database` may have a level.
    pub fn mention(&self, database: &[u8]) -> bool {
        self.of(database).is_some()
    }

    fn of(&self, database: &[u8]) -> Option<&OfDatabase> {
        let found = self.databases.binary_search_by(|(name, _)| name.as_ref().cmp(database)).ok()?;
        self.databases.get(found).map(|(_, tags)| tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(texts: &[&str]) -> Tags {
        Tags::new(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn the_most_specific_tag_wins_whatever_their_order() {
        let texts = ["app.*=causal", "app.log*=default", "app.logbook=causal", "app.log_old*=causal"];
        for texts in [texts.to_vec(), texts.iter().rev().copied().collect()] {
            let tags = tags(&texts);
            let level = |collection: &[u8]| tags.level(b"app", collection);
            assert_eq!((level(b"x"), level(b"logs")), (Level::Causal, Level::Default));
            assert_eq!((level(b"logbook"), level(b"logbooks")), (Level::Causal, Level::Default));
            assert_eq!(level(b"log_old1"), Level::Causal);
            assert_eq!(tags.level(b"other", b"x"), Level::Default);
            for own in [b"system.profile".as_slice(), b"$cmd.aggregate", b""] {
                assert_eq!(level(own), Level::Default);
            }
        }
        assert!(tags(&[]).is_empty());
    }
}
