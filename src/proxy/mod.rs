//! The message path: listener, client session, exchange.
