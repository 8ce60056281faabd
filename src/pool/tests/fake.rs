//! A member that exists only in memory, and helpers to look at a pool from outside.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinHandle, yield_now};

use crate::pool::{
    Checkout, CheckoutError, Class, CloseReason, Connect, ConnectError, Connection, Pool, PoolEvents,
    PoolOptions,
};

/// How connects end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Works,
    Refuses,
    Hangs,
}

/// The member. Clones are one.
#[derive(Clone)]
pub(super) struct Member(Arc<Inner>);

struct Inner {
    connect_time: Duration,
    mode: Mutex<Mode>,
    attempts: AtomicUsize,
    connecting: Gauge,
    open: Gauge,
}

/// A number and the highest it has been.
#[derive(Default)]
struct Gauge(AtomicUsize, AtomicUsize);

impl Gauge {
    fn enter(&self) {
        let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.1.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Member {
    pub(super) fn new(connect_time: Duration) -> Self {
        Member(Arc::new(Inner {
            connect_time,
            mode: Mutex::new(Mode::Works),
            attempts: AtomicUsize::new(0),
            connecting: Gauge::default(),
            open: Gauge::default(),
        }))
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    /// Connects begun so far.
    pub(super) fn attempts(&self) -> usize {
        self.0.attempts.load(Ordering::SeqCst)
    }

    pub(super) fn connecting_peak(&self) -> usize {
        self.0.connecting.1.load(Ordering::SeqCst)
    }

    pub(super) fn open(&self) -> usize {
        self.0.open.0.load(Ordering::SeqCst)
    }

    pub(super) fn open_peak(&self) -> usize {
        self.0.open.1.load(Ordering::SeqCst)
    }
}

/// Leaves the member's count of connects under way however the connect ends.
struct Connecting<'a>(&'a Gauge);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Connect for Member {
    type Connection = FakeConnection;

    async fn connect(&self) -> Result<FakeConnection, ConnectError> {
        let id = self.0.attempts.fetch_add(1, Ordering::SeqCst);
        self.0.connecting.enter();
        let _connecting = Connecting(&self.0.connecting);
        tokio::time::sleep(self.0.connect_time).await;
        let mode = *self.0.mode.lock().unwrap();
        match mode {
            Mode::Works => {}
            Mode::Refuses => return Err(ConnectError::new("connection refused")),
            Mode::Hangs => pending().await,
        }
        self.0.open.enter();
        Ok(FakeConnection { id, member: self.clone(), broken: Arc::default(), dirty: false })
    }
}

pub(super) struct FakeConnection {
    pub(super) id: usize,
    member: Member,
    pub(super) broken: Arc<AtomicBool>,
    /// In the middle of an exchange.
    pub(super) dirty: bool,
}

impl Connection for FakeConnection {
    fn is_broken(&mut self, _idle: Duration) -> bool {
        self.broken.load(Ordering::SeqCst)
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.member.0.open.leave();
    }
}

/// Counts what the pool tells.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) closed: Mutex<Vec<CloseReason>>,
    pub(super) told: Mutex<Vec<String>>,
}

impl PoolEvents for Recorder {
    fn closed(&self, reason: CloseReason, _: Duration) {
        self.closed.lock().unwrap().push(reason);
    }

    fn cleared(&self, cause: &str) {
        self.told.lock().unwrap().push(format!("cleared: {cause}"));
    }

    fn paused(&self, cause: &str) {
        self.told.lock().unwrap().push(format!("paused: {cause}"));
    }

    fn resumed(&self) {
        self.told.lock().unwrap().push("resumed".to_owned());
    }
}

pub(super) type FakePool = Pool<Member>;
pub(super) type FakeCheckout = Checkout<Member>;
pub(super) type Outcome = Result<FakeCheckout, CheckoutError>;

pub(super) const MS: Duration = Duration::from_millis(1);

/// Small, and without limits of time that a test did not ask for.
pub(super) fn options(max: usize) -> PoolOptions {
    PoolOptions { max, idle_timeout: None, lifetime: None, jitter_seed: 1, ..PoolOptions::default() }
}

pub(super) fn pool(options: PoolOptions) -> (FakePool, Member, Arc<Recorder>) {
    slow_pool(options, MS)
}

pub(super) fn slow_pool(options: PoolOptions, connect_time: Duration) -> (FakePool, Member, Arc<Recorder>) {
    let member = Member::new(connect_time);
    let recorder = Arc::new(Recorder::default());
    let pool = Pool::new(options, member.clone(), recorder.clone()).unwrap();
    (pool, member, recorder)
}

/// Lets every task do what it can without time passing.
pub(super) async fn settle() {
    for _ in 0..16 {
        yield_now().await;
    }
}

/// Checks out in a task of its own, and lets it begin to wait.
pub(super) async fn waiter(pool: &FakePool, class: Class) -> JoinHandle<Outcome> {
    let pool = pool.clone();
    let task = tokio::spawn(async move { pool.check_out(class, None).await });
    settle().await;
    task
}

/// Checks out `count` connections.
pub(super) async fn take(pool: &FakePool, class: Class, count: usize) -> Vec<FakeCheckout> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(pool.check_out(class, None).await.unwrap());
    }
    taken
}

/// Polls once.
pub(super) async fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Nothing has been lost: the pool still serves as many as it promises, all clean, and nobody is counted who left.
pub(super) async fn assert_whole(pool: &FakePool, member: &Member, max: usize) {
    settle().await;
    let status = pool.status();
    assert_eq!((status.out, status.waiting), (0, 0), "{status:?}");
    let reserve = (max / 8).max(1);
    let ordinary = take(pool, Class::Ordinary, max - reserve).await;
    let relief = take(pool, Class::Relief, reserve).await;
    assert!(ordinary.iter().chain(&relief).all(|checkout| !checkout.dirty));
    assert_eq!(member.open(), max);
    assert!(pool.try_check_out(Class::Relief).is_none());
    ordinary.into_iter().chain(relief).for_each(FakeCheckout::finish);
    settle().await;
    let status = pool.status();
    assert_eq!((status.size, status.idle, status.waiting), (max, max, 0), "{status:?}");
}
