//! The consistency protocol, searched exhaustively: it holds under every order of steps and faults that fits each
//! configuration's bounds, and without any one of its rules it does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "floors_model/mod.rs"]
mod model;

use model::client::Op;
use model::config::{Budget, Config, Role};
use model::rules::Rules;
use model::run::{breaks, holds};

const ONE_DOCUMENT: &[Role] = &[
    Role { home: 0, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
    Role { home: 1, ops: &[Op::Put(0), Op::Get(0)], count: 2 },
];

const FAULTLESS: Budget = Budget { failovers: 0, crashes: 0, reconnects: 0, moves: 0, folds: 0, give_ups: 0 };

#[test]
fn one_document_holds() {
    holds(Config {
        name: "one document",
        clients: ONE_DOCUMENT,
        budget: Budget { failovers: 1, moves: 1, ..FAULTLESS },
        ..Config::BASIC
    });
}

#[test]
fn without_help_a_client_that_moves_goes_back() {
    breaks(Config {
        name: "no help",
        clients: ONE_DOCUMENT,
        budget: Budget { moves: 1, ..FAULTLESS },
        rules: Rules { help: false, ..Rules::ALL },
        ..Config::BASIC
    });
}
