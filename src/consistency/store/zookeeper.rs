//! Floors in ZooKeeper, shared by all toranas of a set.
//!
//! What zookeeper-async 5.0.0 leaves to its users is guarded against here, and nowhere else. Requests have no time-out:
//! each gets one. Names are looked up by blocking: they are resolved before. The hosts are tried in their order:
//! they are shuffled. After a reconnect a session may be shown an older state: whatever was read across one is read again
//! behind a barrier. Watches do not survive one: none is used. A client that is dropped without being closed goes on for
//! ever: it is closed, whatever ends it.
//!
//! Still to be guarded against before anything serves by it: the client matches replies by their order alone, and may be
//! off by one after a reconnect (what a set answers is checked, what a get answers is not); one that hangs has to be
//! replaced by another; raises of one document are to be made one after the other; an ensemble that lost its data gives
//! out epochs again, and knows less than the bases that are remembered here.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use zookeeper_async::{Acl, CreateMode, Stat, WatchedEvent, ZkError, ZkResult, ZkState};

use super::key::{CollectionKey, DocumentKey};
use super::value::{Floor, Malformed, decode, decode_number, encode, encode_number};
use super::{FloorStore, Seen, StoreError};

/// What the root holds, so that another application's data is not taken for ours.
const MARK: &[u8] = b"torana floors 1";

/// What the names of epochs begin with, before ZooKeeper's ten digits.
const EPOCH: &str = "epoch-";

/// How long a lost connection rests before the next attempt; without it the client spins.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// Requests of one session. The client numbers them with 32 bits, and mistakes some of those that follow.
const REQUESTS_MAX: u64 = 2_000_000_000;

/// How long a session that is let go may take to say so.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// How often a register is compared and set before giving up: others raise it in between, and each time it is higher.
const ATTEMPTS: usize = 20;

/// Bases remembered, so that raises that are covered cost nothing.
const BASES_MAX: usize = 10_000;

/// How to reach an ensemble.
#[derive(Debug, Clone)]
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

/// A session with an ensemble.
pub struct ZooKeeper {
    client: Arc<zookeeper_async::ZooKeeper>,
    /// Requests made: the client's own number of one must not overflow.
    requests: AtomicU64,
    options: ZooKeeperOptions,
    /// How often the connection was lost: what was read across a change is not trusted.
    changes: Arc<AtomicU64>,
    /// The number of `changes` that a barrier has followed.
    proven: AtomicU64,
    epoch: u32,
    /// The epoch's own register, through which barriers go.
    own: String,
    barriers: Barriers,
    /// Writes settled, to be told with the next barrier.
    settled: AtomicU64,
    bases: std::sync::Mutex<HashMap<String, Arc<Base>>>,
}

#[derive(Debug, Default)]
struct Barriers {
    begun: AtomicU64,
    /// How many have ended: one at a time.
    ended: Mutex<u64>,
}

/// What is known of a collection's base. One raise at a time, for all who wait.
#[derive(Debug, Default)]
struct Base {
    wanted: AtomicU64,
    known: Mutex<u64>,
}

