//! The topology in front of real mongods: discovery, elections, losses, reconfigurations.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use support::mongod::MongodOptions;
use support::wait::wait_for;
use support::{Member, Mongod, ReplicaSet, wait_until};
use tokio::runtime::Runtime;
use torana::topology::{MemberKind, Topology, TopologyEvent, TopologyOptions};

/// For what happens within one poll, on a loaded machine.
const SOON: Duration = Duration::from_secs(10);
/// For what needs an election or an initial sync.
const LATER: Duration = Duration::from_secs(60);

/// A topology on a runtime of its own, with its events written down.
struct Watched {
    runtime: Runtime,
    topology: Topology,
    events: Arc<Mutex<Vec<TopologyEvent>>>,
}

impl Watched {
    fn start(seeds: &[String], change: impl FnOnce(&mut TopologyOptions)) -> Watched {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut options = TopologyOptions::new(seeds.iter().map(|seed| seed.parse().unwrap()).collect());
        options.connect_timeout = Duration::from_secs(5);
        change(&mut options);
        let _inside = runtime.enter();
        let (topology, mut receiver) = Topology::start(options);
        let events = Arc::new(Mutex::new(Vec::new()));
        let written = events.clone();
        runtime.spawn(async move {
            while let Some(event) = receiver.recv().await {
                written.lock().unwrap().push(event);
            }
        });
        drop(_inside);
        Watched { runtime, topology, events }
    }

    fn ready(seeds: &[String], change: impl FnOnce(&mut TopologyOptions)) -> Watched {
        let watched = Watched::start(seeds, change);
        let ready = async { tokio::time::timeout(SOON, watched.topology.first_ready()).await };
        let in_time = watched.runtime.block_on(ready).is_ok();
        assert!(in_time, "not ready: {}", watched.topology.status());
        watched
    }

    fn members(&self) -> Vec<String> {
        self.topology.members().iter().map(|member| member.name.to_string()).collect()
    }

    fn kinds(&self) -> Vec<MemberKind> {
        self.topology.members().iter().map(|member| member.kind()).collect()
    }

    fn member(&self, name: &str) -> Arc<torana::topology::Member> {
        self.topology.members().iter().find(|member| member.name.to_string() == name).unwrap().clone()
    }

    fn wait_kinds(&self, what: &str, limit: Duration, kinds: &[MemberKind]) {
        wait_until(&format!("{what} ({kinds:?})"), limit, || self.kinds() == kinds);
    }

    fn saw(&self, wanted: impl Fn(&TopologyEvent) -> bool) -> bool {
        self.events.lock().unwrap().iter().any(wanted)
    }
}

fn lost(name: &str) -> impl Fn(&TopologyEvent) -> bool {
    move |event| matches!(event, TopologyEvent::MemberLost { member, .. } if member.name.to_string() == name)
}

