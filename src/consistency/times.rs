//! The times in a server's reply, from which floors rise.

use crate::doc::{DocError, Element, elements, find};

/// What a reply says of time. Times are BSON timestamps as one number: seconds in the upper half, increment in the
/// lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times<'a> {
    /// `opTime.ts`: when the write itself was made. Only in replies to insert, update and delete (6.0).
    pub write: Option<u64>,
    /// `operationTime`: an upper bound of what the reply reveals.
    pub operation: Option<u64>,
    /// `$clusterTime`, as it stands there.
    pub cluster_time: Option<&'a [u8]>,
    /// Whether the command failed.
    pub failed: bool,
    /// `code` of a command that failed.
    pub code: Option<i64>,
    /// Whether it has a write concern error: what it wrote may be rolled back, so no floor rises to it.
    pub is_doubtful: bool,
}

impl<'a> Times<'a> {
    /// Reads them from a reply's document.
    pub fn read(reply: &'a [u8]) -> Times<'a> {
        Times::among(elements(reply))
    }

    /// Reads them from some of its fields, up to the first that is not here as a whole.
    pub fn among(walk: impl Iterator<Item = Result<Element<'a>, DocError>>) -> Times<'a> {
        let mut times = Times::default();
        for Element { key, value, .. } in walk.map_while(Result::ok) {
            match key {
                b"ok" => times.failed = value.as_bool() == Some(false),
                b"code" => times.code = value.as_i64(),
                b"operationTime" => times.operation = value.as_timestamp(),
                b"$clusterTime" => times.cluster_time = value.as_document(),
                b"writeConcernError" => times.is_doubtful = true,
                b"opTime" => {
                    let time = value.as_document().and_then(|time| find(time, "ts"));
                    times.write = time.and_then(|time| time.value.as_timestamp()).or(value.as_timestamp());
                }
                _ => {}
            }
        }
        times
    }

    /// What a floor rises to before this reply is passed on: the time of a write, else the bound. What failed tells
    /// nothing of documents, unless it is of one that is in the way. Its `operationTime` is that of the last write
    /// applied (6.0), which a majority may not have for long.
    pub fn revealed(&self, is_write: bool) -> Option<u64> {
        match is_write {
            _ if self.is_doubtful => None,
            _ if self.failed => {
                self.operation.filter(|_| self.code.is_some_and(|code| DUPLICATE_KEY.contains(&code)))
            }
            true => self.write.filter(|time| *time > 0).or(self.operation),
            false => self.operation,
        }
    }

    /// Whether a reply's field of this name is one of them.
    pub fn reads(key: &[u8]) -> bool {
        matches!(key, b"ok" | b"code" | b"operationTime" | b"$clusterTime" | b"writeConcernError" | b"opTime")
    }

    /// The times in two parts of one reply, read apart.
    pub fn and(self, other: Times<'a>) -> Times<'a> {
        Times {
            write: self.write.or(other.write),
            operation: self.operation.or(other.operation),
            cluster_time: self.cluster_time.or(other.cluster_time),
            failed: self.failed || other.failed,
            code: self.code.or(other.code),
            is_doubtful: self.is_doubtful || other.is_doubtful,
        }
    }
}

/// DuplicateKey in all its numbers.
const DUPLICATE_KEY: [i64; 3] = [11000, 11001, 12582];

/// The time in a `$clusterTime` document.
pub fn cluster_time(document: &[u8]) -> Option<u64> {
    find(document, "clusterTime")?.value.as_timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Timestamp, doc};

    fn bytes(document: bson::Document) -> Vec<u8> {
        bson::serialize_to_vec(&document).unwrap()
    }

    fn at(time: u32) -> Timestamp {
        Timestamp { time, increment: 1 }
    }

    const fn number(time: u64) -> u64 {
        time << 32 | 1
    }

    #[test]
    fn a_write_is_as_late_as_itself_and_a_read_as_what_it_may_have_seen() {
        let reply =
            bytes(doc! { "n": 1, "opTime": { "ts": at(5), "t": 1i64 }, "ok": 1.0, "operationTime": at(7),
            "$clusterTime": { "clusterTime": at(9) } });
        let times = Times::read(&reply);
        assert_eq!((times.revealed(true), times.revealed(false)), (Some(number(5)), Some(number(7))));
        assert_eq!(cluster_time(times.cluster_time.unwrap()), Some(number(9)));
        let found_and_modified = bytes(doc! { "value": {}, "ok": 1.0, "operationTime": at(7) });
        assert_eq!(Times::read(&found_and_modified).revealed(true), Some(number(7)));
    }

    #[test]
    fn what_may_be_rolled_back_raises_nothing() {
        let reply = bytes(doc! { "opTime": { "ts": at(5) }, "writeConcernError": { "code": 64 }, "ok": 1.0,
        "operationTime": at(7) });
        assert_eq!(Times::read(&reply).revealed(true), None);
        let failed = |code: i32| bytes(doc! { "ok": 0.0, "code": code, "operationTime": at(7) });
        assert_eq!(Times::read(&failed(50)).revealed(false), None);
        assert_eq!(Times::read(&failed(10107)).revealed(true), None);
        assert_eq!(Times::read(&failed(11000)).revealed(true), Some(number(7)));
    }
}