impl ZooKeeper {
    /// Connects, and takes an epoch. Fails if no server serves within the session's time-out, some requests more at most.
    pub async fn connect(options: ZooKeeperOptions) -> Result<ZooKeeper, StoreError> {
        let root = options.root.as_str();
        if !root.starts_with('/') || root.ends_with('/') || root.contains("//") {
            return Err(StoreError::Root(options.root));
        }
        let mut addresses = Vec::new();
        for host in &options.hosts {
            match tokio::net::lookup_host(host.as_str()).await {
                Ok(found) => addresses.extend(found),
                Err(error) => tracing::warn!(host, %error, "a ZooKeeper server's name has no address"),
            }
        }
        if addresses.is_empty() {
            let hosts = options.hosts.join(", ");
            return Err(StoreError::Unavailable(format!("no ZooKeeper server has an address: {hosts}")));
        }
        addresses.shuffle(&mut rand::rng());
        let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let connecting = zookeeper_async::ZooKeeper::connect_with_retry_time(
            &list,
            options.session_timeout,
            |_: WatchedEvent| {},
            RETRY_AFTER,
        );
        let connected = timeout(options.session_timeout, connecting).await;
        let client = connected.map_err(|_| unavailable("connecting", "no server answers"))?;
        let client = client.map_err(|error| unavailable("connecting", error))?;
        let changes = Arc::new(AtomicU64::new(0));
        let seen = changes.clone();
        client.add_listener(move |state| {
            if state != ZkState::Connected {
                seen.fetch_add(1, Ordering::AcqRel);
                tracing::info!(?state, "the session with ZooKeeper changes");
            }
        });
        let mut store = ZooKeeper {
            client: Arc::new(client),
            requests: AtomicU64::new(0),
            options,
            changes,
            proven: AtomicU64::new(u64::MAX),
            epoch: 0,
            own: String::new(),
            barriers: Barriers::default(),
            settled: AtomicU64::new(0),
            bases: std::sync::Mutex::default(),
        };
        // A server may take a connection and close it, as it has no quorum yet.
        let until = Instant::now() + store.options.session_timeout;
        loop {
            match store.begin().await {
                Ok(()) => return Ok(store),
                Err(StoreError::Unavailable(_)) if Instant::now() < until => sleep(RETRY_AFTER).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        self.prepare().await?;
        self.barrier().await
    }

    /// Makes what is missing, and takes an epoch.
    async fn prepare(&mut self) -> Result<(), StoreError> {
        let root = self.options.root.clone();
        let parents =
            root.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| root[..at].to_owned());
        for parent in parents {
            self.make(&parent, Vec::new()).await?;
        }
        if !self.make(&root, MARK.to_vec()).await? {
            let (data, _) = self.call(&root, self.client.get_data(&root, false)).await?;
            if data != MARK {
                return Err(StoreError::Foreign { path: root, cause: Malformed::Length(data.len()) });
            }
        }
        for folder in ["c", "e"] {
            self.make(&format!("{root}/{folder}"), Vec::new()).await?;
        }
        let path = format!("{root}/e/{EPOCH}");
        let created = self.client.create(&path, encode_number(0), acl(), CreateMode::PersistentSequential);
        // A name that is lost on its way is never used again, which is all that an epoch is for.
        self.own = self.call(&path, created).await?;
        let number = self.own.strip_prefix(&path).and_then(|number| number.parse().ok());
        self.epoch = number.ok_or_else(|| unavailable(&self.own, "no number"))?;
        Ok(())
    }

    /// Makes a node; false if there is one already.
    async fn make(&self, path: &str, data: Vec<u8>) -> Result<bool, StoreError> {
        let creating = self.client.create(path, data, acl(), CreateMode::Persistent);
        match self.call_raw(path, creating).await? {
            Ok(_) => Ok(true),
            Err(ZkError::NodeExists) => Ok(false),
            Err(error) => Err(failed(path, error)),
        }
    }

    /// A request with a time-out. The outer error is for what no answer was got to.
    async fn call_raw<T>(
        &self,
        path: &str,
        request: impl Future<Output = ZkResult<T>>,
    ) -> Result<ZkResult<T>, StoreError> {
        if self.requests.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
            return Err(unavailable(path, "this session has served its requests"));
        }
        timeout(self.options.request_timeout, request).await.map_err(|_| {
            let limit = self.options.request_timeout;
            StoreError::Unavailable(format!("ZooKeeper did not answer within {limit:?}: {path}"))
        })
    }

    async fn call<T>(&self, path: &str, request: impl Future<Output = ZkResult<T>>) -> Result<T, StoreError> {
        self.call_raw(path, request).await?.map_err(|error| failed(path, error))
    }

    async fn get(&self, path: &str) -> Result<Option<(Vec<u8>, Stat)>, StoreError> {
        match self.call_raw(path, self.client.get_data(path, false)).await? {
            Ok(found) => Ok(Some(found)),
            Err(ZkError::NoNode) => Ok(None),
            Err(error) => Err(failed(path, error)),
        }
    }

    async fn get_number(&self, path: &str) -> Result<u64, StoreError> {
        match self.get(path).await? {
            Some((data, _)) => decode_number(&data).map_err(|cause| foreign(path, cause)),
            None => Ok(0),
        }
    }

