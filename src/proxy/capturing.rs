//! The capture that is being recorded, if one is: begun from the configuration or through the admin endpoint, ended by
//! either, by its time, or by itself.
//!
//! There is one at a time in a process, of one of its sets. Sessions look at its number alone, which is 0 when there is
//! none.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, sleep, timeout};

use super::context::{Set, Shared};
use super::own_command;
use crate::admin::{CaptureControl, Controlled};
use crate::capture::recorder::{Options, RealDisk};
use crate::capture::{CaptureError, Recorder, Status};
use crate::config::CaptureConfig;
use crate::metrics::CaptureMetrics;

/// How long is asked for the id of the set: without it a replay only knows less.
const ID_WITHIN: Duration = Duration::from_secs(3);

/// What is being recorded, as sessions see it.
#[derive(Debug, Default)]
pub struct Capturing {
    number: AtomicU32,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    /// The number of the last one.
    last: u32,
    /// Another one is about to begin.
    is_beginning: bool,
    recorder: Option<Arc<Recorder>>,
}

impl Capturing {
    /// The number of the recording; 0 if there is none.
    #[inline]
    pub fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// The recording, with its number.
    pub fn current(&self) -> Option<(u32, Arc<Recorder>)> {
        let current = self.locked();
        let is_running = self.number() == current.last && current.last != 0;
        current.recorder.clone().filter(|_| is_running).map(|recorder| (current.last, recorder))
    }

    /// Bytes that wait to be written.
    pub fn queue_bytes(&self) -> usize {
        self.locked().recorder.as_ref().map_or(0, |recorder| recorder.queue_bytes())
    }

    /// The recording of this number has ended. A later one has another.
    fn is_over(&self, number: u32) {
        let _ = self.number.compare_exchange(number, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn locked(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why no capture is begun.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One runs.
    #[error("a capture is being recorded already, into {0}: end that one first")]
    Running(String),
    /// Several sets.
    #[error("torana serves several replica sets: say which one by its name: {0}")]
    Which(String),
    /// No such set.
    #[error("torana serves no replica set called {0:?}: there are {1}")]
    NoSet(String, String),
    /// The folder.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

/// Begins and ends captures.
#[derive(Debug, Clone)]
pub struct Captures {
    shared: Arc<Shared>,
    sets: Arc<[Arc<Set>]>,
    metrics: Arc<CaptureMetrics>,
    is_open_to_all: bool,
}

impl Captures {
    /// For the traffic of `sets`. `is_open_to_all`: clients of the admin endpoint on other machines may begin captures.
    pub fn new(
        shared: Arc<Shared>,
        sets: Vec<Arc<Set>>,
        metrics: Arc<CaptureMetrics>,
        is_open_to_all: bool,
    ) -> Self {
        Captures { shared, sets: sets.into(), metrics, is_open_to_all }
    }

    /// Begins one. `inside`: a folder inside the one that `config` names, for captures that follow each other.
    pub async fn start(&self, config: &CaptureConfig, inside: Option<String>) -> Result<Status, StartError> {
        let set = self.set(config.set.as_deref())?.clone();
        let mut options = Options::new(config, &set.name);
        options.inside = inside;
        options.replica_set_id =
            timeout(ID_WITHIN, own_command::replica_set_id(&self.shared, &set)).await.ok().flatten();
        // It makes folders and a file.
        let (this, time) = (self.clone(), config.time);
        let runtime = tokio::runtime::Handle::current();
        // Whoever asked may be gone by then: its end is arranged for where its begin is.
        let begin = move || {
            let begun = this.begin(options)?;
            if let Some(time) = time {
                runtime.spawn(this.clone().end_after(time, begun.0));
            }
            Ok::<_, StartError>(begun)
        };
        let begun = tokio::task::spawn_blocking(begin).await;
        let (_, status) = match begun {
            Ok(begun) => begun?,
            Err(error) => {
                let error = std::io::Error::other(error);
                return Err(CaptureError::io(&config.folder, error).into());
            }
        };
        tracing::info!(set = %set.name, folder = status.folder, "traffic is being captured");
        Ok(status)
    }

    async fn end_after(self, time: Duration, number: u32) {
        sleep(time).await;
        if self.shared.capturing.number() == number {
            self.stop().await;
        }
    }

    /// Blocks on the disk, without a lock that clients or metrics could wait for.
    fn begin(&self, options: Options) -> Result<(u32, Status), StartError> {
        let number = {
            let mut current = self.shared.capturing.locked();
            let status = current.recorder.as_ref().map(|recorder| recorder.status());
            if let Some(status) = status.filter(|status| status.recording) {
                return Err(StartError::Running(status.folder));
            }
            if current.is_beginning {
                return Err(StartError::Running("another folder".to_owned()));
            }
            current.is_beginning = true;
            current.last.wrapping_add(1).max(1)
        };
        let shared = Arc::downgrade(&self.shared);
        let on_end = move || {
            if let Some(shared) = shared.upgrade() {
                shared.capturing.is_over(number);
            }
        };
        let recorder = Recorder::start(options, Box::new(RealDisk), self.metrics.clone(), on_end);
        let mut current = self.shared.capturing.locked();
        current.is_beginning = false;
        let recorder = Arc::new(recorder?);
        (current.last, current.recorder) = (number, Some(recorder.clone()));
        self.shared.capturing.number.store(number, Ordering::Relaxed);
        drop(current);
        let status = recorder.status();
        if !status.recording {
            self.shared.capturing.is_over(number);
        }
        Ok((number, status))
    }

    /// Ends the one that runs, and waits until all of it is written.
    pub async fn stop(&self) -> Status {
        self.shared.capturing.number.store(0, Ordering::Relaxed);
        let recorder = self.shared.capturing.locked().recorder.clone();
        let Some(recorder) = recorder else { return Status::default() };
        let stopping = recorder.clone();
        let _ = tokio::task::spawn_blocking(move || stopping.stop()).await;
        recorder.status()
    }

    /// How the last one stands.
    pub fn status(&self) -> Status {
        let recorder = self.shared.capturing.locked().recorder.clone();
        recorder.map(|recorder| recorder.status()).unwrap_or_default()
    }

    fn set(&self, name: Option<&str>) -> Result<&Arc<Set>, StartError> {
        let names = || self.sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>().join(", ");
        match (name, self.sets.as_ref()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(StartError::Which(names())),
            (Some(name), sets) => {
                let found = sets.iter().find(|set| set.name == name);
                found.ok_or_else(|| StartError::NoSet(name.to_owned(), names()))
            }
        }
    }
}

impl CaptureControl for Captures {
    fn is_open_to_all(&self) -> bool {
        self.is_open_to_all
    }

    fn start(&self, order: CaptureConfig) -> Controlled<'_, Result<Status, String>> {
        Box::pin(async move { Captures::start(self, &order, None).await.map_err(|error| error.to_string()) })
    }

    fn stop(&self) -> Controlled<'_, Status> {
        Box::pin(Captures::stop(self))
    }

    fn status(&self) -> Status {
        Captures::status(self)
    }
}
