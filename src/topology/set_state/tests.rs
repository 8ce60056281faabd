use std::time::Duration;

use super::*;
use crate::topology::description::TopologyVersion;
use crate::topology::set_config::SetConfig;

fn at(text: &str) -> HostPort {
    text.parse().unwrap()
}

fn start(seeds: &[&str], set_name: Option<&str>, direct: bool) -> SetState {
    let seeds = seeds.iter().map(|seed| at(seed)).collect();
    let set_name = set_name.map(str::to_owned);
    SetState::new(SetOptions { seeds, set_name, direct }, Instant::now()).0
}

fn said(kind: MemberKind) -> ServerDescription {
    ServerDescription { kind, max_wire_version: 17, ..ServerDescription::default() }
}

fn hello(kind: MemberKind, hosts: &[&str], version: i64, election: u8) -> ServerDescription {
    ServerDescription {
        set_name: Some("rs0".into()),
        hosts: hosts.iter().map(|host| at(host)).collect(),
        set_version: Some(version),
        election_id: (kind == MemberKind::Primary).then_some(ElectionId([election; 12])),
        ..said(kind)
    }
}

fn config(hosts: &[(i64, &str)], version: i64) -> ConfigAnswer {
    let member = |(id, host): &(i64, &str)| ConfigMember { id: Some(*id), address: at(host) };
    ConfigAnswer::Known(SetConfig { version, members: hosts.iter().map(member).collect() })
}

fn members(state: &SetState) -> Vec<String> {
    state.members().iter().map(|member| member.address.to_string()).collect()
}

/// A set of a:1 (primary by election 2) and b:1, both heard of.
fn pair() -> SetState {
    let (mut state, now) = (start(&["a:1"], None, false), Instant::now());
    let hosts = ["a:1", "b:1"];
    state.on_hello(&at("a:1"), &hello(MemberKind::Primary, &hosts, 1, 2), now);
    state.on_config(&at("a:1"), config(&[(0, "a:1"), (1, "b:1")], 1), now);
    state.on_hello(&at("b:1"), &hello(MemberKind::Secondary, &hosts, 1, 0), now);
    assert_eq!((members(&state), state.primary()), (vec!["a:1".to_owned(), "b:1".into()], Some(&at("a:1"))));
    state
}

#[test]
fn a_seed_that_goes_by_another_name_is_replaced_by_the_configured_one() {
    let (mut state, now) = (start(&["localhost:1"], None, false), Instant::now());
    let (seed, real) = (at("localhost:1"), at("127.0.0.1:1"));
    let first = state.on_hello(&seed, &hello(MemberKind::Primary, &["127.0.0.1:1"], 1, 1), now);
    assert!(first.contains(&Action::AskConfig(seed.clone())) && state.primary().is_none());
    let actions = state.on_config(&seed, config(&[(0, "127.0.0.1:1")], 1), now);
    assert_eq!(actions, [Action::Added(real.clone())]);
    let actions = state.on_hello(&real, &hello(MemberKind::Primary, &["127.0.0.1:1"], 1, 1), now);
    assert!(actions.contains(&Action::Recovered(real.clone())) && actions.contains(&Action::Stop(seed)));
    assert_eq!(state.primary(), Some(&real));
}

#[test]
fn a_primary_of_an_older_election_is_not_believed() {
    let (mut state, now) = (pair(), Instant::now());
    let b = at("b:1");
    state.on_hello(&b, &hello(MemberKind::Primary, &["b:1"], 9, 1), now);
    assert_eq!((state.kind(&b), state.primary()), (MemberKind::Unknown, Some(&at("a:1"))));
    assert!(state.is_up(&b) && state.status().contains("b:1: it says it is primary, by an older election"));
}

#[test]
fn a_newer_primary_demotes_the_old_one_which_is_asked_again() {
    let (mut state, now) = (pair(), Instant::now());
    let (a, b) = (at("a:1"), at("b:1"));
    let actions = state.on_hello(&b, &hello(MemberKind::Primary, &["a:1", "b:1"], 1, 3), now);
    assert!(actions.contains(&Action::Check(a.clone())));
    assert_eq!((state.kind(&a), state.primary()), (MemberKind::Unknown, Some(&b)));
    let election_id = Some(ElectionId([3; 12]));
    let change = PrimaryChange { old: Some(a), new: Some(b), election_id };
    assert!(actions.contains(&Action::PrimaryChanged(change)));
}

