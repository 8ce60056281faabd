//! What can be wrong with a capture.

use std::io;
use std::path::PathBuf;

/// Why a capture, or a part of it, cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The disk, or the folder.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is none of torana's.
    #[error("{path} is not a capture of torana's: it begins with other bytes than TORANACP")]
    NotACapture {
        /// The file.
        path: PathBuf,
    },
    /// The file is of a later torana.
    #[error(
        "{path} is of format version {version}; this torana reads versions up to {}",
        super::head::VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
    /// Bytes that are not what they should be.
    #[error("{path}, byte {at}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// The folder holds none.
    #[error("{path} holds no capture: no file named capture-*.torana")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody else writes there.
    #[error("{path} is in use: another recording writes to it")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Another capture is there.
    #[error("{path} already holds a capture: give each a folder of its own")]
    Taken {
        /// The folder.
        path: PathBuf,
    },
}

impl CaptureError {
    /// An error of the system about `path`.
    pub fn io(path: &std::path::Path, error: io::Error) -> CaptureError {
        CaptureError::Io { path: path.to_owned(), error }
    }
}
