//! What a run came to, in figures, and whether it is as promised.

use std::collections::BTreeMap;

use super::check::{Kind, Violation, linearizable, sequential};
use super::client::Told;
use super::commands::COLLECTIONS;
use super::event::{Op, Seen, What};
use super::run::Outcome;

/// Violations that are shown.
const SHOWN_MAX: usize = 10;

/// What the checks found.
pub struct Verdict {
    /// Of the level sequential: the tagged collections together.
    pub sequential: Vec<Violation>,
    /// Of the level linearizable: its collection.
    pub linearizable: Vec<Violation>,
    /// Of either, in the collection that has no level.
    pub plain: Vec<Violation>,
}

impl Outcome {
    /// Checks it all.
    pub fn verdict(&self) -> Verdict {
        let all: Vec<Op> = self.told.iter().flat_map(|told| &told.ops).chain(&self.past).cloned().collect();
        let of = |wanted: &[&str]| -> Vec<Op> {
            let is_wanted = |op: &&Op| wanted.contains(&COLLECTIONS[usize::from(op.collection)].0);
            all.iter().filter(is_wanted).cloned().collect()
        };
        Verdict {
            sequential: sequential(&self.order, &of(&["sequential", "linearizable"])),
            linearizable: linearizable(&self.order, &of(&["linearizable"])),
            plain: sequential(&self.order, &of(&["plain"])),
        }
    }

    /// Whether the documents are what the order of writes leaves.
    pub fn ends_as_written(&self) -> bool {
        let mut expected: Vec<_> = self.order.last().filter(|(_, seen)| *seen != Seen::Absent).collect();
        let mut documents = self.documents.clone();
        expected.sort_by_key(|(key, _)| *key);
        documents.sort_by_key(|(key, _)| *key);
        expected == documents
    }

    /// Its figures, a line each.
    pub fn figures(&self) -> Vec<String> {
        let ops = || self.told.iter().flat_map(|told| &told.ops);
        let of_collection = |(index, (name, _)): (usize, &(&str, u64))| {
            let of = || ops().filter(|op| usize::from(op.collection) == index);
            let reads = of().filter(|op| matches!(op.what, What::Read(_))).count();
            let writes = of().filter(|op| matches!(op.what, What::Wrote(..))).count();
            format!("{name}: {reads} reads, {writes} acknowledged writes")
        };
        let sum = |of: fn(&Told) -> u64| self.told.iter().map(of).sum::<u64>();
        let codes = |of: fn(&Told) -> &BTreeMap<i32, u64>| summed(self.told.iter().map(of));
        let mut lines: Vec<String> = COLLECTIONS.iter().enumerate().map(of_collection).collect();
        lines.push(format!("writes of unknown outcome: {}", self.doubtful(ops())));
        lines.push(format!("writes past torana, without a majority: {}", self.doubtful(self.past.iter())));
        lines.push(format!("moves to another torana: {}", sum(|told| told.moves)));
        lines.push(format!("new connections to the same torana: {}", sum(|told| told.returns)));
        lines.push(format!("reads refused, by code: {:?}", codes(|told| &told.refused)));
        lines.push(format!("writes sent again, by code: {:?}", codes(|told| &told.repeated)));
        lines.push(format!("writes that lasted: {}", self.writes));
        lines.push(format!("members that rolled back: {}", self.rollbacks));
        lines.extend(self.faults.iter().map(|(kind, count)| format!("{kind}: {count}")));
        lines.push(format!("faults: {}", self.faults.values().sum::<u64>()));
        lines
    }

    fn doubtful<'a>(&self, ops: impl Iterator<Item = &'a Op>) -> String {
        let doubtful = ops.filter_map(|op| if let What::Doubtful(id) = op.what { Some(id) } else { None });
        let (made, not): (Vec<_>, Vec<_>) = doubtful.partition(|id| self.order.place(*id).is_some());
        format!("{} made, {} not", made.len(), not.len())
    }
}

fn summed<'a>(counts: impl Iterator<Item = &'a BTreeMap<i32, u64>>) -> BTreeMap<i32, u64> {
    let mut all = BTreeMap::new();
    counts.flatten().for_each(|(code, count)| *all.entry(*code).or_default() += count);
    all
}

/// How many of each kind.
pub fn by_kind(violations: &[Violation]) -> BTreeMap<Kind, usize> {
    let mut kinds = BTreeMap::new();
    violations.iter().for_each(|violation| *kinds.entry(violation.kind).or_default() += 1);
    kinds
}

/// The first few, each with what its client did before it.
pub fn shown(violations: &[Violation], outcome: &Outcome) -> String {
    let ops: Vec<&Op> = outcome.told.iter().flat_map(|told| &told.ops).collect();
    let show = |violation: &Violation| {
        let at = ops.iter().position(|op| **op == violation.op).unwrap_or(0);
        let before = ops[at.saturating_sub(6)..=at].iter().map(|op| line(op, outcome));
        format!("{:?}:\n{}", violation.kind, before.collect::<String>())
    };
    violations.iter().take(SHOWN_MAX).map(show).collect()
}

fn line(op: &Op, outcome: &Outcome) -> String {
    let place = |seen: &Seen| match seen {
        Seen::Left(id) => format!("{id:x}@{:?}", outcome.order.place(*id)),
        other => format!("{other:?}"),
    };
    let what = match &op.what {
        What::Read(seen) => seen.iter().map(|(key, seen)| format!(" {}={}", key.id, place(seen))).collect(),
        other => {
            let (What::Wrote(id, _) | What::Doubtful(id)) = other else { unreachable!("a write") };
            format!(" {other:?} {}", place(&Seen::Left(*id)))
        }
    };
    let seconds = |time: u64| time as f64 / 1e9;
    format!(
        "  client {} {} {:.4}-{:.4}{what}\n",
        op.client,
        COLLECTIONS[usize::from(op.collection)].0,
        seconds(op.start),
        seconds(op.end)
    )
}
