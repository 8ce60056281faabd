//! The consistency protocol, searched exhaustively: it holds under every order of steps and faults that fits each
//! configuration's bounds, and without any one of its rules it does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "floors_model/mod.rs"]
mod model;

use model::check::{BOUNDED, COMMITTED};
use model::client::Op;
use model::config::{Budget, Config, Role};
use model::rules::Rules;
use model::run::{breaks, breaks_property, holds, thesis_breaks};

const NONE: Budget = Budget { failovers: 0, crashes: 0, reconnects: 0, moves: 0, folds: 0, give_ups: 0 };

/// Two clients that write and read one document, each through its own torana.
const WRITE_AND_READ: &[Role] = &[
    Role { home: 0, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
    Role { home: 1, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
];

const QUERIES: &[Role] = &[
    Role { home: 0, ops: &[Op::Put(0), Op::Delete(1), Op::Query], count: 2 },
    Role { home: 1, ops: &[Op::Get(0), Op::Query, Op::Distinct], count: 2 },
];

const STRICT_QUERIES: &[Role] = &[Role { home: 0, ops: &[Op::Put(0), Op::Distinct], count: 2 }];

const DELETES: &[Role] = &[
    Role { home: 0, ops: &[Op::Put(0), Op::Delete(0), Op::Get(0)], count: 3 },
    Role { home: 1, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
];

const TRANSACTIONS: &[Role] = &[
    Role { home: 0, ops: &[Op::PutAll, Op::Exchange, Op::Put(1)], count: 2 },
    Role { home: 1, ops: &[Op::ReadAll, Op::Exchange, Op::Get(1)], count: 2 },
];

const REPLAYS: &[Role] = &[
    Role { home: 0, ops: &[Op::Put(0), Op::Replay(0), Op::Get(0)], count: 2 },
    Role { home: 1, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
];

const FIND_AND_MODIFY: &[Role] = &[
    Role { home: 0, ops: &[Op::FindAndModify(0), Op::Get(0)], count: 2 },
    Role { home: 1, ops: &[Op::FindAndModify(0), Op::Put(0), Op::Get(0)], count: 2 },
];

#[test]
fn one_document_holds_under_failover_crash_and_move() {
    let budget = Budget { failovers: 1, crashes: 1, moves: 1, ..NONE };
    holds(Config { name: "one document", clients: WRITE_AND_READ, budget, ..Config::BASIC });
}

#[test]
fn one_document_holds_with_late_registers_and_reconnects() {
    let budget = Budget { reconnects: 1, moves: 1, ..NONE };
    let late = Config { late_registers: true, ..Config::BASIC };
    holds(Config { name: "late registers", clients: WRITE_AND_READ, budget, ..late });
}

#[test]
fn queries_hold_with_two_documents() {
    let budget = Budget { moves: 1, ..NONE };
    holds(Config { name: "queries", clients: QUERIES, budget, ..Config::BASIC });
}

#[test]
fn known_floors_are_not_needed_if_every_read_raises_the_collections() {
    let rules = Rules { known: false, query_covers_known: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    let raised = Config { reads_raise_collection: true, ..Config::BASIC };
    holds(Config { name: "C instead of L", clients: QUERIES, budget, rules, ..raised });
}

#[test]
fn queries_hold_for_clients_that_move_if_a_barrier_asks_the_primary() {
    let budget = Budget { moves: 1, crashes: 1, ..NONE };
    holds(Config { name: "strict queries", clients: QUERIES, budget, strict_queries: true, ..Config::BASIC });
}

#[test]
fn without_asking_the_primary_queries_of_a_client_that_moves_go_back() {
    let rules = Rules { probe: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    let strict = Config { strict_queries: true, ..Config::BASIC };
    breaks(Config { name: "queries without a probe", clients: STRICT_QUERIES, budget, rules, ..strict });
}

#[test]
fn deletes_hold() {
    let budget = Budget { moves: 1, ..NONE };
    let absent = Config { existed: false, ..Config::BASIC };
    holds(Config { name: "deletes", clients: DELETES, budget, ..absent });
}

#[test]
fn transactions_hold() {
    let budget = Budget { failovers: 1, moves: 1, give_ups: 1, ..NONE };
    holds(Config { name: "transactions", clients: TRANSACTIONS, budget, ..Config::BASIC });
}

#[test]
fn replays_and_write_concern_errors_hold() {
    let budget = Budget { failovers: 1, crashes: 1, moves: 1, give_ups: 1, ..NONE };
    holds(Config { name: "replays", clients: REPLAYS, budget, ..Config::BASIC });
}

#[test]
fn replays_need_not_be_recognised() {
    let budget = Budget { failovers: 1, crashes: 1, moves: 1, give_ups: 1, ..NONE };
    let blind = Config { replays_unrecognised: true, ..Config::BASIC };
    holds(Config { name: "replays unrecognised", clients: REPLAYS, budget, ..blind });
}

#[test]
fn find_and_modify_holds() {
    let budget = Budget { crashes: 1, moves: 1, give_ups: 1, ..NONE };
    holds(Config { name: "findAndModify", clients: FIND_AND_MODIFY, budget, ..Config::BASIC });
}

#[test]
fn garbage_collection_holds() {
    let budget = Budget { folds: 1, crashes: 1, moves: 1, ..NONE };
    holds(Config {
        name: "garbage",
        clients: WRITE_AND_READ,
        budget,
        done: true,
        count_helps: true,
        ..Config::BASIC
    });
}

#[test]
fn help_without_the_versions_name_is_repeated_by_every_reader() {
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0), Op::Put(1)], count: 2 },
        Role { home: 1, ops: &[Op::Get(0)], count: 2 },
    ];
    let rules = Rules { help_names_the_version: false, ..Rules::ALL };
    let budget = Budget { give_ups: 1, ..NONE };
    let config =
        Config { name: "help without a name", clients, budget, rules, count_helps: true, ..Config::BASIC };
    breaks_property(config, BOUNDED);
}

#[test]
fn garbage_collection_holds_with_publishes_in_two_halves() {
    let budget = Budget { folds: 1, moves: 1, ..NONE };
    holds(Config {
        name: "incarnations",
        clients: WRITE_AND_READ,
        budget,
        split_publish: true,
        ..Config::BASIC
    });
}

#[test]
fn epochs_hold_with_done() {
    let budget = Budget { crashes: 1, moves: 1, give_ups: 1, ..NONE };
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0), Op::Put(1)], count: 2 },
        Role { home: 0, ops: &[Op::Get(0)], count: 2 },
    ];
    holds(Config { name: "done", clients, budget, done: true, ..Config::BASIC });
}

