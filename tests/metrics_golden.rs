//! The names, types and labels of all metric families are an interface: dashboards and alerts are built on them.
//! A family that is renamed or dropped must be a decision, and appear in the CHANGELOG; so this list is frozen.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use torana::command::Command;
use torana::metrics::{CollectionRead, Direction, Label, MemberMetrics, Metrics, Outcome, ShadowSide};

/// Family, type, labels; `le` of histograms left out.
const GOLDEN: &str = include_str!("metrics_golden.txt");

#[test]
fn families_types_and_labels_are_the_frozen_ones() {
    let metrics = Metrics::new();
    metrics.horizon("rs0").age.touch();
    metrics.collections("rs0").of(b"app", b"x").inc(CollectionRead::Current);
    metrics.shadow("rs0").seconds.observe(ShadowSide::Live, Duration::from_millis(1));
    use_all(&metrics.member("rs0", "db1:27017"));
    let found = families(&metrics.render());
    let only = |these: &str, those: &str| -> Vec<String> {
        these.lines().filter(|line| !those.lines().any(|other| other == *line)).map(str::to_owned).collect()
    };
    assert_eq!(
        only(&found, GOLDEN),
        only(GOLDEN, &found),
        "left: rendered and not frozen; right: the reverse"
    );
    assert_eq!(found, GOLDEN);
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    for line in GOLDEN.lines() {
        let mut words = line.split_whitespace();
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        assert!(name.starts_with("torana_") || name.starts_with("process_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name}: counters, and only they, end in _total"
        );
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}: all histograms are durations");
        assert!(!name.contains("_ms") && !name.contains("_us"), "{name}: seconds are the only unit of time");
    }
}

#[test]
fn a_member_that_was_never_used_has_few_series() {
    let metrics = Metrics::new();
    metrics.member("rs0", "db1:27017");
    let series = metrics.render().lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 250, "{series} series");
}

/// One bump on what has no series before its first use.
fn use_all(member: &MemberMetrics) {
    for command in Command::all() {
        for outcome in Outcome::all() {
            member.traffic.operations.inc((command, outcome));
        }
        member.traffic.server_latency.observe(command, Duration::from_millis(1));
        member.traffic.local_replies.inc(command);
    }
    member.traffic.rewrites.inc(Direction::Reply);
    member.topology.hello_age.touch();
}

fn families(rendered: &str) -> String {
    let mut kinds = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut current = "";
    for line in rendered.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            kinds.insert(name, kind);
            current = name;
        } else if !line.starts_with('#') {
            assert!(line.starts_with(current), "{line} stands under {current}");
            let inside = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            let names = inside.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0));
            labels.entry(current).or_default().extend(names.filter(|name| *name != "le"));
        }
    }
    let line = |(name, kind): (&&str, &&str)| {
        let labels = labels.get(name).cloned().unwrap_or_default().into_iter().collect::<Vec<_>>().join(",");
        format!("{name} {kind} {labels}").trim_end().to_owned() + "\n"
    };
    kinds.iter().map(line).collect()
}