#[test]
fn a_secondary_is_believed_only_without_a_primary_and_with_a_newer_configuration() {
    let (mut state, now) = (pair(), Instant::now());
    let three = hello(MemberKind::Secondary, &["a:1", "b:1", "c:1"], 2, 0);
    state.on_hello(&at("b:1"), &three, now);
    assert_eq!(state.membership.set_version(), Some(1));
    state.on_lost(&at("a:1"), "gone".to_owned().into(), now);
    state.on_hello(&at("b:1"), &hello(MemberKind::Secondary, &["b:1"], 0, 0), now);
    state.on_time(now + Duration::from_secs(9));
    assert_eq!(
        (members(&state), state.membership.set_version()),
        (vec!["a:1".into(), "b:1".into()], Some(1))
    );
    state.on_hello(&at("b:1"), &three, now);
    state.on_config(&at("b:1"), config(&[(0, "a:1"), (1, "b:1"), (2, "c:1")], 2), now);
    assert_eq!(members(&state), ["a:1", "b:1", "c:1"]);
}

#[test]
fn a_hidden_member_stays_through_a_change_of_the_lists_that_waits_for_the_configuration() {
    let (mut state, now) = (pair(), Instant::now());
    let a = at("a:1");
    state.on_hello(&a, &hello(MemberKind::Primary, &["a:1", "b:1"], 2, 2), now);
    state.on_config(&a, config(&[(0, "a:1"), (1, "b:1"), (2, "h:1")], 2), now);
    assert_eq!(members(&state), ["a:1", "b:1", "h:1"]);
    let actions = state.on_hello(&a, &hello(MemberKind::Primary, &["a:1", "c:1"], 3, 2), now);
    assert!(!actions.iter().any(|action| matches!(action, Action::Removed(_) | Action::Added(_))));
    let actions = state.on_config(&a, config(&[(0, "a:1"), (1, "c:1"), (2, "h:1")], 3), now);
    assert_eq!(actions[..2], [Action::Removed(at("b:1")), Action::Added(at("c:1"))]);
    assert_eq!(
        (members(&state), state.members()[1].id),
        (["a:1", "c:1", "h:1"].map(String::from).into(), Some(1))
    );
}

#[test]
fn without_an_answer_the_lists_stand_in_time() {
    let (mut state, now) = (start(&["a:1"], None, false), Instant::now());
    state.on_hello(&at("a:1"), &hello(MemberKind::Primary, &["a:1", "b:1"], 1, 1), now);
    assert!(state.members().is_empty());
    let timeout = state.next_timeout(now).unwrap();
    assert!(timeout <= now + Duration::from_secs(2));
    state.on_time(timeout);
    assert_eq!((members(&state), state.next_timeout(timeout)), (vec!["a:1".to_owned(), "b:1".into()], None));
}

#[test]
fn an_arbiter_as_the_only_live_seed_leads_to_one_that_can_tell_the_configuration() {
    let (mut state, now) = (start(&["x:1"], None, false), Instant::now());
    let actions = state.on_hello(&at("x:1"), &hello(MemberKind::Arbiter, &["a:1", "x:1"], 1, 0), now);
    assert_eq!(actions, [Action::Start(at("a:1"))]);
    let actions = state.on_hello(&at("a:1"), &hello(MemberKind::Primary, &["a:1", "x:1"], 1, 1), now);
    assert_eq!(actions, [Action::AskConfig(at("a:1"))]);
}

#[test]
fn losing_and_finding_a_member_is_told_once_each() {
    let (mut state, now) = (pair(), Instant::now());
    let b = at("b:1");
    assert_eq!(
        state.on_lost(&b, "x".to_owned().into(), now),
        [Action::Lost(b.clone(), "x".to_owned().into())]
    );
    assert_eq!(state.on_lost(&b, "y".to_owned().into(), now), []);
    let back = hello(MemberKind::Secondary, &["a:1", "b:1"], 1, 0);
    assert_eq!(state.on_hello(&b, &back, now), [Action::Recovered(b.clone())]);
    assert_eq!(state.on_hello(&b, &back, now), []);
}

#[test]
fn another_process_under_the_same_name_is_a_restart() {
    let (mut state, now) = (pair(), Instant::now());
    let process = |process: u8| ServerDescription {
        topology_version: Some(TopologyVersion { process_id: [process; 12], counter: 0 }),
        ..hello(MemberKind::Secondary, &["a:1", "b:1"], 1, 0)
    };
    assert_eq!(state.on_hello(&at("b:1"), &process(1), now), []);
    state.on_lost(&at("b:1"), "killed".to_owned().into(), now);
    let back = state.on_hello(&at("b:1"), &process(2), now);
    assert_eq!(back, [Action::Restarted(at("b:1")), Action::Recovered(at("b:1"))]);
}

