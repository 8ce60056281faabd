//! The thread that asks: it takes reads from the queue, asks the second set, and counts what comes of it.
//!
//! A runtime of its own, so that neither a large comparison nor a slow set takes time from clients' tasks. As many tasks as
//! there may be connections take one read each; the connections that are not in use lie in one place (`connections.rs`). Another
//! task (`follow`) knows who the members are, and says so when that changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{Answer, AskError};
use super::connections::{Connections, Held};
use super::judge::{self, Found};
use super::pending::{ANSWER_MAX, Read};
use super::rate::Rate;
use super::target::{Live, NoTarget, find};
use super::{Core, edit};
use crate::doc::{DocWriter, find_path};
use crate::metrics::{ShadowDrop, ShadowSide};
use crate::replay::target::Target;
use crate::wire::{OpMsg, Side};

/// How long an answer may take beyond the limit that the second set is given: it says itself that the time is up.
const GRACE: Duration = Duration::from_millis(500);

/// How often the members are looked for while all is well, and the longest pause while they are not found.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The shortest time between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Bytes of what is said of a difference: a field's name in it may be as long as an answer.
const SAID_MAX: usize = 300;

/// What the tasks of the thread share.
struct Asking {
    core: Arc<Core>,
    connections: Connections,
    queue: AsyncMutex<UnboundedReceiver<Read>>,
    /// For those that are asked again.
    reads: WeakUnboundedSender<Read>,
    /// A connection could not be made: the members may be others by now.
    is_doubtful: Notify,
    /// The log says that it does not answer in time.
    is_said_slow: AtomicBool,
    rate: Mutex<Rate>,
}

/// Starts the thread. It ends when nobody is left who could add to the queue.
pub fn start(
    core: Arc<Core>,
    live: Live,
    receiver: UnboundedReceiver<Read>,
    reads: WeakUnboundedSender<Read>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        runtime.block_on(run(core, live, receiver, reads));
        // Whoever still looks for the members has nobody to tell.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("torana-shadow".into()).spawn(run).map(drop)
}

async fn run(core: Arc<Core>, live: Live, queue: UnboundedReceiver<Read>, reads: WeakUnboundedSender<Read>) {
    let (tasks, shown) = (core.config.limits.connections_max, core.metrics.connections.clone());
    let set_name = core.config.to.replica_set.clone();
    let asking = Arc::new(Asking {
        connections: Connections::new(set_name, tasks, shown),
        queue: AsyncMutex::new(queue),
        reads,
        is_doubtful: Notify::new(),
        is_said_slow: AtomicBool::new(false),
        rate: Mutex::new(Rate::new(core.config.log_every)),
        core,
    });
    let following = tokio::spawn(follow(asking.clone(), live));
    let mut working = JoinSet::new();
    for _ in 0..tasks {
        working.spawn(work(asking.clone()));
    }
    while working.join_next().await.is_some() {}
    following.abort();
}

/// Looks for the second set's members, as long as it is not the first set.
async fn follow(asking: Arc<Asking>, live: Live) {
    let core = &asking.core;
    let mut was_up = None;
    loop {
        match look(core, &live).await {
            Ok(target) => {
                if was_up != Some(true) {
                    let members: Vec<&str> = target.members.iter().map(|(name, _)| name.as_str()).collect();
                    let (members, version) = (members.join(", "), &target.version);
                    tracing::info!(set = %core.set, members, version, "the shadow's target answers");
                }
                asking.connections.lead_to(target);
                core.set_up(true);
                was_up = Some(true);
            }
            Err(error @ NoTarget::SameSet(_)) => {
                tracing::error!(set = %core.set, "no reads are sent to the shadow: {error}");
                return core.give_up();
            }
            Err(error) => {
                if was_up != Some(false) {
                    tracing::warn!(set = %core.set, "no reads are sent to the shadow until it answers: {error}");
                }
                core.set_up(false);
                was_up = Some(false);
            }
        }
        sleep(LOOK_PAUSE).await;
        if was_up == Some(true) {
            let _ = timeout(LOOK_EVERY, asking.is_doubtful.notified()).await;
        }
    }
}

async fn look(core: &Core, live: &Live) -> Result<Target, NoTarget> {
    let (mut uri, live) = (core.config.to.clone(), live.clone());
    uri.connect_timeout.get_or_insert(core.config.limits.timeout);
    let same_set = core.config.same_set;
    match tokio::task::spawn_blocking(move || find(&uri, &live, same_set)).await {
        Ok(found) => found,
        Err(error) => Err(crate::replay::target::TargetError::Unreachable(error.to_string()).into()),
    }
}

async fn work(asking: Arc<Asking>) {
    loop {
        let next = asking.queue.lock().await.recv().await;
        let Some(read) = next else { return };
        asking.serve(read).await;
    }
}

