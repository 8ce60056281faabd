//! The protocol behind `sequential`, searched exhaustively: it holds under every order of steps and faults that fits each
//! configuration's bounds, and without any one of its rules it does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "horizon_model/mod.rs"]
mod model;

use model::rules::{ALL, Config, Faults, Rules};
use model::run::{COMMITTED, COVERED, TOLD, breaks, holds};
use model::state::Op::{self, Join, Majority, Own, Put, Snapshot};

const NONE: Faults = Faults { failovers: 0, crashes: 0, timeouts: 0, moves: 0, doubts: 0, losses: 0 };

/// Applications at one torana each; the first has two connections.
fn config(operations: [&[Op]; 3], faults: Faults) -> Config {
    let clients = [0, 0, 1].into_iter().zip(operations.map(<[Op]>::to_vec)).collect();
    Config { clients, homes: vec![0, 1], faults, rules: ALL }
}

fn without(rules: Rules, operations: [&[Op]; 3], faults: Faults) -> Config {
    Config { rules, ..config(operations, faults) }
}

#[test]
fn it_holds_under_failover_crash_and_move() {
    let faults = Faults { failovers: 1, crashes: 1, moves: 1, ..NONE };
    holds("failover", config([&[Put(0), Snapshot], &[Majority], &[Put(0), Snapshot]], faults));
}

#[test]
fn it_holds_with_answers_that_are_lost() {
    let faults = Faults { timeouts: 1, moves: 1, ..NONE };
    holds("time-outs", config([&[Put(0), Snapshot], &[Snapshot], &[Put(1), Majority]], faults));
}

#[test]
fn it_holds_with_writes_in_doubt() {
    let faults = Faults { doubts: 1, failovers: 1, moves: 1, ..NONE };
    holds("doubts", config([&[Put(0), Snapshot], &[Majority, Snapshot], &[Put(0), Snapshot]], faults));
}

#[test]
fn it_holds_for_applications_that_move_back() {
    let faults = Faults { moves: 2, ..NONE };
    holds("moves", config([&[Put(0), Snapshot], &[Majority, Snapshot], &[Put(1), Majority]], faults));
}

/// As long as nobody moves, what the register loses costs nobody anything: each torana knows what it told.
#[test]
fn it_holds_for_those_who_stay_while_the_register_is_lost() {
    let faults = Faults { losses: 1, failovers: 1, ..NONE };
    holds("losses", config([&[Put(0), Snapshot], &[Majority, Snapshot], &[Put(0), Snapshot]], faults));
}

#[test]
fn it_holds_with_a_causal_collection_beside() {
    let faults = Faults { moves: 1, failovers: 1, ..NONE };
    holds("causal beside", config([&[Own, Join], &[Join, Snapshot], &[Put(0), Snapshot]], faults));
}

#[test]
fn a_read_as_of_a_time_that_is_not_published_is_undone_for_who_moves() {
    let rules = Rules { snapshots_are_published: false, ..ALL };
    let faults = Faults { moves: 1, ..NONE };
    breaks("unpublished snapshots", TOLD, without(rules, [&[Own, Join, Snapshot], &[], &[Put(0)]], faults));
}

#[test]
fn a_write_that_is_not_published_is_missed_by_who_moves() {
    let rules = Rules { publishes_writes: false, ..ALL };
    let faults = Faults { moves: 1, ..NONE };
    breaks("unpublished writes", TOLD, without(rules, [&[Put(0), Snapshot], &[], &[]], faults));
}

#[test]
fn a_read_that_is_not_published_is_undone_for_who_moves() {
    let rules = Rules { publishes_reads: false, ..ALL };
    let faults = Faults { moves: 1, ..NONE };
    breaks("unpublished reads", TOLD, without(rules, [&[Majority, Snapshot], &[], &[Put(0)]], faults));
}

#[test]
fn a_horizon_that_is_not_proven_is_too_old_for_who_moves() {
    let rules = Rules { proves_horizon: false, ..ALL };
    let faults = Faults { moves: 1, ..NONE };
    breaks("unproven", TOLD, without(rules, [&[Put(0), Snapshot], &[], &[]], faults));
}

#[test]
fn a_look_at_a_late_server_proves_nothing() {
    let rules = Rules { proves_by_writing: false, ..ALL };
    let faults = Faults { moves: 1, ..NONE };
    breaks("a look", TOLD, without(rules, [&[Put(0), Snapshot], &[], &[]], faults));
}

#[test]
fn without_comparing_the_register_falls() {
    let rules = Rules { compares: false, ..ALL };
    let faults = Faults { moves: 1, ..NONE };
    breaks("no comparing", TOLD, without(rules, [&[Put(0), Snapshot], &[], &[Put(1)]], faults));
}

#[test]
fn reads_as_of_what_was_last_proven_go_back() {
    let rules = Rules { reads_as_of_published: false, ..ALL };
    let operations: [&[Op]; 3] = [&[Put(0), Snapshot], &[], &[Put(1)]];
    // The other torana's set is what the answer shows, so that this one's is not proven.
    breaks("as of the proven", TOLD, without(rules, operations, NONE));
}

#[test]
fn what_is_raised_before_it_is_published_is_undone_for_who_moves() {
    let rules = Rules { raises_after_publishing: false, ..ALL };
    let faults = Faults { crashes: 1, moves: 1, ..NONE };
    breaks("raised early", TOLD, without(rules, [&[Put(0)], &[Snapshot, Snapshot], &[]], faults));
}

#[test]
fn a_write_that_no_majority_has_is_lost() {
    let rules = Rules { waits_for_majority: false, ..ALL };
    let faults = Faults { failovers: 1, ..NONE };
    breaks("no majority", COMMITTED, without(rules, [&[Put(0)], &[], &[]], faults));
}

#[test]
fn a_time_in_doubt_must_not_be_published() {
    let rules = Rules { doubt_publishes_nothing: false, ..ALL };
    let faults = Faults { doubts: 1, failovers: 1, ..NONE };
    breaks("published doubt", COMMITTED, without(rules, [&[Put(0)], &[], &[]], faults));
}

/// Without a torana that knows, what the register lost is lost.
#[test]
fn a_register_that_is_lost_together_with_the_toranas_that_knew_takes_the_promise_with_it() {
    let faults = Faults { losses: 1, crashes: 1, ..NONE };
    breaks("all lost", COVERED, without(ALL, [&[Put(0)], &[], &[]], faults));
}