    /// `read` as of after the last barrier: again behind a new one if the session changed meanwhile. A connection that
    /// is lost under it is no answer either, for as long as three requests may take.
    async fn fresh<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        read: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let until = Instant::now() + self.options.request_timeout * 3;
        loop {
            match self.read_once(&read).await {
                Ok(Some(result)) => return Ok(result),
                Ok(None) if Instant::now() < until => {}
                Ok(None) => return Err(unavailable(&self.options.root, "the session changes all the time")),
                Err(StoreError::Unavailable(_)) if Instant::now() < until => sleep(RETRY_AFTER).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// `None` if the session changed meanwhile.
    async fn read_once<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        read: &impl Fn() -> F,
    ) -> Result<Option<T>, StoreError> {
        let before = self.changes.load(Ordering::Acquire);
        if self.proven.load(Ordering::Acquire) != before {
            self.barrier().await?;
            if self.proven.load(Ordering::Acquire) != before {
                return Ok(None);
            }
        }
        let result = read().await?;
        Ok((self.changes.load(Ordering::Acquire) == before).then_some(result))
    }

    fn folder(&self, collection: &CollectionKey) -> String {
        format!("{}/c/{}", self.options.root, collection.as_str())
    }

    /// In folders of their own by the first two digits: a server cannot list some hundred thousand at once.
    fn document(&self, collection: &CollectionKey, document: DocumentKey) -> String {
        let name = document.to_string();
        format!("{}/{}/{}", self.folder(collection), &name[..2], name)
    }

    async fn make_folders(&self, path: &str) -> Result<(), StoreError> {
        let start = self.options.root.len() + "/c/".len();
        let slashes = path.char_indices().filter(|(at, c)| *at > start && *c == '/');
        for (at, _) in slashes {
            // The collection's folder holds its base.
            let data = if path[start..at].contains('/') { Vec::new() } else { encode_number(0) };
            self.make(&path[..at], data).await?;
        }
        Ok(())
    }

    fn known_base(&self, collection: &CollectionKey) -> Arc<Base> {
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        if bases.len() >= BASES_MAX && !bases.contains_key(collection.as_str()) {
            // Only what spares a request is forgotten; whoever waits on one of them holds it.
            bases.clear();
        }
        bases.entry(collection.as_str().to_owned()).or_default().clone()
    }

    async fn set_base(&self, path: &str, time: u64) -> Result<u64, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some((data, stat)) = self.get(path).await? else {
                self.make(path, encode_number(0)).await?;
                continue;
            };
            let old = decode_number(&data).map_err(|cause| foreign(path, cause))?;
            if old >= time {
                return Ok(old);
            }
            let setting = self.client.set_data(path, encode_number(time), Some(stat.version));
            match self.call_raw(path, setting).await? {
                Ok(now) => return follows(path, &stat, &now).map(|()| time),
                Err(ZkError::BadVersion | ZkError::NoNode) => {}
                Err(error) => return Err(failed(path, error)),
            }
        }
        Err(unavailable(path, "others raise it all the time"))
    }

    /// Ends the session; without it the servers keep it until its time-out.
    pub async fn close(&self) {
        if let Err(error) = self.call(&self.own, self.client.close()).await {
            tracing::debug!(%error, "the session with ZooKeeper was not closed");
        }
    }
}

impl FloorStore for ZooKeeper {
    fn epoch(&self) -> u32 {
        self.epoch
    }

    async fn read(&self, collection: &CollectionKey, document: DocumentKey) -> Result<Seen, StoreError> {
        let (folder, path) = (self.folder(collection), self.document(collection, document));
        self.fresh(|| async {
            // Both at once, and answered in this order by the one session.
            let (floor, base) = tokio::join!(biased; self.get(&path), self.get_number(&folder));
            let floor = floor?.map(|(data, stat)| held(&path, &data, &stat)).transpose()?;
            let is_doubtful = floor.is_some_and(|(_, is_doubtful)| is_doubtful);
            Ok(Seen { floor: floor.map(|(floor, _)| floor), is_doubtful, base: base? })
        })
        .await
    }

    async fn base(&self, collection: &CollectionKey) -> Result<u64, StoreError> {
        let folder = self.folder(collection);
        self.fresh(|| self.get_number(&folder)).await
    }

    async fn raise(
        &self,
        collection: &CollectionKey,
        document: DocumentKey,
        wanted: Floor,
    ) -> Result<bool, StoreError> {
        self.write(collection, document, wanted, false).await
    }

    async fn settle(
        &self,
        collection: &CollectionKey,
        document: DocumentKey,
        wanted: Floor,
    ) -> Result<(), StoreError> {
        self.write(collection, document, wanted, true).await.map(drop)
    }

    async fn raise_base(&self, collection: &CollectionKey, time: u64) -> Result<(), StoreError> {
        let base = self.known_base(collection);
        base.wanted.fetch_max(time, Ordering::AcqRel);
        let mut known = self.turn(&base.known).await?;
        if *known < time {
            // For those who wait behind, too.
            let wanted = base.wanted.load(Ordering::Acquire);
            *known = self.set_base(&self.folder(collection), wanted).await?;
        }
        Ok(())
    }