#[test]
fn linearizable_holds() {
    let budget = Budget { failovers: 1, crashes: 1, moves: 1, ..NONE };
    holds(Config {
        name: "linearizable",
        clients: WRITE_AND_READ,
        budget,
        linearizable: true,
        ..Config::BASIC
    });
}

#[test]
fn without_publish_a_client_that_moves_misses_its_write() {
    let rules = Rules { publish: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    breaks(Config { name: "no publish", clients: WRITE_AND_READ, budget, rules, ..Config::BASIC });
}

#[test]
fn without_help_a_client_that_moves_goes_back() {
    let rules = Rules { help: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    breaks(Config { name: "no help", clients: WRITE_AND_READ, budget, rules, ..Config::BASIC });
}

#[test]
fn without_a_barrier_a_client_that_moves_goes_back() {
    let rules = Rules { barrier: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    breaks(Config { name: "no barrier", clients: WRITE_AND_READ, budget, rules, ..Config::BASIC });
}

#[test]
fn without_a_barrier_after_a_reconnect_a_client_goes_back() {
    let clients: &[Role] = &[Role { home: 0, ops: &[Op::Put(0), Op::Get(0), Op::Get(1)], count: 3 }];
    let rules = Rules { barrier_after_reconnect: false, ..Rules::ALL };
    let budget = Budget { moves: 1, reconnects: 1, ..NONE };
    breaks(Config { name: "no barrier after a reconnect", clients, budget, rules, ..Config::BASIC });
}

#[test]
fn without_known_floors_reads_go_back() {
    let rules = Rules { known: false, ..Rules::ALL };
    breaks(Config { name: "no L", clients: WRITE_AND_READ, rules, ..Config::BASIC });
}

#[test]
fn without_the_collections_floor_queries_go_back() {
    let rules = Rules { collection: false, query_covers_known: false, ..Rules::ALL };
    breaks(Config { name: "no C", clients: QUERIES, rules, ..Config::BASIC });
}

#[test]
fn a_query_below_the_known_floors_goes_back() {
    let rules = Rules { query_covers_known: false, ..Rules::ALL };
    breaks(Config { name: "queries without L", clients: QUERIES, rules, ..Config::BASIC });
}

#[test]
fn deleting_before_base_is_raised_loses_a_floor() {
    let rules = Rules { base_before_delete: false, ..Rules::ALL };
    let budget = Budget { moves: 1, folds: 1, ..NONE };
    breaks(Config { name: "delete before base", clients: WRITE_AND_READ, budget, rules, ..Config::BASIC });
}

#[test]
fn reading_base_before_the_znode_misses_a_floor() {
    let rules = Rules { base_read_last: false, ..Rules::ALL };
    let budget = Budget { moves: 1, folds: 1, ..NONE };
    let late = Config { late_registers: true, ..Config::BASIC };
    breaks(Config { name: "base read before the znode", clients: WRITE_AND_READ, budget, rules, ..late });
}

#[test]
fn helping_a_stale_token_returns_it() {
    let clients: &[Role] = &[Role { home: 0, ops: &[Op::Put(0), Op::Get(0)], count: 3 }];
    let rules = Rules { unknown_is_not_newer: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    breaks(Config { name: "a stale token helped", clients, budget, rules, ..Config::BASIC });
}

#[test]
fn a_document_without_a_token_does_not_match_its_own_delete() {
    let clients: &[Role] = &[Role { home: 0, ops: &[Op::Delete(0), Op::Get(0)], count: 2 }];
    let rules = Rules { tokenless_matches_nothing: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    breaks(Config { name: "no token taken for equal", clients, budget, rules, ..Config::BASIC });
}

#[test]
fn an_absence_that_raises_nothing_in_memory_is_undone() {
    let rules = Rules { absence_raises_collection: false, ..Rules::ALL };
    breaks(Config { name: "absence not raised", clients: DELETES, rules, ..Config::BASIC });
}

#[test]
fn an_absence_that_is_not_published_is_undone_by_a_move() {
    let rules = Rules { absence_publishes: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    breaks(Config { name: "absence not published", clients: DELETES, budget, rules, ..Config::BASIC });
}

#[test]
fn acknowledging_before_the_majority_loses_a_write() {
    let rules = Rules { majority: false, ..Rules::ALL };
    let budget = Budget { failovers: 1, ..NONE };
    breaks(Config { name: "w:1", clients: WRITE_AND_READ, budget, rules, ..Config::BASIC });
}

#[test]
fn a_helped_token_proves_nothing_fresh() {
    let rules = Rules { help_is_a_bound: false, ..Rules::ALL };
    let budget = Budget { crashes: 1, moves: 1, give_ups: 1, ..NONE };
    breaks(Config { name: "help as a proof", clients: WRITE_AND_READ, budget, rules, ..Config::BASIC });
}

#[test]
fn an_operation_time_proves_nothing_fresh() {
    let rules = Rules { operation_time_is_a_bound: false, ..Rules::ALL };
    let budget = Budget { crashes: 1, moves: 1, ..NONE };
    breaks(Config {
        name: "findAndModify as a proof",
        clients: FIND_AND_MODIFY,
        budget,
        rules,
        ..Config::BASIC
    });
}

#[test]
fn a_replay_proves_nothing_fresh() {
    let rules = Rules { replay_is_a_bound: false, ..Rules::ALL };
    let budget = Budget { crashes: 1, moves: 1, ..NONE };
    breaks(Config { name: "a replay as a proof", clients: REPLAYS, budget, rules, ..Config::BASIC });
}

#[test]
fn a_replay_that_sets_its_token_hides_a_newer_version() {
    let rules = Rules { replay_sets_no_token: false, ..Rules::ALL };
    let budget = Budget { crashes: 1, moves: 1, ..NONE };
    breaks(Config { name: "a replay sets its token", clients: REPLAYS, budget, rules, ..Config::BASIC });
}

#[test]
fn publishing_on_a_write_concern_error_raises_floors_that_are_rolled_back() {
    let rules = Rules { error_publishes_nothing: false, ..Rules::ALL };
    let budget = Budget { failovers: 1, give_ups: 1, ..NONE };
    let config = Config { name: "publish on an error", clients: REPLAYS, budget, rules, ..Config::BASIC };
    breaks_property(config, COMMITTED);
}

#[test]
fn raising_base_on_an_unknown_commit_raises_it_above_what_survives() {
    let clients: &[Role] = &[Role { home: 0, ops: &[Op::Exchange], count: 1 }];
    let rules = Rules { error_publishes_nothing: false, ..Rules::ALL };
    let budget = Budget { failovers: 1, give_ups: 1, ..NONE };
    let config = Config { name: "base on an unknown commit", clients, budget, rules, ..Config::BASIC };
    breaks_property(config, COMMITTED);
}

#[test]
fn done_past_an_unknown_outcome_hides_a_write_from_help() {
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0), Op::Put(1)], count: 2 },
        Role { home: 0, ops: &[Op::Get(0)], count: 2 },
    ];
    let rules = Rules { done_waits: false, ..Rules::ALL };
    let budget = Budget { moves: 1, give_ups: 1, ..NONE };
    breaks(Config { name: "done does not wait", clients, budget, rules, done: true, ..Config::BASIC });
}

#[test]
fn a_write_of_several_documents_that_leaves_base_is_missed() {
    let rules = Rules { multi_raises_base: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    let clients: &[Role] = &[Role { home: 0, ops: &[Op::PutAll, Op::Get(0)], count: 2 }];
    breaks(Config { name: "base not raised by a multi", clients, budget, rules, ..Config::BASIC });
}

#[test]
fn a_distinct_that_leaves_base_is_undone_by_a_move() {
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0)], count: 1 },
        Role { home: 1, ops: &[Op::Get(0), Op::Distinct], count: 2 },
    ];
    let rules = Rules { distinct_raises_base: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    breaks(Config { name: "base not raised by distinct", clients, budget, rules, ..Config::BASIC });
}

