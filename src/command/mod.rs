//! The table of commands: what each is called and what torana does with it.
//!
//! A request is classified from the fields of one pass over its body (`fields`), without decoding it; commands
//! that are not in the table are forwarded untouched and counted as `other`. Called by the proxy; knows no
//! sockets, pools or members.

mod fields;
mod table;

pub use fields::{Fields, TransactionId};
pub use table::{Command, Kind};
