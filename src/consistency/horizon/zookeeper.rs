//! The horizon's register in ZooKeeper: one node for each set, `ROOT/horizon`.
//!
//! What zookeeper-async 5.0.0 leaves to its users is guarded against here, and nowhere else. Requests have no time-out:
//! each gets one. Replies are matched to requests by their order alone, and may be off by one after a reconnect: no
//! more than one request is on its way, and after any trouble (a time-out, an error, a change of the connection) the whole
//! client is replaced by another. A late server may show an old state: nothing is taken from a look but a candidate, and
//! only a compare-and-set that succeeded proves anything. Names are looked up by blocking: they are resolved before, at
//! each connect. The hosts are tried in their order: they are shuffled. Watches do not survive a reconnect: none is used.
//! A client that is dropped without being closed goes on for ever: it is closed, whatever ends it. Its numbers of requests
//! have 32 bits: it is replaced long before.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::seq::SliceRandom;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};
use zookeeper_async::{Acl, CreateMode, Stat, WatchedEvent, ZkError, ZkResult, ZkState};

use super::{Horizon, TagsError};
use crate::config::{Tag, ZooKeeperConfig};
use crate::consistency::Tagging;

/// What the register's bytes begin with, before the time: eight bytes, the highest first.
const MARK: &[u8; 16] = b"torana horizon1 ";

/// How long a lost connection rests before the client's own next attempt; without it the client spins.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// The rest before a client is replaced by another, at first and at most.
const BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// Requests of one client.
const REQUESTS_MAX: u32 = 1_000_000_000;

/// How often the tags are looked at.
const TAGS_EVERY: Duration = Duration::from_millis(400);

/// How long a session that is let go may take to say so.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// How to reach an ensemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZooKeeperOptions {
    /// `host:port` of each server.
    pub hosts: Vec<String>,
    /// Where everything is kept: `/torana/rs0`.
    pub root: String,
    /// After this long without a word of us, the servers forget the session. Below 1.5 s the client reconnects for ever.
    pub session_timeout: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
}

impl From<&ZooKeeperConfig> for ZooKeeperOptions {
    fn from(config: &ZooKeeperConfig) -> Self {
        ZooKeeperOptions {
            hosts: config.hosts.clone(),
            root: config.root.clone(),
            session_timeout: config.limits.session_timeout,
            request_timeout: config.limits.request_timeout,
        }
    }
}

/// The register as it was last seen: its time, and the version and the birth of its node.
#[derive(Debug, Clone, Copy)]
struct Seen {
    time: u64,
    version: i32,
    born: i64,
}

/// Bytes that torana did not write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} holds {length} bytes that torana did not write: give this set another root, or remove them")]
pub struct MarkError {
    /// The node.
    pub path: String,
    /// How many bytes there are.
    pub length: usize,
}

/// What an attempt to write the register came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It says the target now, and nobody else has written since it was last seen.
    Written,
    /// Somebody else has; it was looked at again, and says this, or did a moment ago.
    Behind(u64),
}

/// A session with an ensemble, for as long as nothing goes wrong.
pub struct ZooKeeper {
    client: Arc<zookeeper_async::ZooKeeper>,
    path: String,
    tags_path: String,
    request_timeout: Duration,
    requests: u32,
    seen: Option<Seen>,
    /// The connection has changed: answers may be taken for others'.
    is_lost: Arc<AtomicBool>,
    lost: Arc<Notify>,
}

