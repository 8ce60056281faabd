//! An exhaustive model of the protocol *Ordered floors*: every order in which its steps can happen, for a few clients
//! with a few operations each. It holds no code of torana's; the code follows what the model accepts.
//!
//! No member is modelled by itself: a majority read at a floor may answer from *any* majority-committed
//! position at or above it, which is what arbitrarily many arbitrarily late secondaries can do. In the same way a
//! ZooKeeper session reads any state at or after the last that it has seen.
//!
//! [`mongo`] is the log, [`zookeeper`] the registers, [`torana`] and [`client`] the processes, [`read`], [`write`],
//! [`transaction`], [`garbage`] and [`faults`] the steps, [`machine`] what hands them to stateright, [`check`] the
//! properties, [`rules`] what a configuration may remove, [`run`] the search; [`thesis`] the algorithm that all this
//! replaces. FINDINGS.md says what it found, and what it leaves out.

pub mod check;
pub mod client;
pub mod config;
pub mod faults;
pub mod garbage;
pub mod machine;
pub mod mongo;
pub mod read;
pub mod rules;
pub mod run;
pub mod thesis;
pub mod torana;
pub mod transaction;
pub mod write;
pub mod zookeeper;
