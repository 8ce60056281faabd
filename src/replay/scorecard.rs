//! The scorecard: what became of each captured operation. Its sum is checked at the end of every replay, so that no
//! operation is lost from sight between the file and the report.

use serde::{Deserialize, Serialize};

/// Why an operation was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// `hello` in all its spellings and its kin: a matter of each driver and its own connections.
    Monitoring,
    /// Logins are never in a capture as they were.
    Authentication,
    /// The capture has its name alone, as it carried secrets.
    Withheld,
    /// It may change data, and writes were not asked for.
    Write,
    /// The filter leaves it out.
    Filter,
    /// An opcode that is not replayed.
    Opcode,
    /// It waits on the server for what others do: change streams and tailable cursors that await data.
    Awaiting,
    /// It changes the server itself, or what others do on it.
    Administrative,
    /// Its cursor was opened by nothing that is replayed.
    Cursor,
    /// Its transaction was begun by nothing that is replayed.
    Transaction,
    /// Its bytes are no command.
    Malformed,
    /// The replay ended before.
    Ended,
}

impl Skip {
    /// All of them, in the order of reports.
    pub const ALL: [Skip; 12] = [
        Skip::Monitoring,
        Skip::Authentication,
        Skip::Withheld,
        Skip::Write,
        Skip::Filter,
        Skip::Opcode,
        Skip::Awaiting,
        Skip::Administrative,
        Skip::Cursor,
        Skip::Transaction,
        Skip::Malformed,
        Skip::Ended,
    ];

    /// As a report says it.
    pub fn text(self) -> &'static str {
        match self {
            Skip::Monitoring => "monitoring",
            Skip::Authentication => "authentication",
            Skip::Withheld => "body withheld",
            Skip::Write => "writes, without --writes",
            Skip::Filter => "not in --filter",
            Skip::Opcode => "legacy opcode",
            Skip::Awaiting => "change streams and awaiting cursors",
            Skip::Administrative => "server administration",
            Skip::Cursor => "cursor opened outside the replay",
            Skip::Transaction => "transaction begun outside the replay",
            Skip::Malformed => "not a command",
            Skip::Ended => "the replay ended before",
        }
    }
}

/// Why an operation that was to be sent has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// There was no connection.
    Connect,
    /// The connection broke before the answer was there. Whether the operation ran is not known.
    Lost,
    /// What came was no answer to it.
    Reply,
    /// No answer in time.
    Late,
}

impl Failure {
    /// All of them, in the order of reports.
    pub const ALL: [Failure; 4] = [Failure::Connect, Failure::Lost, Failure::Reply, Failure::Late];

    /// As a report says it.
    pub fn text(self) -> &'static str {
        match self {
            Failure::Connect => "no connection",
            Failure::Lost => "connection broke",
            Failure::Reply => "answer that is none",
            Failure::Late => "no answer in time",
        }
    }
}

/// Counts of what became of operations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scorecard {
    /// Requests that were read from the capture.
    pub captured: u64,
    /// Sent, and answered if an answer was wanted.
    pub sent: u64,
    skipped: [u64; Skip::ALL.len()],
    failed: [u64; Failure::ALL.len()],
    /// Its cursor was opened in the replay, but was not there any more (or never) on the target.
    pub unmatched: u64,
}

impl Scorecard {
    /// One more was left out.
    pub fn skip(&mut self, why: Skip) {
        self.skipped[why as usize] += 1;
    }

    /// So many more were.
    pub fn skip_many(&mut self, why: Skip, count: u64) {
        self.skipped[why as usize] += count;
    }

    /// One more failed.
    pub fn fail(&mut self, why: Failure) {
        self.failed[why as usize] += 1;
    }

    /// How many were left out for this reason.
    pub fn skipped(&self, why: Skip) -> u64 {
        self.skipped[why as usize]
    }

    /// How many failed for this reason.
    pub fn failed(&self, why: Failure) -> u64 {
        self.failed[why as usize]
    }

    /// All that were left out.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.iter().sum()
    }

    /// All that failed.
    pub fn failed_total(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// Adds what another part of the replay counted.
    pub fn add(&mut self, other: &Scorecard) {
        self.captured += other.captured;
        self.sent += other.sent;
        self.unmatched += other.unmatched;
        self.skipped.iter_mut().zip(other.skipped).for_each(|(mine, more)| *mine += more);
        self.failed.iter_mut().zip(other.failed).for_each(|(mine, more)| *mine += more);
    }

    /// Whether every operation is accounted for, to the last.
    pub fn is_complete(&self) -> bool {
        self.captured == self.sent + self.skipped_total() + self.failed_total() + self.unmatched
    }

    /// For a report.
    pub fn lines(&self) -> ScorecardLines {
        let line = |(name, count): (&'static str, u64)| Line { reason: name.to_owned(), count };
        let skipped = Skip::ALL.iter().map(|why| (why.text(), self.skipped(*why)));
        let failed = Failure::ALL.iter().map(|why| (why.text(), self.failed(*why)));
        let some = |(_, count): &(&'static str, u64)| *count > 0;
        ScorecardLines {
            captured: self.captured,
            sent: self.sent,
            skipped: self.skipped_total(),
            failed: self.failed_total(),
            unmatched: self.unmatched,
            complete: self.is_complete(),
            skipped_by_reason: skipped.filter(some).map(line).collect(),
            failed_by_reason: failed.filter(some).map(line).collect(),
        }
    }
}

/// A scorecard as a report has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of Scorecard")]
pub struct ScorecardLines {
    pub captured: u64,
    pub sent: u64,
    pub skipped: u64,
    pub failed: u64,
    pub unmatched: u64,
    pub complete: bool,
    pub skipped_by_reason: Vec<Line>,
    pub failed_by_reason: Vec<Line>,
}

/// How many operations share a fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// In words.
    pub reason: String,
    /// How many.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scorecard_is_complete_when_each_operation_has_one_fate() {
        let mut card = Scorecard { captured: 4, sent: 1, unmatched: 1, ..Scorecard::default() };
        card.skip(Skip::Write);
        assert!(!card.is_complete());
        card.fail(Failure::Lost);
        assert!(card.is_complete());
        let mut other = Scorecard { captured: 1, ..Scorecard::default() };
        other.skip(Skip::Write);
        card.add(&other);
        assert!(card.is_complete());
        assert_eq!(card.lines().skipped_by_reason, [Line { reason: Skip::Write.text().into(), count: 2 }]);
    }

    #[test]
    fn each_reason_has_its_place() {
        assert!(Skip::ALL.iter().enumerate().all(|(place, why)| *why as usize == place));
        assert!(Failure::ALL.iter().enumerate().all(|(place, why)| *why as usize == place));
    }
}
