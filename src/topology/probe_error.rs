//! What ends a monitoring connection.

use std::io;
use std::time::Duration;

use super::description::DescriptionError;
use super::dial::DialError;
use super::set_config::ConfigError;
use crate::wire::WireError;

/// Why a server counts as lost. The text stands behind the server's name in logs and status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// There is no connection to it.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No answer in time.
    #[error("no answer to {what} within {limit:?}")]
    TimedOut {
        /// What was asked.
        what: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// It closed the connection.
    #[error("it closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It sent something on an idle connection.
    #[error("it sent a message that nobody asked for")]
    Unasked,
    /// It broke the wire protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It answered something else than what was asked.
    #[error("it answered request {got} when {expected} was asked")]
    ResponseTo {
        /// What the reply must name.
        expected: i32,
        /// What it names.
        got: i32,
    },
    /// It answered with an error.
    #[error("it refused with error {code}: {message}")]
    Refused {
        /// MongoDB's error code; 0 if it gave none.
        code: i64,
        /// MongoDB's text.
        message: String,
    },
    /// Its hello cannot be used.
    #[error(transparent)]
    Hello(#[from] DescriptionError),
    /// Its configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl ProbeError {
    /// Whether a connection ended, which says nothing yet of the server. Silence and wrong answers do.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self, ProbeError::Closed | ProbeError::Broken(_))
    }
}

impl From<io::Error> for ProbeError {
    fn from(error: io::Error) -> ProbeError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                ProbeError::Closed
            }
            _ => ProbeError::Broken(error.to_string()),
        }
    }
}