    async fn barrier(&self) -> Result<(), StoreError> {
        let begun = self.barriers.begun.load(Ordering::Acquire);
        let mut ended = self.turn(&self.barriers.ended).await?;
        if *ended > begun {
            return Ok(());
        }
        let number = self.barriers.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let before = self.changes.load(Ordering::Acquire);
        let done = encode_number(self.settled.load(Ordering::Acquire));
        self.call(&self.own, self.client.set_data(&self.own, done, None)).await?;
        self.proven.store(before, Ordering::Release);
        *ended = number;
        Ok(())
    }

    async fn done(&self, epoch: u32) -> Result<u64, StoreError> {
        let path = format!("{}/e/{EPOCH}{epoch:010}", self.options.root);
        self.fresh(|| self.get_number(&path)).await
    }

    async fn raise_done(&self, serial: u64) -> Result<(), StoreError> {
        self.settled.fetch_max(serial, Ordering::AcqRel);
        self.barrier().await
    }
}

impl ZooKeeper {
    /// Waits for one's turn, behind some others at most: each of them is bounded in time, and so is this.
    async fn turn<'a, T>(&self, turns: &'a Mutex<T>) -> Result<tokio::sync::MutexGuard<'a, T>, StoreError> {
        let waiting = timeout(self.options.request_timeout * 2, turns.lock());
        waiting.await.map_err(|_| unavailable(&self.options.root, "others wait for it, too, in vain"))
    }

    /// Compare and set, until it holds. False if what stands there is in doubt, and the doubt is not to be settled.
    async fn write(
        &self,
        collection: &CollectionKey,
        document: DocumentKey,
        wanted: Floor,
        settles: bool,
    ) -> Result<bool, StoreError> {
        let path = self.document(collection, document);
        for _ in 0..ATTEMPTS {
            let Some((data, stat)) = self.get(&path).await? else {
                let creating = self.client.create(&path, encode(&wanted, 0), acl(), CreateMode::Persistent);
                match self.call_raw(&path, creating).await? {
                    Ok(_) => return Ok(true),
                    Err(ZkError::NodeExists) => {}
                    Err(ZkError::NoNode) => self.make_folders(&path).await?,
                    Err(error) => return Err(failed(&path, error)),
                }
                continue;
            };
            let (old, is_doubtful) = held(&path, &data, &stat)?;
            let floor = match old.raised_to(wanted) {
                _ if is_doubtful && !settles => return Ok(false),
                Some(floor) => floor,
                None if is_doubtful => old,
                None => return Ok(true),
            };
            let value = encode(&floor, birth(&stat));
            match self.call_raw(&path, self.client.set_data(&path, value, Some(stat.version))).await? {
                Ok(now) => return follows(&path, &stat, &now).map(|()| true),
                Err(ZkError::BadVersion | ZkError::NoNode) => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        Err(unavailable(&path, "others raise it all the time"))
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

/// Whether a set was answered by its own answer: it is the next version of the same node.
fn follows(path: &str, before: &Stat, now: &Stat) -> Result<(), StoreError> {
    match now.version == before.version.wrapping_add(1) && now.czxid == before.czxid {
        true => Ok(()),
        false => Err(unavailable(path, "an answer to something else")),
    }
}

/// Which of the nodes of this path it is, from the first to the last.
fn birth(stat: &Stat) -> u64 {
    stat.czxid.unsigned_abs()
}

/// The floor that a node holds, and whether it was meant for an earlier node of the same path.
fn held(path: &str, data: &[u8], stat: &Stat) -> Result<(Floor, bool), StoreError> {
    let (floor, computed_for) = decode(data).map_err(|cause| foreign(path, cause))?;
    Ok((floor, computed_for != 0 && computed_for != birth(stat)))
}

fn acl() -> Vec<Acl> {
    Acl::open_unsafe().clone()
}

fn foreign(path: &str, cause: Malformed) -> StoreError {
    StoreError::Foreign { path: path.to_owned(), cause }
}

fn unavailable(what: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("ZooKeeper: {what}: {error}"))
}

fn failed(path: &str, error: ZkError) -> StoreError {
    match error {
        ZkError::NoAuth | ZkError::AuthFailed => StoreError::Forbidden(path.to_owned()),
        error => unavailable(path, error),
    }
}

impl std::fmt::Debug for ZooKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZooKeeper").field("root", &self.options.root).field("epoch", &self.epoch).finish()
    }
}
