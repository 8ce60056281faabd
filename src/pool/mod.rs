//! The pool of server connections of one member.
//!
//! Few connections serve many clients: whoever has a request checks one out, exchanges, and gives it back with
//! [`Checkout::finish`]. Any other end of a [`Checkout`] closes the connection, so that a half-read reply never
//! reaches another client. Whoever finds none idle waits, first come first served, for either a returned connection
//! or a new one; a task of the pool makes new ones, two at a time. The pool knows no commands and no sockets: it is
//! generic over [`Connect`], and learns from its caller only the [`Class`] of the work. Called by the proxy.
//!
//! Reading order: [`Pool`] (in `handle`), `shared` (what is counted where), `permits` and `wait` (the queue), `checkout`, `connector`
//! with `demand` and `backoff`, `reaper`, `control` (clear, pause, close), `awaiting`.

mod awaiting;
mod backoff;
mod checkout;
mod connection;
mod connector;
mod control;
mod demand;
mod error;
mod events;
mod handle;
mod options;
mod permits;
mod reaper;
mod shared;
mod status;
#[cfg(test)]
mod tests;
mod wait;

pub use awaiting::AwaitingPermit;
pub use checkout::Checkout;
pub use connection::{Connect, ConnectError, Connection};
pub use error::CheckoutError;
pub use events::{CloseReason, NoEvents, PoolEvents};
pub use handle::{Class, Pool};
pub use options::{CONNECTING_MAX, OptionsError, PoolOptions};
pub use status::Status;
