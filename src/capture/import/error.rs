//! Why nothing, or nothing more, is imported.

use std::io;
use std::path::PathBuf;

use crate::capture::CaptureError;

/// Why an import fails.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The capture that is written.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A source cannot be read.
    #[error("{path}: {error}")]
    Source {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A source is of no known format.
    #[error(
        "{path} is none of: a playback file of mongoreplay, a pcap or pcapng file, documents of the profiler (BSON, or \
         JSON by line); if it is one of these, say which by --from"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// Sources of several formats.
    #[error("{first} is {one}, {second} is {other}: import them one after the other, and merge the captures")]
    Mixed {
        /// One file.
        first: PathBuf,
        /// Its format.
        one: &'static str,
        /// Another file.
        second: PathBuf,
        /// Its format.
        other: &'static str,
    },
    /// Nothing is in them.
    #[error("no MongoDB traffic found{0}")]
    Nothing(String),
    /// The capture has ended before its sources.
    #[error("the import ended early: {0}")]
    Ended(String),
}
