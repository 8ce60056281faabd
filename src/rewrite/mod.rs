//! Replies and requests that name members, edited so that clients stay on torana.
//!
//! Everything is done by byte ranges on raw BSON: what is not a member's name passes byte for byte, whatever fields
//! later servers add. Nothing here knows a socket, a clock or a pool, and nothing panics or recurses without a bound
//! on what came from one. Called by the hello service (`hello`, `hello_request`) and by the exchange, for the
//! handful of commands whose messages name members.

mod client_metadata;
mod closed_list;
mod conn_pool_stats;
mod database_name;
mod error_code;
mod errors;
mod hello;
mod hello_api;
mod hello_fields;
mod hello_request;
mod last_error;
mod name_map;
mod overload;
mod reframe;
mod replset_config;
mod replset_status;
mod reply;
mod request;
mod rules;
mod server_status;
mod text;

pub use closed_list::CLOSED_LIST;
pub use database_name::check_database;
pub use error_code::ErrorCode;
pub use errors::{CommandError, Labels};
pub use hello::{HelloAsked, HelloTemplate, Spelling, render};
pub use hello_request::{HelloRequest, counter_ahead};
pub use name_map::Rewritten;
pub use overload::{Overload, RetryScope, max_time_passed_in_queue, overloaded, shutting_down};
pub use reframe::{body_range, reframe};
pub use reply::{ReplyKind, rewrite_reply, rewrite_reply_message};
pub use request::{adds_torana, request_names_members, rewrite_request, rewrite_request_message};

use crate::doc::DocError;
use crate::wire::WireError;

/// Why a message could not be rewritten. It is then not passed on: it may name a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The body is not a document.
    #[error(transparent)]
    Document(#[from] DocError),
    /// The message round the body does not follow the wire protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Nested deeper than is followed.
    #[error("a document is nested more than {limit} deep")]
    TooDeep {
        /// The limit, levels.
        limit: usize,
    },
    /// Longer names made the message longer than a message may be.
    #[error("a rewritten message would have {length} bytes, limit {limit}")]
    TooLarge {
        /// What it would have, bytes.
        length: usize,
        /// The limit, bytes.
        limit: usize,
    },
}