impl Asking {
    async fn serve(&self, mut read: Read) {
        let limit = self.core.config.limits.timeout;
        // It has turned out to be the set that clients are served by: what waits is not asked of it either.
        if !self.core.is_wanted() {
            return self.core.lose(ShadowDrop::NoConnection);
        }
        if read.ready.elapsed() > limit {
            return self.core.lose(ShadowDrop::Waited);
        }
        let Some(command) = edit::edited(&read.request, limit) else {
            return self.core.lose(ShadowDrop::Unanswered);
        };
        let mut connection = match timeout(limit, self.connections.take(read.role)).await {
            Ok(Ok(connection)) => connection,
            _ => {
                self.is_doubtful.notify_one();
                return self.core.lose(ShadowDrop::NoConnection);
            }
        };
        read.asked += 1;
        match timeout(limit + GRACE, connection.inner.ask(&command, 2 * ANSWER_MAX)).await {
            Err(_) => self.too_slow(),
            Ok(Err(AskError::TooLong(length))) => {
                self.conclude(read, Found::Different(format!("its answer has {length} bytes")));
            }
            Ok(Err(error)) => {
                tracing::debug!(set = %self.core.set, "a connection to the shadow's target is closed: {error}");
                self.is_doubtful.notify_one();
                self.core.lose(ShadowDrop::NoConnection);
            }
            Ok(Ok(answer)) => self.answered(connection, read, answer).await,
        }
    }

    async fn answered(&self, mut connection: Held, mut read: Read, answer: Answer) {
        if let Some(kill) = kill_cursor(&read.request, &answer.message) {
            let killing = connection.inner.ask(&kill, ANSWER_MAX);
            if let Ok(Ok(_)) = timeout(self.core.config.limits.timeout, killing).await {
                self.connections.give_back(connection);
            }
        } else {
            self.connections.give_back(connection);
        }
        let found = judge::judge(&mut read, &answer.message);
        if found == Found::TooSlow {
            return self.too_slow();
        }
        self.is_said_slow.store(false, Ordering::Relaxed);
        if read.asked == 1 {
            self.core.metrics.seconds.observe(ShadowSide::Live, read.took);
            self.core.metrics.seconds.observe(ShadowSide::Shadow, answer.took);
        }
        self.conclude(read, found);
    }

    /// Counts what was found, or asks again in a moment.
    fn conclude(&self, mut read: Read, found: Found) {
        if let Some(after) = judge::AGAIN_AFTER.get(read.asked - 1).filter(|_| found.may_change()) {
            let (reads, after) = (self.reads.clone(), *after);
            tokio::spawn(async move {
                sleep(after).await;
                read.ready = Instant::now();
                if let Some(reads) = reads.upgrade() {
                    let _ = reads.send(read);
                }
            });
            return;
        }
        let named = judge::named(&read.request);
        let has_write = |named| self.core.writes.has_one(named, read.received, judge::RACES_WITHIN);
        let is_racing = named.is_some_and(has_write);
        if let Some(outcome) = found.outcome(read.asked, is_racing) {
            self.core.metrics.reads.inc(outcome);
            if let Some(what) = found.what() {
                self.say(&read, outcome.as_str(), what);
            }
        }
    }

    fn say(&self, read: &Read, outcome: &str, what: &str) {
        let passes = self.rate.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now());
        let (Some(unsaid), Some((command, namespace, shape))) = (passes, judge::described(&read.request))
        else {
            return;
        };
        let set = &self.core.set;
        // A field, and not part of the text: what it names may be the second set's own, and fields are escaped.
        let what = cut(what);
        tracing::warn!(%set, outcome, command, namespace, shape, what, unsaid, "the shadow answers otherwise");
    }

    fn too_slow(&self) {
        self.core.lose(ShadowDrop::TimedOut);
        if !self.is_said_slow.swap(true, Ordering::Relaxed) {
            tracing::warn!(set = %self.core.set, "the shadow's target does not answer in time");
        }
    }
}

/// What is said of a difference, or its front.
fn cut(what: &str) -> &str {
    let mut end = what.len().min(SAID_MAX);
    while !what.is_char_boundary(end) {
        end -= 1;
    }
    &what[..end]
}

/// `killCursors` for the cursor that an answer leaves open: one batch is compared, and no more is asked for.
fn kill_cursor(request: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
    let msg = OpMsg::parse(answer, Side::Server).ok()?;
    let cursor = find_path(msg.body, &["cursor", "id"])?.as_i64().filter(|id| *id != 0)?;
    let (database, collection) = judge::named(request)?;
    let (database, collection) = (std::str::from_utf8(database).ok()?, std::str::from_utf8(collection).ok()?);
    let mut command = Vec::with_capacity(128);
    let mut writer = DocWriter::begin(&mut command);
    writer.string(b"killCursors", collection);
    writer.array(b"cursors", |cursors| {
        cursors.i64(b"0", cursor);
    });
    writer.string(b"$db", database);
    writer.finish();
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, message, queued, shadow, take};
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;

    #[tokio::test]
    async fn what_waits_when_the_second_set_turns_out_to_be_the_first_is_not_asked() {
        let shadow = shadow(1 << 20, 1);
        take(&shadow).unwrap().written(&message(90, 7, &answer(1)));
        let read = queued(&shadow).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let core = shadow.core.clone();
        let (reads, queue) = unbounded_channel();
        let asking = Asking {
            connections: Connections::new(None, 1, core.metrics.connections.clone()),
            queue: AsyncMutex::new(queue),
            reads: reads.downgrade(),
            is_doubtful: Notify::new(),
            is_said_slow: AtomicBool::new(false),
            rate: Mutex::new(Rate::new(None)),
            core,
        };
        let members = vec![(address.to_string(), address)];
        asking.connections.lead_to(Target { members, replica_set_id: None, version: String::new() });
        asking.core.give_up();
        let _ = timeout(Duration::from_millis(500), asking.serve(read)).await;
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(asking.core.metrics.dropped.get(ShadowDrop::NoConnection), 1);
    }
}
