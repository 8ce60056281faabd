//! Real drivers print the same through torana as directly: `tests/drivers/run.sh` runs each driver's features both
//! ways, compares every reply, and searches what came through torana for real members' addresses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::parts::part;
use support::replica_set::ReplicaSet;
use support::scratch::Scratch;
use support::torana::Torana;

/// What the drivers' scripts find their executables and packages by.
const PARTS: [&str; 7] = [
    "TORANA_PY_CURRENT",
    "TORANA_PY_417",
    "TORANA_PY_313",
    "TORANA_NODE",
    "TORANA_NODE_CURRENT",
    "TORANA_NODE_417",
    "TORANA_MONGOSH",
];

#[test]
fn every_driver_prints_the_same_through_torana_as_directly() {
    // An election of its own accord, on a machine that is busy otherwise, would be a difference.
    let set = ReplicaSet::of(3).own_addresses().election_timeout(Duration::from_secs(10)).start();
    let torana = Torana::serve(set.uri()).start();
    let members: Vec<String> =
        set.hosts().iter().map(|host| format!("{host}={}", torana.listener_of(host))).collect();
    let members = members.join(",");
    let out = Scratch::new("drivers");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers/run.sh");
    let mut different = Vec::new();
    for driver in ["pymongo-current", "pymongo-4.17", "pymongo-3.13", "node-current", "node-4.17", "mongosh"]
    {
        let mut command = Command::new(&script);
        command.args([driver, &set.uri(), &torana.uri(), &members]).arg(out.path());
        command.envs(PARTS.map(|name| (name, part(name))));
        let output = command.output().unwrap();
        if !output.status.success() {
            eprintln!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            different.push(driver);
        }
    }
    assert!(different.is_empty(), "these print something else through torana: {different:?}");
}