impl ZooKeeper {
    /// Connects, within the time-out of the session.
    pub async fn connect(options: &ZooKeeperOptions) -> anyhow::Result<ZooKeeper> {
        let mut addresses = Vec::new();
        let mut unresolved = None;
        for host in &options.hosts {
            match timeout(options.request_timeout, tokio::net::lookup_host(host.as_str())).await {
                Ok(Ok(found)) => addresses.extend(found),
                Ok(Err(error)) => unresolved = Some(format!("{host}: {error}")),
                Err(_) => unresolved = Some(format!("{host}: its name is not resolved in time")),
            }
        }
        if let (true, Some(cause)) = (addresses.is_empty(), unresolved) {
            anyhow::bail!("no ZooKeeper server has an address: {cause}");
        }
        addresses.shuffle(&mut rand::rng());
        let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let connecting = zookeeper_async::ZooKeeper::connect_with_retry_time(
            &list,
            options.session_timeout,
            |_: WatchedEvent| {},
            RETRY_AFTER,
        );
        let none = || anyhow::anyhow!("none of {} answers", options.hosts.join(", "));
        let client = timeout(options.session_timeout, connecting).await.map_err(|_| none())??;
        let (is_lost, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let (flag, wakes) = (is_lost.clone(), lost.clone());
        client.add_listener(move |state| {
            if state != ZkState::Connected {
                flag.store(true, Ordering::Release);
                wakes.notify_one();
            }
        });
        Ok(ZooKeeper {
            client: Arc::new(client),
            path: format!("{}/horizon", options.root),
            tags_path: format!("{}/tags", options.root),
            request_timeout: options.request_timeout,
            requests: 0,
            seen: None,
            is_lost,
            lost,
        })
    }

    /// One request. An error, and no answer in time, is the end of this session: the caller drops it.
    pub(super) async fn call<T>(
        &mut self,
        request: impl Future<Output = ZkResult<T>>,
    ) -> anyhow::Result<ZkResult<T>> {
        self.requests += 1;
        anyhow::ensure!(self.requests < REQUESTS_MAX, "the session has served its requests");
        let limit = self.request_timeout;
        let answer = timeout(limit, request).await;
        let answer =
            answer.map_err(|_| anyhow::anyhow!("{} was not answered within {limit:?}", self.path))?;
        anyhow::ensure!(!self.is_lost.load(Ordering::Acquire), "the connection was lost");
        match answer {
            Err(ZkError::NoAuth | ZkError::AuthFailed) => {
                anyhow::bail!("{}: its access control list does not let torana in", self.path)
            }
            answer => Ok(answer),
        }
    }

    /// Looks at the register; `None` if there is none.
    async fn look(&mut self) -> anyhow::Result<Option<Seen>> {
        let client = self.client.clone();
        let path = self.path.clone();
        match self.call(client.get_data(&path, false)).await? {
            Ok((data, stat)) => {
                let time = decode(&data).ok_or(MarkError { path, length: data.len() })?;
                self.seen = Some(Seen { time, version: stat.version, born: stat.czxid });
                Ok(self.seen)
            }
            Err(ZkError::NoNode) => {
                self.seen = None;
                Ok(None)
            }
            Err(error) => anyhow::bail!("{path}: {error}"),
        }
    }

    /// Makes the register, and what is above it, with what `first` says.
    async fn create(&mut self, first: u64) -> anyhow::Result<()> {
        let path = self.path.clone();
        self.create_above(&path).await?;
        self.make(&path, encode(first)).await
    }

    /// Makes the nodes above `path`.
    pub(super) async fn create_above(&mut self, path: &str) -> anyhow::Result<()> {
        let above = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| &path[..at]);
        for node in above {
            self.make(node, Vec::new()).await?;
        }
        Ok(())
    }

    async fn make(&mut self, node: &str, data: Vec<u8>) -> anyhow::Result<()> {
        let client = self.client.clone();
        let acl: Vec<Acl> = Acl::open_unsafe().clone();
        match self.call(client.create(node, data, acl, CreateMode::Persistent)).await? {
            Ok(_) | Err(ZkError::NodeExists) => Ok(()),
            Err(error) => anyhow::bail!("{node}: {error}"),
        }
    }

    pub(super) fn client(&self) -> Arc<zookeeper_async::ZooKeeper> {
        self.client.clone()
    }

    pub(super) fn tags_path(&self) -> String {
        self.tags_path.clone()
    }

    /// Has the register say `target`, if nobody has written it since it was last seen here. A register that is missing
    /// is made, and says `first` unless `target` is later. Any error is the end of this session.
    pub async fn write(&mut self, target: u64, first: impl Fn() -> u64) -> anyhow::Result<Attempt> {
        let seen = match self.seen {
            Some(seen) => seen,
            None => match self.look().await? {
                Some(seen) => seen,
                None => {
                    let first = target.max(first());
                    tracing::info!(path = self.path, "there is no horizon in ZooKeeper yet: it is made");
                    self.create(first).await?;
                    let seen = self.look().await?;
                    seen.ok_or_else(|| anyhow::anyhow!("{} was removed at once", self.path))?
                }
            },
        };
        if seen.time > target {
            return Ok(Attempt::Behind(seen.time));
        }
        let (client, path) = (self.client.clone(), self.path.clone());
        match self.call(client.set_data(&path, encode(target), Some(seen.version))).await? {
            Ok(now) => {
                anyhow::ensure!(follows(seen, &now), "an answer to something else");
                self.seen = Some(Seen { time: target, version: now.version, born: now.czxid });
                Ok(Attempt::Written)
            }
            Err(ZkError::BadVersion | ZkError::NoNode) => match self.look().await? {
                Some(seen) => Ok(Attempt::Behind(seen.time)),
                None => Ok(Attempt::Behind(0)),
            },
            Err(error) => anyhow::bail!("{path}: {error}"),
        }
    }

    /// Removes the register. Whoever is connected writes it again, with what is known there.
    pub async fn remove(&mut self) -> anyhow::Result<()> {
        let (client, path) = (self.client.clone(), self.path.clone());
        match self.call(client.delete(&path, None)).await? {
            Ok(()) | Err(ZkError::NoNode) => Ok(()),
            Err(error) => anyhow::bail!("{path}: {error}"),
        }
    }