#[test]
fn any_one_live_seed_leads_to_the_whole_set_in_the_order_of_its_configuration() {
    let set = ReplicaSet::of(2)
        .member(Member::hidden())
        .member(Member::passive())
        .member(Member::arbiter())
        .start();
    let dead = "127.0.0.1:1".to_owned();
    for seed in set.hosts() {
        let watched = Watched::ready(&[dead.clone(), seed], |_| {});
        assert_eq!(watched.members(), set.hosts());
        assert_eq!(watched.topology.set_name().as_deref(), Some("rs0"));
        wait_until("every member is heard of", SOON, || {
            let kinds = watched.kinds();
            kinds[2..] == [MemberKind::Hidden, MemberKind::Passive, MemberKind::Arbiter]
                && kinds[..2].contains(&MemberKind::Primary)
                && kinds[..2].contains(&MemberKind::Secondary)
        });
        let ids: Vec<_> = watched.topology.members().iter().map(|member| member.config_id()).collect();
        assert_eq!(ids, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
    }
}

#[test]
fn polls_bring_new_times_and_the_modern_reply() {
    let set = ReplicaSet::of(1).start();
    let watched = Watched::ready(&set.hosts(), |_| {});
    let member = watched.member(&set.host(0));
    wait_until("a first hello", SOON, || member.hello.latest().is_some());
    let first = member.hello.latest().unwrap();
    let document = Document::from_reader(&first.document[..]).unwrap();
    assert!(document.get_bool("isWritablePrimary").unwrap() && !document.contains_key("ismaster"));
    assert!(!first.legacy);
    set.client(0).run("app", doc! { "insert": "things", "documents": [{ "_id": 1 }] });
    wait_until("a later time", SOON, || {
        let (latest, first) = (member.hello.latest().unwrap(), &first.description);
        latest.description.operation_time > first.operation_time
            && latest.description.local_time_millis > first.local_time_millis
            && latest.description.last_write_millis >= first.last_write_millis
            && latest.round_trip > Duration::ZERO
    });
    assert!(member.operation_time().unwrap() >= first.description.operation_time.unwrap());
}

#[test]
fn a_step_down_is_seen_within_50_ms_of_the_servers_push() {
    let set = ReplicaSet::of(3).start();
    // Polls so rare that only the stream can be what sees it.
    let watched = Watched::ready(&set.hosts(), |options| options.poll_interval = Duration::from_secs(4));
    wait_until("a primary", SOON, || watched.topology.primary().is_some());
    let old = watched.topology.primary().unwrap();
    let index = set.hosts().iter().position(|host| *host == old.name.to_string()).unwrap();
    let mut direct = set.client(index);
    let version = direct.hello().get_document("topologyVersion").unwrap().clone();
    let (monitored, began) = (old.clone(), Arc::new(std::sync::Barrier::new(2)));
    let begins = began.clone();
    let seen = watched.runtime.spawn(async move {
        let changed = monitored.hello.changed();
        begins.wait();
        changed.await;
        Instant::now()
    });
    began.wait();
    let waiting = std::thread::spawn(move || {
        let hello = doc! { "hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 20_000 };
        direct.command("admin", hello);
        Instant::now()
    });
    std::thread::sleep(Duration::from_millis(200));
    set.step_down();
    let pushed = waiting.join().unwrap();
    let seen = watched.runtime.block_on(seen).unwrap();
    let late = seen.saturating_duration_since(pushed);
    assert!(late < Duration::from_millis(50), "seen {late:?} after a direct client");
    wait_until("another primary", LATER, || {
        watched.topology.primary().is_some_and(|new| new.name != old.name)
    });
    assert!(watched.saw(|event| matches!(event, TopologyEvent::PrimaryChanged(change)
        if change.new.as_ref().is_some_and(|new| *new != old.name) && change.election_id.is_some())));
}

#[test]
fn a_killed_member_is_lost_at_once_and_its_return_is_another_process() {
    let mut set = ReplicaSet::of(3).start();
    let watched = Watched::ready(&set.hosts(), |_| {});
    let victim = set.secondary();
    let name = set.host(victim);
    wait_until("it is heard of", SOON, || watched.member(&name).kind() == MemberKind::Secondary);
    let member = watched.member(&name);
    let started = Instant::now();
    set.members[victim].kill();
    wait_until("its hello is gone", SOON, || member.hello.latest().is_none());
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
    wait_until("the event", SOON, || watched.saw(lost(&name)));
    assert_eq!(watched.members(), set.hosts());
    set.members[victim].restart();
    wait_until("it is back", LATER, || member.kind() == MemberKind::Secondary);
    assert!(
        watched.saw(|event| matches!(event, TopologyEvent::ServerRestarted(m) if Arc::ptr_eq(m, &member)))
    );
}

#[test]
fn a_member_that_hangs_is_lost_after_the_connect_time_out_and_found_again() {
    let set = ReplicaSet::of(3).start();
    let watched = Watched::ready(&set.hosts(), |options| options.connect_timeout = Duration::from_secs(3));
    let name = set.host(set.secondary());
    let index = set.hosts().iter().position(|host| *host == name).unwrap();
    wait_until("it is heard of", SOON, || watched.member(&name).kind() == MemberKind::Secondary);
    let (member, started) = (watched.member(&name), Instant::now());
    set.members[index].pause();
    wait_until("it is lost", SOON, || member.hello.latest().is_none());
    assert!(started.elapsed() > Duration::from_secs(2), "lost after {:?} already", started.elapsed());
    wait_until("the event", SOON, || watched.saw(lost(&name)));
    set.members[index].resume();
    wait_until("it is back", LATER, || member.kind() == MemberKind::Secondary);
}

#[test]
fn members_that_are_added_and_removed_are_followed() {
    let mut set = ReplicaSet::of(1).start();
    let watched = Watched::ready(&set.hosts(), |_| {});
    let added = set.add_member(Member::passive());
    let hidden = set.add_member(Member::hidden());
    wait_until("both", SOON, || watched.members() == set.hosts());
    watched.wait_kinds(
        "both are heard of",
        LATER,
        &[MemberKind::Primary, MemberKind::Passive, MemberKind::Hidden],
    );
    let gone = watched.member(&set.host(added));
    set.remove_member(added);
    wait_until("one is gone", SOON, || watched.members() == [set.host(0), set.host(hidden)]);
    assert!(watched.saw(|event| matches!(event, TopologyEvent::MemberRemoved(m) if Arc::ptr_eq(m, &gone))));
    assert!(gone.hello.latest().is_none());
}

#[test]
fn a_renamed_member_is_followed_under_its_old_id() {
    let set = ReplicaSet::of(2).start();
    let watched = Watched::ready(&set.hosts(), |_| {});
    let index = set.secondary();
    let old = watched.member(&set.host(index));
    let renamed = set.host(index).replace("127.0.0.1", "localhost");
    set.reconfig(|config| {
        let members = config.get_array_mut("members").unwrap();
        members[index].as_document_mut().unwrap().insert("host", &renamed);
    });
    let mut names = set.hosts();
    names[index].clone_from(&renamed);
    wait_until("the new name", SOON, || watched.members() == names);
    let new = watched.member(&names[index]);
    assert_eq!((new.config_id(), new.name.spelled()), (old.config_id(), renamed.as_str()));
    wait_until("it is heard of", LATER, || new.kind() == MemberKind::Secondary);
    let other = watched.member(&set.host(1 - index));
    assert!(!watched.saw(lost(&other.name.to_string())), "the other member was disturbed");
}

#[test]
fn the_seeds_are_the_members_until_the_set_is_initiated() {
    let set = ReplicaSet::of(3).uninitiated().start();
    let watched = Watched::ready(&set.hosts(), |options| options.set_name = Some("rs0".into()));
    assert_eq!(watched.members(), set.hosts());
    watched.wait_kinds("all wait to be initiated", SOON, &[MemberKind::Ghost; 3]);
    let mut reversed = set.initial_config();
    reversed.get_array_mut("members").unwrap().reverse();
    set.client(0).run("admin", doc! { "replSetInitiate": reversed });
    let mut hosts = set.hosts();
    hosts.reverse();
    wait_until("the order of the configuration", LATER, || watched.members() == hosts);
    wait_until("a primary", LATER, || watched.topology.primary().is_some());
}

#[test]
fn a_standalone_is_a_topology_of_one_and_no_member_of_a_set_that_is_asked_for() {
    let mongod = Mongod::standalone();
    let seeds = [mongod.address()];
    let watched = Watched::ready(&seeds, |_| {});
    assert_eq!((watched.members(), watched.kinds()), (seeds.to_vec(), vec![MemberKind::Standalone]));
    let asked = Watched::start(&seeds, |options| options.set_name = Some("rs0".into()));
    wait_until("the reason", SOON, || {
        asked.topology.status().contains("it is a standalone mongod, started without --replSet")
    });
    assert!(asked.topology.members().is_empty());
}

#[test]
fn direct_mode_keeps_to_the_one_seed() {
    let set = ReplicaSet::of(3).start();
    let seed = set.host(set.secondary());
    let watched = Watched::ready(std::slice::from_ref(&seed), |options| options.direct = true);
    assert_eq!((watched.members(), watched.kinds()), (vec![seed], vec![MemberKind::Secondary]));
}

#[test]
fn another_sets_name_is_an_error_that_names_both() {
    let set = ReplicaSet::of(1).name("theirs").start();
    let watched = Watched::start(&set.hosts(), |options| options.set_name = Some("ours".into()));
    wait_until("the reason", SOON, || {
        watched.topology.status().contains("belongs to replica set 'theirs', but 'ours' is asked for")
    });
    assert!(watched.topology.members().is_empty());
}

#[test]
fn old_servers_are_followed_too() {
    for version in [support::Version::V44, support::Version::V50] {
        let set = ReplicaSet::of(3).version(version).start();
        let watched = Watched::ready(&set.hosts(), |_| {});
        wait_until("a primary", SOON, || watched.topology.primary().is_some());
        let old = watched.topology.primary().unwrap();
        set.step_down();
        wait_until("another primary", LATER, || {
            watched.topology.primary().is_some_and(|new| new.name != old.name)
        });
    }
}

#[test]
fn a_set_with_authentication_is_followed_by_its_hello_lists() {
    let folder = support::scratch::Scratch::new("key");
    let key = folder.path().join("key");
    std::fs::write(&key, "a key of no account").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mongod = Mongod::start(MongodOptions {
        replica_set: Some("rs0".into()),
        arguments: vec!["--keyFile".into(), key.display().to_string()],
        ..MongodOptions::default()
    });
    let host = mongod.address();
    let config = doc! { "_id": "rs0", "members": [{ "_id": 0, "host": &host }] };
    mongod.client().run("admin", doc! { "replSetInitiate": config });
    wait_for("a primary", LATER, || {
        mongod.client().hello().get_bool("isWritablePrimary").unwrap_or(false).then_some(())
    });
    // The localhost exception ends with the first user.
    let user = doc! { "createUser": "u", "pwd": "p", "roles": ["root"] };
    mongod.client().run("admin", user);
    let watched = Watched::ready(std::slice::from_ref(&host), |_| {});
    assert_eq!(watched.members(), [host]);
    assert_eq!(watched.topology.members()[0].config_id(), None);
}
