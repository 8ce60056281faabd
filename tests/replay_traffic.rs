//! What an application does with a real driver, captured through torana and replayed against servers of two versions: the
//! answers are the same, and so are the data in the end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bson::{Document, doc};
use support::parts::part;
use support::scratch::Scratch;
use support::{Member, ReplicaSet, Torana, Version};

const WORKERS: usize = 4;

fn set(name: &str, version: Version) -> ReplicaSet {
    ReplicaSet::builder().name(name).version(version).member(Member::plain()).start()
}

/// The hashes of all collections of all workers.
fn data(set: &ReplicaSet) -> BTreeMap<String, Document> {
    let mut client = set.client(set.primary());
    let hashes = (0..WORKERS).map(|worker| {
        let name = format!("app{worker}");
        let reply = client.run(&name, doc! { "dbHash": 1 });
        (name, reply.get_document("collections").unwrap().clone())
    });
    hashes.collect()
}

/// Runs the application through a torana that captures it.
fn captured(set: &ReplicaSet, folder: &Path) {
    let config = format!("[capture]\nfolder = {folder:?}\nreplies = \"whole\"\n");
    let mut torana = Torana::with_config(config).argument(set.uri()).start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay/traffic.py");
    let mut application = Command::new(part("TORANA_PY_CURRENT"));
    let output = application.arg(script).args([torana.uri(), WORKERS.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(torana.metric("torana_capture_connections_lost_total", &[]), 0.0);
    torana.stop(std::time::Duration::from_secs(20));
}

fn replayed(folder: &Path, set: &ReplicaSet, speed: &str) -> serde_json::Value {
    let json = folder.join("report.json");
    let mut replay = Command::new(env!("CARGO_BIN_EXE_torana"));
    replay.arg("replay").arg(folder).args(["--to", &set.uri(), "--writes", "--quiet", "--speed", speed]);
    let output = replay.arg("--json").arg(&json).output().unwrap();
    let text =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    eprintln!("{text}");
    serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap()
}

#[test]
fn an_applications_traffic_has_the_same_answers_on_servers_of_two_versions_and_leaves_the_same_data() {
    let origin = set("rs0", Version::V60);
    let scratch = Scratch::new("traffic");
    let folder = scratch.path().join("capture");
    captured(&origin, &folder);
    let capture = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let capture = capture.filter(|path| path.is_dir()).last().unwrap();
    let wanted = data(&origin);
    assert!(wanted.values().all(|collections| collections.len() == 4), "{wanted:?}");
    for (version, speed) in [(Version::V60, "max"), (Version::V60, "1"), (Version::V50, "max")] {
        let target = set("rs1", version);
        let report = replayed(&capture, &target, speed);
        let (card, answers) = (&report["scorecard"], &report["answers"]);
        assert_eq!(card["complete"], true, "{card:#}");
        assert_eq!((&card["failed"], &card["unmatched"]), (&0.into(), &0.into()), "{card:#}");
        assert!(card["sent"].as_u64().unwrap() > 1000, "{card:#}");
        assert_eq!(answers["different"], 0, "{version:?} at {speed}: {answers:#}");
        assert_eq!(data(&target), wanted, "{version:?} at {speed}");
    }
}