#[test]
fn a_transaction_that_only_reads_and_is_not_validated_goes_back() {
    let clients: &[Role] = &[Role { home: 0, ops: &[Op::Put(1), Op::ReadAll], count: 2 }];
    let rules = Rules { transaction_validates: false, ..Rules::ALL };
    let budget = Budget { moves: 1, ..NONE };
    breaks(Config { name: "transaction not validated", clients, budget, rules, ..Config::BASIC });
}

#[test]
fn two_collectors_delete_what_they_have_not_read() {
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0)], count: 1 },
        Role { home: 1, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
    ];
    let rules = Rules { one_collector: false, ..Rules::ALL };
    let budget = Budget { folds: 2, moves: 1, ..NONE };
    let split = Config { split_publish: true, ..Config::BASIC };
    breaks(Config { name: "two collectors", clients, budget, rules, ..split });
}

#[test]
fn a_set_from_an_earlier_incarnation_lowers_a_floor() {
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0)], count: 2 },
        Role { home: 1, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
    ];
    let rules = Rules { incarnation: false, ..Rules::ALL };
    let budget = Budget { folds: 1, moves: 1, ..NONE };
    let split = Config { split_publish: true, ..Config::BASIC };
    breaks(Config { name: "incarnations not told apart", clients, budget, rules, ..split });
}

