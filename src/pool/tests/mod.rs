//! Facts about the pool, in paused time: no test here sleeps.

mod fake;

mod awaiting;
mod cancel;
mod clear;
mod connecting;
mod limits;
mod machine;
mod model;
mod order;
mod reaping;
