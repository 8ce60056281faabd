//! What clients of several toranas were told while members, toranas and ZooKeepers failed, compared with what the servers
//! have in the end: sequential where that is promised, linearizable where that is, no acknowledged write lost; and neither
//! on a collection without a level, so that the test can see.
//!
//! `TORANA_HISTORY_SECONDS` (300) is its length, `TORANA_HISTORY_SEED` a seed to have the same choices once more (not the
//! same course: servers keep their own time).
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "history/mod.rs"]
mod history;
mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use history::report::{by_kind, shown};

/// As long as a run has to be before all kinds of faults have come.
const ALL_KINDS_AFTER: u64 = 280;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn what_clients_were_told_while_everything_failed_is_as_promised() {
    let seconds = number("TORANA_HISTORY_SECONDS").unwrap_or(300);
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("TORANA_HISTORY_SEED").unwrap_or_else(|| clock() % 1_000_000);
    eprintln!("{seconds} s with TORANA_HISTORY_SEED={seed}");
    let outcome = history::run::run(Duration::from_secs(seconds), seed);
    let verdict = outcome.verdict();
    outcome.figures().iter().for_each(|line| eprintln!("figure {line}"));
    let of = [&verdict.sequential, &verdict.linearizable, &verdict.plain];
    let [sequential, linearizable, plain] = of.map(|found| by_kind(found));
    eprintln!(
        "figure violations: sequential {sequential:?}, linearizable {linearizable:?}, without a level {plain:?}"
    );
    eprint!("{}{}", shown(&verdict.sequential, &outcome), shown(&verdict.linearizable, &outcome));
    assert_eq!((sequential.len(), linearizable.len()), (0, 0), "seed {seed}");
    assert!(outcome.ends_as_written(), "the documents are not what was written last: seed {seed}");
    assert!(!plain.is_empty(), "the test sees nothing: seed {seed}");
    if seconds >= ALL_KINDS_AFTER {
        assert!(outcome.rollbacks > 0, "no member rolled back");
        for kinds in history::run::KINDS {
            kinds.iter().for_each(|kind| assert!(outcome.faults.contains_key(kind), "never: {kind}"));
        }
    }
}
