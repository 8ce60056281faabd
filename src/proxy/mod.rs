//! The message path: listener, client session, exchange.

mod buffer;
