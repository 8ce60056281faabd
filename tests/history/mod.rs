//! The history test: clients of several toranas write and read a few documents while everything fails, and what they were
//! told is compared with what the servers have in the end.
//!
//! Every write has an id that the oplog has too (its session and transaction number), so that the order of all states is
//! read from the final primary, and not searched: [`oplog`]. The checker ([`check`]) then places every read in it.
//!
//! | file | what it is about |
//! |---|---|
//! | `event.rs`, `order.rs` | what clients record, and the order of states that really was |
//! | `check.rs` | the two promises, pure; `check_tests.rs`: each violation seen caught |
//! | `oplog.rs` | the order, and the final state, from the servers |
//! | `stage.rs`, `book.rs` | three mongods, three ZooKeepers, three toranas; where clients find them |
//! | `session.rs`, `client.rs` | what a driver does, and what an application does |
//! | `commands.rs`, `reply.rs` | what is sent, and how what comes back is read |
//! | `bag.rs`, `faults_*.rs` | what befalls members, toranas and ZooKeepers |
//! | `run.rs`, `report.rs` | all of it together, and what it came to |

pub mod bag;
pub mod book;
pub mod check;
mod check_tests;
pub mod client;
pub mod commands;
pub mod event;
pub mod faults_members;
pub mod faults_toranas;
pub mod faults_zookeeper;
pub mod oplog;
pub mod order;
pub mod reply;
pub mod report;
pub mod run;
pub mod session;
pub mod stage;

#[path = "../../benches/soak/dice.rs"]
pub mod dice;
