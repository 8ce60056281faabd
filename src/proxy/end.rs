//! Why a client's session ends.

use crate::metrics::EndReason;
use crate::wire::WireError;

/// The end of a client's session: the reason that is counted, and what is said about it.
#[derive(Debug)]
pub struct End {
    /// The reason, for the metrics.
    pub reason: EndReason,
    /// For the log, and where there is still someone to read it, for the client.
    pub detail: Option<Box<str>>,
}

impl End {
    /// Ends with `reason`; `detail` goes to the log.
    pub fn because(reason: EndReason, detail: impl Into<String>) -> Self {
        End { reason, detail: Some(detail.into().into_boxed_str()) }
    }

    /// The client closed its connection between two messages.
    pub fn clean() -> Self {
        End { reason: EndReason::Clean, detail: None }
    }

    /// The client closed its connection, or it broke, in the middle of something.
    pub fn gone() -> Self {
        End { reason: EndReason::Error, detail: None }
    }

    /// The client sent something that is not MongoDB's wire protocol.
    pub fn protocol(error: WireError) -> Self {
        End::because(EndReason::ProtocolError, error.to_string())
    }

    /// The server connection failed under the client's request: only the driver knows whether to try again.
    pub fn server(detail: impl Into<String>) -> Self {
        End::because(EndReason::ServerError, detail)
    }
}
