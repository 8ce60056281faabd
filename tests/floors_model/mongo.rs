//! The replica set: one log, of which a prefix is majority-committed.
//!
//! A time `T` is a position in the log, so an entry that was rolled back and the one that took its place have the
//! same `T`: the worst case of what timestamps of two primaries can do.

/// Documents of the one tagged collection.
pub const DOCS: usize = 2;

/// Who wrote a version: a torana's epoch and its counter. `(0, 0)` stands for what was there before the tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    pub epoch: u8,
    pub serial: u8,
}

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The documents written, one bit each.
    pub docs: u8,
    /// False for a delete.
    pub live: bool,
    /// For a delete nobody can see it: the model's own name for the entry.
    pub token: Token,
}

/// A state of one document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version {
    pub time: u8,
    pub token: Token,
    pub live: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    pub entries: Vec<Entry>,
    /// How many of them are majority-committed.
    pub commit: u8,
    /// Documents exist, without a token, before the first entry.
    pub existed: bool,
}

impl Log {
    pub fn end(&self) -> u8 {
        self.entries.len() as u8
    }

    /// Applies a write on the primary and returns its time.
    pub fn apply(&mut self, entry: Entry) -> u8 {
        self.entries.push(entry);
        self.end()
    }

    /// The document as it was at `time`.
    pub fn version(&self, doc: usize, time: u8) -> Version {
        let newest = (1..=time).rev().find(|t| self.entries[*t as usize - 1].docs & (1 << doc) != 0);
        match newest {
            Some(t) => {
                let entry = self.entries[t as usize - 1];
                Version { time: t, token: entry.token, live: entry.live }
            }
            None => Version { live: self.existed, ..Version::default() },
        }
    }

    /// The token at `time`, by which a writer knows its entry again after a rollback.
    pub fn token_at(&self, time: u8) -> Option<Token> {
        match time {
            0 => Some(Token::default()),
            _ => self.entries.get(time as usize - 1).map(|entry| entry.token),
        }
    }

    /// Whether this version, once seen, is still part of history.
    pub fn holds(&self, version: Version) -> bool {
        self.token_at(version.time) == Some(version.token)
    }
}