#[test]
fn while_no_member_answers_the_seeds_are_asked_too() {
    let (mut state, now) = (pair(), Instant::now());
    let b = at("b:1");
    let moved = hello(MemberKind::Primary, &["b:1"], 2, 2);
    state.on_hello(&at("a:1"), &moved, now);
    let actions = state.on_config(&at("a:1"), config(&[(1, "b:1")], 2), now);
    assert!(actions.contains(&Action::Stop(at("a:1"))));
    let actions = state.on_lost(&b, "gone".to_owned().into(), now);
    assert!(actions.contains(&Action::Start(at("a:1"))));
    let actions = state.on_hello(&b, &hello(MemberKind::Primary, &["b:1"], 2, 3), now);
    assert!(actions.contains(&Action::Stop(at("a:1"))));
}

#[test]
fn ghosts_are_the_members_once_all_seeds_were_tried_until_a_set_is_known() {
    let (mut state, now) = (start(&["a:1", "b:1"], Some("rs0"), false), Instant::now());
    assert_eq!(state.on_hello(&at("a:1"), &said(MemberKind::Ghost), now), []);
    state.on_lost(&at("b:1"), "refused".to_owned().into(), now);
    assert_eq!(members(&state), ["a:1", "b:1"]);
    state.on_hello(&at("a:1"), &hello(MemberKind::Primary, &["a:1"], 1, 1), now);
    state.on_config(&at("a:1"), config(&[(0, "a:1")], 1), now);
    assert_eq!(members(&state), ["a:1"]);
}

#[test]
fn a_ghost_beside_a_set_that_another_seed_knows_is_no_member() {
    let (mut state, now) = (start(&["new:1", "a:1"], None, false), Instant::now());
    state.on_hello(&at("new:1"), &said(MemberKind::Ghost), now);
    state.on_hello(&at("a:1"), &hello(MemberKind::Primary, &["a:1"], 1, 1), now);
    state.on_config(&at("a:1"), config(&[(0, "a:1")], 1), now);
    assert_eq!(members(&state), ["a:1"]);
}

#[test]
fn a_set_that_was_wiped_and_initiated_anew_is_followed() {
    let (mut state, now) = (pair(), Instant::now());
    for host in ["a:1", "b:1"] {
        state.on_hello(&at(host), &said(MemberKind::Ghost), now);
    }
    assert_eq!(members(&state), ["a:1", "b:1"]);
    state.on_hello(&at("b:1"), &hello(MemberKind::Primary, &["b:1"], 1, 1), now);
    state.on_config(&at("b:1"), config(&[(0, "b:1")], 1), now);
    assert_eq!((members(&state), state.primary()), (vec!["b:1".to_owned()], Some(&at("b:1"))));
}

#[test]
fn another_set_name_is_refused_naming_both_and_a_member_that_takes_one_is_lost() {
    let (mut state, now) = (start(&["a:1"], Some("rs1"), false), Instant::now());
    state.on_hello(&at("a:1"), &hello(MemberKind::Primary, &["a:1"], 1, 1), now);
    assert!(state.status().contains("it belongs to replica set 'rs0', but 'rs1' is asked for"));
    assert!(!state.is_up(&at("a:1")));
    let mut state = pair();
    let other =
        ServerDescription { set_name: Some("x".into()), ..hello(MemberKind::Secondary, &["b:1"], 1, 0) };
    let actions = state.on_hello(&at("b:1"), &other, now);
    assert!(matches!(&actions[..], [Action::Lost(lost, _)] if *lost == at("b:1")));
    assert_eq!(members(&state), ["a:1", "b:1"]);
}

#[test]
fn standalones_and_routers_are_members_only_where_they_may_be() {
    let now = Instant::now();
    let try_with = |mut state: SetState, kind| {
        state.on_hello(&at("a:1"), &said(kind), now);
        members(&state).len()
    };
    assert_eq!(try_with(start(&["a:1"], None, false), MemberKind::Standalone), 1);
    assert_eq!(try_with(start(&["a:1", "b:1"], None, false), MemberKind::Standalone), 0);
    assert_eq!(try_with(start(&["a:1"], Some("rs0"), false), MemberKind::Standalone), 0);
    assert_eq!(try_with(start(&["a:1"], Some("rs0"), true), MemberKind::Standalone), 0);
    assert_eq!(try_with(start(&["a:1"], None, false), MemberKind::Mongos), 0);
    assert_eq!(try_with(start(&["a:1", "b:1"], None, true), MemberKind::Mongos), 1);
}

#[test]
fn direct_mode_takes_the_one_seed_and_no_view_of_it() {
    let (mut state, now) = (start(&["b:1", "a:1"], None, true), Instant::now());
    let actions = state.on_hello(&at("b:1"), &hello(MemberKind::Secondary, &["a:1", "b:1"], 1, 0), now);
    assert_eq!(actions, [Action::Added(at("b:1")), Action::Recovered(at("b:1"))]);
    assert_eq!((state.kind(&at("b:1")), state.servers.len()), (MemberKind::Secondary, 1));
}
