//! Where imported records go: the recorder that a live capture has, with its redaction, or in tests a list.
//!
//! Other than a proxy's clients, an import waits where the disk is behind.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::ImportError;
use crate::capture::recorder::{Options, RealDisk};
use crate::capture::{CaptureError, MESSAGE_MAX};
use crate::capture::{Policy, Record, Recorder, Refused, Status, folder};
use crate::metrics::Metrics;

/// How long is waited for the disk before it is tried again.
const BEHIND: Duration = Duration::from_millis(1);

/// Takes records.
pub trait Tape {
    /// Before the first record: when time 0 of all records is.
    fn begin(&mut self, started: bson::DateTime) -> Result<(), ImportError>;

    /// A record, of which the body has about `length` bytes.
    fn put(&mut self, policy: Policy, record: &Record<'_>, length: usize) -> Result<(), ImportError>;
}

/// Writes to the disk. No file is made before the first record.
#[derive(Debug)]
pub struct DiskTape {
    options: Options,
    recorder: Option<Recorder>,
}

impl DiskTape {
    /// Into the folder of `options`. Fails if there is a capture in it.
    pub fn new(options: Options) -> Result<DiskTape, CaptureError> {
        let path: PathBuf = options.files();
        if path.exists() && !folder::files(&path)?.is_empty() {
            return Err(CaptureError::Taken { path });
        }
        Ok(DiskTape { options, recorder: None })
    }

    /// Waits until all is written. What was written; `None` if there was nothing.
    pub fn finish(self) -> Option<Status> {
        let recorder = self.recorder?;
        recorder.stop();
        Some(recorder.status())
    }
}

impl Tape for DiskTape {
    fn begin(&mut self, started: bson::DateTime) -> Result<(), ImportError> {
        let options = Options { started: Some(started), ..self.options.clone() };
        let metrics = Arc::clone(&Metrics::new().capture);
        self.recorder = Some(Recorder::start(options, Box::new(RealDisk), metrics, || ())?);
        Ok(())
    }

    fn put(&mut self, policy: Policy, record: &Record<'_>, length: usize) -> Result<(), ImportError> {
        let Some(recorder) = &self.recorder else { return Ok(()) };
        loop {
            match recorder.append(policy, record, length) {
                Ok(()) => return Ok(()),
                Err(Refused::Full) => std::thread::sleep(BEHIND),
                Err(Refused::Ended) => {
                    recorder.stop();
                    let why = recorder.status().cut_short;
                    return Err(ImportError::Ended(
                        why.unwrap_or_else(|| "the capture was ended".to_owned()),
                    ));
                }
            }
        }
    }
}

// What is put is never longer than what finds room in an empty queue.
const _: () = assert!(MESSAGE_MAX + 4096 < crate::capture::recorder::MEMORY_MAX * 2 / 3);