    /// Ends the session; without it the servers keep it until its time-out.
    pub async fn close(self) {
        // Done by `drop`, which others wait for less long.
        let client = self.client.clone();
        let _ = timeout(CLOSED_WITHIN, client.close()).await;
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        let client = self.client.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { timeout(CLOSED_WITHIN, client.close()).await });
        }
    }
}

/// Keeps `horizon` in its register, for ever: one compare-and-set at a time, for all who wait. `first` says what a
/// register that is missing has to begin with: no earlier than anything that the set's clients may have been told.
/// `tagging` is told of the tags that stand beside it.
pub async fn keep(
    horizon: Arc<Horizon>,
    tagging: Arc<Tagging>,
    options: ZooKeeperOptions,
    first: impl Fn() -> u64,
) {
    let mut rest = BACKOFF[0];
    let mut tags = TagsSeen { tagging, last: Vec::new(), trouble: None };
    loop {
        let ended = match ZooKeeper::connect(&options).await {
            Ok(mut session) => serve(&horizon, &mut session, &mut tags, &first, &mut rest).await,
            Err(error) => error,
        };
        // Said once, until it works again.
        if !horizon.is_troubled() {
            tracing::warn!("the horizon cannot be kept in ZooKeeper: {ended:#}; trying again");
        }
        horizon.failed(format!("{ended:#}"));
        sleep(rest).await;
        rest = (rest * 2).min(BACKOFF[1]);
    }
}

/// Serves who waits, until something is wrong.
async fn serve(
    horizon: &Horizon,
    session: &mut ZooKeeper,
    tags: &mut TagsSeen,
    first: &impl Fn() -> u64,
    rest: &mut Duration,
) -> anyhow::Error {
    let lost = session.lost.clone();
    let mut look_at = Instant::now();
    loop {
        if Instant::now() >= look_at {
            if let Err(error) = tags.look(session).await {
                return error;
            }
            look_at = Instant::now() + TAGS_EVERY;
        }
        // After trouble it is written even if nobody waits: that it can be kept again is known then.
        if !horizon.has_work() && !horizon.is_troubled() {
            tokio::select! {
                () = horizon.work.notified() => {}
                () = lost.notified() => return anyhow::anyhow!("the connection was lost"),
                () = sleep_until(look_at) => {}
            }
            continue;
        }
        // Before the request is sent: who asks later is not served by it.
        let number = horizon.begins();
        let target = horizon.target();
        match session.write(target, first).await {
            Ok(Attempt::Written) => {
                if horizon.is_troubled() {
                    tracing::info!("the horizon is kept in ZooKeeper again");
                }
                horizon.wrote(target, number);
                *rest = BACKOFF[0];
            }
            Ok(Attempt::Behind(time)) => horizon.saw(time),
            Err(error) => return error,
        }
    }
}

/// The tags that stand in ZooKeeper, as they were seen last.
struct TagsSeen {
    tagging: Arc<Tagging>,
    last: Vec<Tag>,
    /// What is wrong with them, and was said.
    trouble: Option<String>,
}

impl TagsSeen {
    /// Takes up what stands there now. What is not understood changes nothing. An error is the end of the session.
    async fn look(&mut self, session: &mut ZooKeeper) -> anyhow::Result<()> {
        let tags = match session.tags().await {
            Ok(tags) => tags,
            Err(TagsError::Session(error)) => return Err(error),
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    tracing::error!("the tags of before stay: {text}");
                    self.trouble = Some(text);
                }
                return Ok(());
            }
        };
        self.trouble = None;
        if tags != self.last {
            let list: Vec<String> = tags.iter().map(|tag| format!("{}={}", tag.pattern, tag.level)).collect();
            tracing::info!(
                "tags in ZooKeeper: {}",
                if list.is_empty() { "none".to_owned() } else { list.join(" ") }
            );
            self.tagging.say(&tags);
            self.last = tags;
        }
        Ok(())
    }
}

/// Whether a set was answered by its own answer: it is the next version of the same node.
fn follows(before: Seen, now: &Stat) -> bool {
    now.version == before.version.wrapping_add(1) && now.czxid == before.born
}

fn encode(time: u64) -> Vec<u8> {
    [MARK.as_slice(), &time.to_be_bytes()].concat()
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let time = bytes.strip_prefix(MARK)?;
    Some(u64::from_be_bytes(time.try_into().ok()?))
}

impl std::fmt::Debug for ZooKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZooKeeper")
            .field("path", &self.path)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_other_bytes_are_not(
            time: u64,
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assert_eq!(decode(&encode(time)), Some(time));
            prop_assert_eq!(decode(&bytes), None);
            prop_assert_eq!(decode(&[encode(time), vec![0]].concat()), None);
        }
    }
}
