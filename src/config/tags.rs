//! Collections and the consistency level that each is tagged with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::error::did_you_mean;
use super::units::from_text;

/// Databases that are the server's own.
const OF_THE_SERVER: [&str; 3] = ["admin", "local", "config"];

/// What a collection promises its clients. Each promises all that those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// What clients ask the server for; requests pass untouched.
    #[default]
    Default,
    /// The same; what reads miss is counted, and a request can ask for more.
    Observe,
    /// Reads and writes of a majority, after everything that was acknowledged or returned through this torana.
    Causal,
    /// The same for clients that move from one torana of the set to another, as all toranas share what they have told.
    Sequential,
    /// Every read shows at least what anyone was told of through any torana before it began.
    Linearizable,
}

impl Level {
    const ALL: [Level; 5] =
        [Level::Default, Level::Observe, Level::Causal, Level::Sequential, Level::Linearizable];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Default => "default",
            Level::Observe => "observe",
            Level::Causal => "causal",
            Level::Sequential => "sequential",
            Level::Linearizable => "linearizable",
        }
    }
}

/// A collection, or all whose names begin alike: `DB.COLLECTION`, or `DB.PREFIX*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    /// The database.
    pub database: String,
    /// The collection, or the beginning of its name.
    pub collection: String,
    /// Whether it is a beginning.
    pub is_prefix: bool,
}

/// A collection with its level: `DB.COLLECTION=LEVEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Which collections.
    pub pattern: Pattern,
    /// What they promise.
    pub level: Level,
}

/// Why a text is no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Not `DB.COLLECTION`.
    #[error("{0:?} names no collection: write DB.COLLECTION, or DB.PREFIX* for all that begin so")]
    Pattern(String),
    /// A star that is not the last character.
    #[error("{0:?}: only the end of a collection's name can be left open by a star")]
    Star(String),
    /// A database of the server's own.
    #[error("{0:?}: collections of {1} are the server's own, and cannot be tagged")]
    OfTheServer(String, String),
    /// No `=` between collection and level.
    #[error("{0:?} has no level: write DB.COLLECTION=LEVEL")]
    NoLevel(String),
    /// No level of this name.
    #[error(
        "there is no level {0:?}{1}: the levels are default, observe, causal, sequential and linearizable"
    )]
    Level(String, String),
}

impl FromStr for Level {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Level, TagError> {
        if let Some(level) = Level::ALL.into_iter().find(|level| level.as_str() == text) {
            return Ok(level);
        }
        let meant = did_you_mean(text, Level::ALL.map(Level::as_str));
        let meant = meant.map_or(String::new(), |meant| format!(", did you mean {meant:?}?"));
        Err(TagError::Level(text.to_owned(), meant))
    }
}

impl FromStr for Pattern {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Pattern, TagError> {
        let none = || TagError::Pattern(text.to_owned());
        let (database, collection) = text.split_once('.').ok_or_else(none)?;
        let (collection, is_prefix) = match collection.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (collection, false),
        };
        if database.contains('*') || collection.contains('*') {
            return Err(TagError::Star(text.to_owned()));
        }
        let names_none = database.is_empty() || (collection.is_empty() && !is_prefix);
        if names_none || text.contains('\0') || database.contains(['/', '\\', ' ', '"', '$']) {
            return Err(none());
        }
        if OF_THE_SERVER.contains(&database) {
            return Err(TagError::OfTheServer(text.to_owned(), database.to_owned()));
        }
        let (database, collection) = (database.to_owned(), collection.to_owned());
        Ok(Pattern { database, collection, is_prefix })
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Tag, TagError> {
        let (pattern, level) = text.rsplit_once('=').ok_or_else(|| TagError::NoLevel(text.to_owned()))?;
        Ok(Tag { pattern: pattern.parse()?, level: level.parse()? })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.database, self.collection, if self.is_prefix { "*" } else { "" })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

from_text! {
    Pattern: "a collection of the form \"DB.COLLECTION\" or \"DB.PREFIX*\"",
    Level: "the name of a level, such as \"causal\"",
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Tag>().unwrap_err().to_string()
    }

    #[test]
    fn a_tag_names_collections_and_a_level() {
        let tag: Tag = "parse.GameScore=causal".parse().unwrap();
        assert_eq!((tag.pattern.to_string().as_str(), tag.level), ("parse.GameScore", Level::Causal));
        let all: Pattern = "parse.*".parse().unwrap();
        assert!(all.is_prefix && all.collection.is_empty());
        let dotted: Pattern = "app.fs.files".parse().unwrap();
        assert_eq!((dotted.database.as_str(), dotted.collection.as_str()), ("app", "fs.files"));
    }

    #[test]
    fn what_is_no_tag_is_refused_with_what_to_write() {
        assert!(refused("parse.GameScore").contains("has no level"));
        for text in ["GameScore=causal", ".x=causal", "parse.=causal", "a b.x=causal"] {
            assert!(refused(text).contains("names no collection"), "{text}");
        }
        for text in ["*.x=causal", "parse.*x=causal", "*=causal"] {
            assert!(refused(text).contains("star") || refused(text).contains("names no"), "{text}");
        }
        assert!(refused("local.oplog.rs=causal").contains("the server's own"));
        assert!(refused("a.b=casual").contains("did you mean \"causal\"?"));
    }

    #[test]
    fn levels_are_ordered_by_what_they_promise() {
        assert!(Level::ALL.is_sorted());
        assert!(Level::ALL.iter().all(|level| level.as_str().parse() == Ok(*level)));
    }
}
