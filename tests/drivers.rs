//! Real drivers print the same through torana as directly: `tests/drivers/run.sh` runs each driver's features both
//! ways, compares every reply, and searches what came through torana for real members' addresses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use bson::{Bson, Document, doc};
use support::parts::part;
use support::ports::Ports;
use support::process::Process;
use support::replica_set::ReplicaSet;
use support::scratch::Scratch;
use support::torana::Torana;
use support::{Version, wait_until};

/// What the drivers' scripts find their executables and packages by.
const PARTS: [&str; 9] = [
    "TORANA_PY_CURRENT",
    "TORANA_PY_417",
    "TORANA_PY_313",
    "TORANA_NODE",
    "TORANA_NODE_CURRENT",
    "TORANA_NODE_417",
    "TORANA_NODE_LEGACY",
    "TORANA_MONGOSH",
    "TORANA_RUST_FEATURES",
];

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers").join(name)
}

/// Runs `driver` against both connection strings and compares.
fn compare(driver: &str, direct: &str, proxied: &str, members: &str, out: &Scratch) -> Command {
    let mut command = Command::new(script("run.sh"));
    command.args([driver, direct, proxied, members]).arg(out.path());
    command.envs(PARTS.map(|name| (name, part(name))));
    command
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream).into_owned()).concat()
}

/// Whether what a member says of another in `replSetGetStatus` stays: it has heard of it since the election.
fn is_settled(member: &Document) -> bool {
    let number = |document: &Document, key| match document.get(key) {
        Some(Bson::Int32(number)) => i64::from(*number),
        Some(Bson::Int64(number)) => *number,
        _ => 0,
    };
    let has_term = member.get_document("optime").is_ok_and(|time| number(time, "t") > 0);
    let is_primary = member.get_str("stateStr").is_ok_and(|state| state == "PRIMARY");
    let has_source = is_primary || member.get_str("syncSourceHost").is_ok_and(|host| !host.is_empty());
    has_term && has_source && number(member, "configTerm") > 0
}

/// Each of `drivers` prints the same through torana as directly.
fn print_the_same(version: Version, drivers: &[&str]) {
    // An election of its own accord, on a machine that is busy otherwise, would be a difference.
    let set =
        ReplicaSet::of(3).version(version).own_addresses().election_timeout(Duration::from_secs(10)).start();
    // A set that has just begun does not know yet what its majority has, and its hellos are shorter until then.
    wait_until("every member knows what the majority has", Duration::from_secs(60), || {
        (0..set.hosts().len()).all(|member| {
            let hello = set.client(member).hello();
            hello.get_document("lastWrite").is_ok_and(|last| last.contains_key("majorityOpTime"))
        })
    });
    wait_until("every member knows how far the others are", Duration::from_secs(60), || {
        (0..set.hosts().len()).all(|member| {
            let status = set.client(member).run("admin", doc! { "replSetGetStatus": 1 });
            status.get_array("members").unwrap().iter().all(|other| is_settled(other.as_document().unwrap()))
        })
    });
    let torana = Torana::serve(set.uri()).start();
    let members: Vec<String> =
        set.hosts().iter().map(|host| format!("{host}={}", torana.listener_of(host))).collect();
    let members = members.join(",");
    let out = Scratch::new("drivers");
    let mut different = Vec::new();
    for driver in drivers {
        let output = compare(driver, &set.uri(), &torana.uri(), &members, &out).output().unwrap();
        if !output.status.success() {
            eprintln!("{}", text(&output));
            different.push(driver);
        }
    }
    assert!(different.is_empty(), "these print something else through torana: {different:?}");
}

// One test a family, each with a set of its own, so that they run side by side: change streams of a whole set see
// whatever happens in it.

#[test]
fn pymongo_prints_the_same_through_torana_as_directly() {
    print_the_same(Version::V60, &["pymongo-current", "pymongo-4.17", "pymongo-3.13"]);
}

#[test]
fn node_prints_the_same_through_torana_as_directly() {
    print_the_same(Version::V60, &["node-current", "node-4.17"]);
}

#[test]
fn mongosh_and_the_rust_driver_print_the_same_through_torana_as_directly() {
    print_the_same(Version::V60, &["mongosh", "rust"]);
}

#[test]
fn a_driver_of_the_legacy_opcodes_prints_the_same_through_torana_as_directly() {
    print_the_same(Version::V44, &["legacy"]);
}

/// A relay in front of `target` that changes one byte of reply `reply` (none if 0), and its address.
fn flip_relay(target: &str, reply: u32, seed: u32, folder: &Scratch, port: &Ports) -> (Process, String) {
    let listen = format!("127.0.0.1:{}", port.first());
    let (reply, seed) = (reply.to_string(), seed.to_string());
    let file = script("flip_relay.py").display().to_string();
    let arguments: Vec<String> =
        ["-B", &file, "--listen", &listen, "--target", target, "--reply", &reply, "--seed", &seed]
            .map(String::from)
            .to_vec();
    let name = format!("flip-{reply}");
    let relay = Process::start(&part("TORANA_PY_CURRENT"), &arguments, folder.path(), &name);
    wait_until("the relay is ready", Duration::from_secs(10), || relay.stdout().contains("ready"));
    (relay, listen)
}

#[test]
fn one_byte_of_one_reply_is_a_difference_and_an_honest_relay_is_none() {
    const DRIVER: &str = "pymongo-current";
    let set = ReplicaSet::of(3).election_timeout(Duration::from_secs(10)).start();
    let target = set.host(set.primary());
    let (out, port) = (Scratch::new("flips"), Ports::one());
    let uri = |address: &str| format!("mongodb://{address}/?directConnection=true");
    let run = |direct: &str, reply: u32, seed: u32| {
        let (relay, listen) = flip_relay(&target, reply, seed, &out, &port);
        let members = format!("{target}={listen}");
        let compared =
            compare(DRIVER, direct, &uri(&listen), &members, &out).env("LEAKS", "no").output().unwrap();
        (compared.status.code(), text(&compared), relay.stdout())
    };
    let (code, said, _) = run(&uri(&target), 0, 0);
    assert_eq!(code, Some(0), "{said}");
    let direct = out.path().join(format!("{DRIVER}.direct")).display().to_string();
    for (reply, seed) in [(2, 1), (60, 2), (150, 3)] {
        let (code, said, changed) = run(&direct, reply, seed);
        assert!(changed.contains(&format!("changed reply {reply} ")), "{changed}");
        assert_eq!((code, said.contains("DIFFERENT")), (Some(1), true), "{changed}{said}");
    }
}