#[test]
fn the_thesis_leaves_a_document_that_nobody_can_read() {
    thesis_breaks();
}

/// Everything at once, in minutes: `cargo test --profile soak --test floors_model -- --ignored`.
#[test]
#[ignore = "minutes"]
fn wide_one_document_with_three_clients_holds() {
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
        Role { home: 1, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
        Role { home: 0, ops: &[Op::Get(0)], count: 2 },
    ];
    let budget = Budget { failovers: 1, crashes: 1, moves: 1, ..NONE };
    holds(Config { name: "three clients", clients, budget, ..Config::BASIC });
}

#[test]
#[ignore = "minutes"]
fn wide_everything_for_one_document_holds() {
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0), Op::Delete(0), Op::Replay(0), Op::Get(0)], count: 2 },
        Role { home: 1, ops: &[Op::FindAndModify(0), Op::Get(0)], count: 2 },
    ];
    let budget = Budget { crashes: 1, failovers: 1, moves: 1, folds: 1, give_ups: 1, ..NONE };
    let late = Config { late_registers: true, done: true, ..Config::BASIC };
    holds(Config { name: "everything for one document", clients, budget, ..late });
}

#[test]
#[ignore = "minutes"]
fn wide_two_documents_with_garbage_hold() {
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0), Op::PutAll, Op::Delete(1), Op::Query], count: 2 },
        Role { home: 1, ops: &[Op::Get(0), Op::Query, Op::Distinct, Op::ReadAll], count: 2 },
    ];
    let budget = Budget { failovers: 1, crashes: 1, moves: 1, folds: 1, give_ups: 1, ..NONE };
    let strict = Config { strict_queries: true, late_registers: true, ..Config::BASIC };
    holds(Config { name: "two documents with garbage", clients, budget, ..strict });
}

#[test]
#[ignore = "minutes"]
fn wide_publishes_in_two_halves_with_deletes_hold() {
    let clients: &[Role] = &[
        Role { home: 0, ops: &[Op::Put(0), Op::Delete(0), Op::Get(0)], count: 2 },
        Role { home: 1, ops: &[Op::Put(0), Op::Get(0)], count: 3 },
    ];
    let budget = Budget { folds: 2, moves: 1, ..NONE };
    let split = Config { split_publish: true, ..Config::BASIC };
    holds(Config { name: "two halves with deletes", clients, budget, ..split });
}

#[test]
#[ignore = "minutes"]
fn wide_two_cycles_of_garbage_collection_hold() {
    let budget = Budget { folds: 2, crashes: 1, moves: 1, ..NONE };
    let counted = Config { done: true, count_helps: true, ..Config::BASIC };
    holds(Config { name: "garbage twice", clients: WRITE_AND_READ, budget, ..counted });
}
