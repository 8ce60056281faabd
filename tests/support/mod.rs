//! What the tests of real processes stand on. Used as `mod support;` from `tests/*.rs`.
//!
//! | file | what it gives |
//! |---|---|
//! | `parts.rs` | where the fetched mongods and drivers are |
//! | `scratch.rs` | a folder that goes away, in memory when there is room |
//! | `ports.rs` | loopback ports that no other test has |
//! | `process.rs` | a child process that cannot outlive the test; signals; what `/proc` says of it |
//! | `message.rs`, `raw.rs` | wire messages by hand, and a client that sends them as it is told |
//! | `mongod.rs` | one mongod |
//! | `members.rs`, `replica_set.rs` | a replica set of any shape, its elections and reconfigurations |
//! | `relay.rs`, `relay_pump.rs` | the fault relay |
//! | `fake_server.rs`, `fake_hello.rs` | a scripted server that torana takes for a primary |
//! | `bounds.rs` | torana with other bounds than its own |
//! | `torana.rs`, `ready.rs` | the torana binary, started in front of something |
//! | `recording.rs` | captures made by hand |
//! | `sniffer.rs` | packets of the loopback interface |
//! | `traffic.rs` | real traffic, written down as other tools would have |
//! | `zookeeper.rs` | an ensemble of ZooKeeper servers |
//! | `wait.rs` | waiting for a condition, with a limit |
//!
//! Everything is synchronous, everything panics with a sentence when it cannot go on, and nothing is skipped: a
//! test that cannot find mongod fails.

// Each test binary uses a part of this, and a panic is how a test fails.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used)]

pub mod bounds;
pub mod fake_hello;
pub mod fake_server;
pub mod members;
pub mod message;
pub mod mongod;
pub mod parts;
pub mod ports;
pub mod process;
pub mod raw;
pub mod ready;
pub mod recording;
pub mod relay;
mod relay_pump;
pub mod replica_set;
pub mod scratch;
pub mod sniffer;
pub mod torana;
pub mod traffic;
pub mod wait;
pub mod zookeeper;

pub use bounds::torana_with;
pub use fake_hello::Monitoring;
pub use fake_server::{FakeServer, Peer, Then};
pub use members::Member;
pub use message::{Message, Section};
pub use mongod::{Mongod, Version};
pub use raw::{HelloSpelling, Opcode, RawClient};
pub use relay::Relay;
pub use replica_set::ReplicaSet;
pub use torana::Torana;
pub use wait::wait_until;
pub use zookeeper::Ensemble;
