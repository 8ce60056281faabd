//! torana: a pooling proxy that any MongoDB driver takes for the replica set itself.

pub mod admin;
pub mod cli;
pub mod command;
pub mod config;
pub mod doc;
pub mod metrics;
pub mod pool;
pub mod proxy;
pub mod rewrite;
pub mod server;
pub mod topology;
pub mod wire;
