//! A connection to a mongod: connect, handshake, read and write.
//!
//! Knows nothing of clients. Whether a connection may be used again is decided by whoever holds its checkout; here
//! is only what can be seen of the socket itself. Called by the pool (through [`Connector`]) and by the exchange.

mod connect;
mod connection;

pub use connect::{ConnectError, Connector};
pub use connection::ServerConnection;
