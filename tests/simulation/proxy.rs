//! torana without its sockets: the real topology, pools, roster and transactions, joined as `src/proxy/set.rs` joins
//! them.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, interval, sleep, timeout};
use torana::pool::{CheckoutError, Class, Pool, PoolOptions};
use torana::proxy::count::Count;
use torana::proxy::roster::{Roster, Served};
use torana::proxy::transactions::{Orphan, Transactions};
use torana::topology::{HostPort, Member, Topology, TopologyEvent, TopologyOptions};

use crate::held::Held;
use crate::ledger::{Lane, Ledger, Observer};
use crate::monitoring::SimDial;
use crate::node::Transaction;
use crate::request::{Op, Request};
use crate::wire::SimConnector;
use crate::world::World;

/// `limits.transaction_orphan_timeout`.
pub const ORPHANED_AFTER: Duration = Duration::from_secs(2);

/// `reaper::WITHIN`.
const ABORT_WITHIN: Duration = Duration::from_secs(10);

/// How often `set.rs` looks for orphans.
const TICK: Duration = Duration::from_secs(1);

/// Who asks on torana's own account.
pub const TORANA: u64 = 0;

/// One member as it is served.
pub struct SimMember {
    pub port: u16,
    pub pool: Pool<SimConnector>,
    pub monitored: Arc<Member>,
    pub ledger: Arc<Ledger>,
    /// As `Member::drained`.
    pub drained: Count,
    pub is_removed: AtomicBool,
    removed: Notify,
    /// What is in flight is given up.
    pub given_up: Notify,
    pub wait_timeout: Duration,
    /// Awaiting operations have connections of their own.
    pub has_extra: bool,
}

impl SimMember {
    /// Returns when the member has left the set. Its sessions end then, as by `Registry::end_listener`.
    pub async fn until_removed(&self) {
        let removed = self.removed.notified();
        if !self.is_removed.load(Ordering::Relaxed) {
            removed.await;
        }
    }
}

pub struct Serving(pub Arc<SimMember>);

impl Served for Serving {
    fn monitored(&self) -> &Arc<Member> {
        &self.0.monitored
    }

    fn pause(&self, cause: &str) {
        self.0.pool.pause(cause);
    }

    fn resume(&self) {
        self.0.pool.resume();
    }

    fn clear(&self, cause: &str) {
        self.0.pool.clear(cause);
    }
}

/// The set, as torana serves it.
pub struct Proxy {
    pub world: Arc<World>,
    pub topology: Topology,
    pub transactions: Transactions<SimMember>,
    pub options: PoolOptions,
    /// Binding a listener takes so long: further events wait.
    bind_time: Duration,
    roster: Mutex<Roster<Serving>>,
    /// Transactions whose client is there.
    in_use: Mutex<BTreeSet<Transaction>>,
    nonces: AtomicU64,
}

impl Proxy {
    pub fn start(
        world: Arc<World>,
        topology: TopologyOptions,
        options: PoolOptions,
        bind_time: Duration,
    ) -> Arc<Proxy> {
        let (topology, events) = Topology::start_by(SimDial(world.clone()), topology);
        let proxy = Arc::new(Proxy {
            world,
            topology,
            transactions: Transactions::default(),
            options,
            bind_time,
            roster: Mutex::default(),
            in_use: Mutex::default(),
            nonces: AtomicU64::new(1),
        });
        tokio::spawn(proxy.clone().run(events));
        proxy
    }

    async fn run(self: Arc<Self>, mut events: mpsc::Receiver<TopologyEvent>) {
        self.topology.first_ready().await;
        self.follow();
        let mut ticks = interval(TICK);
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => self.on_event(event).await,
                    None => return,
                },
                _ = ticks.tick() => self.abort_orphans(),
            }
        }
    }

    async fn on_event(self: &Arc<Self>, event: TopologyEvent) {
        self.world.note(|| format!("torana: {}", told(&event)));
        self.roster.lock().unwrap().apply(&event);
        match &event {
            TopologyEvent::MemberAdded(_) | TopologyEvent::MemberRemoved(_) => {
                self.follow();
                sleep(self.bind_time).await;
            }
            TopologyEvent::MemberLost { member, loss } => {
                let port = member.name.port();
                let is_excused = self.world.is_excused(port, Instant::now());
                self.world.check(is_excused, || format!("{port} is lost without a fault: {}", loss.cause));
                self.expect_nobody_waits(member);
                if loss.is_silent
                    && let Some(served) = self.served(member)
                {
                    served.given_up.notify_waiters();
                }
            }
            TopologyEvent::MemberRecovered(member) => self.expect_open(member),
            _ => {}
        }
    }

    /// As `SetRunner::follow`.
    fn follow(&self) {
        let current = self.topology.members();
        let mut roster = self.roster.lock().unwrap();
        for Serving(gone) in roster.take_gone(&current) {
            gone.is_removed.store(true, Ordering::Relaxed);
            gone.removed.notify_waiters();
            gone.pool.close();
        }
        for monitored in roster.missing(&current) {
            let port = monitored.name.port();
            let ledger = Ledger::new(self.world.clone(), port, self.options.clone());
            let connector = SimConnector { world: self.world.clone(), ledger: ledger.clone(), port };
            let observer = Arc::new(Observer(ledger.clone()));
            let pool = Pool::new(self.options.clone(), connector, observer).unwrap();
            let member = SimMember {
                port,
                pool,
                monitored,
                ledger,
                drained: Count::default(),
                is_removed: AtomicBool::new(false),
                removed: Notify::new(),
                given_up: Notify::new(),
                wait_timeout: self.options.wait_timeout,
                has_extra: self.options.awaiting_max.is_some(),
            };
            roster.add(Serving(Arc::new(member)));
        }
    }

    /// All members, by name.
    pub fn members(&self) -> Vec<Arc<SimMember>> {
        self.roster.lock().unwrap().iter().map(|serving| serving.0.clone()).collect()
    }

    /// Who counts as primary.
    pub fn primary(&self) -> Option<Arc<SimMember>> {
        let primary = self.topology.primary()?;
        self.roster.lock().unwrap().get(primary.name.spelled()).map(|serving| serving.0.clone())
    }

    fn served(&self, member: &Arc<Member>) -> Option<Arc<SimMember>> {
        self.roster.lock().unwrap().serving(member).map(|serving| serving.0.clone())
    }

    /// Who waited when the member was lost has been told by the next moment.
    fn expect_nobody_waits(&self, member: &Arc<Member>) {
        let Some(served) = self.served(member) else { return };
        let (world, before) = (self.world.clone(), served.ledger.resumes());
        tokio::spawn(async move {
            sleep(Duration::from_millis(1)).await;
            let waiting = served.pool.status().waiting;
            let is_told = waiting == 0 || served.ledger.resumes() != before;
            world.check(is_told, || format!("member {} is lost and {waiting} still wait", served.port));
        });
    }

    /// A checkout may wait for a connection again, and is not refused.
    fn expect_open(&self, member: &Arc<Member>) {
        let Some(served) = self.served(member) else { return };
        let mut checkout = pin!(served.pool.check_out(Class::Relief, Some(Instant::now())));
        if let Poll::Ready(answer) = checkout.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            let refused = matches!(answer, Err(CheckoutError::Unavailable { .. }));
            self.world.check(!refused, || format!("member {} is back and its pool refuses", served.port));
            if let Ok(checkout) = answer {
                checkout.finish();
            }
        }
    }

    /// A request of torana's own.
    pub fn own_request(&self, op: Op) -> Request {
        let nonce = self.nonces.fetch_add(1, Ordering::Relaxed);
        Request { client: TORANA, nonce, op, service: Duration::from_millis(1) }
    }

    pub fn takes_part(&self, transaction: Transaction) {
        self.in_use.lock().unwrap().insert(transaction);
    }

    pub fn parts_with(&self, transaction: Transaction) {
        self.in_use.lock().unwrap().remove(&transaction);
    }

    /// As `reaper::reap`, but all at once.
    fn abort_orphans(self: &Arc<Self>) {
        let taken = std::iter::from_fn(|| self.transactions.take_orphan(ORPHANED_AFTER));
        let mut orphans: Vec<_> = taken.collect();
        // They come in an order that changes from run to run.
        orphans.sort_unstable_by_key(|orphan| orphan.id.session);
        orphans.into_iter().for_each(|orphan| drop(tokio::spawn(abort(self.clone(), orphan))));
    }
}

/// As `reaper::abort`.
async fn abort(proxy: Arc<Proxy>, orphan: Orphan<SimMember>) {
    let (world, member) = (&proxy.world, orphan.member().clone());
    let transaction = (orphan.id.session[0], orphan.id.number);
    world.note(|| format!("torana: aborts {transaction:?} on {}", member.port));
    let is_in_use = proxy.in_use.lock().unwrap().contains(&transaction);
    world.check(!is_in_use, || format!("{transaction:?} is aborted, and its client is still there"));
    let elsewhere: Vec<u16> = {
        let cluster = world.cluster();
        let others = cluster.nodes.values().filter(|node| node.port != member.port);
        others.filter(|node| node.open.contains(&transaction)).map(|node| node.port).collect()
    };
    world.check(elsewhere.is_empty(), || {
        format!("{transaction:?} is aborted on {} and open on {elsewhere:?}", member.port)
    });
    match timeout(ABORT_WITHIN, try_abort(&proxy, &member, transaction)).await {
        Ok(Ok(()) | Err(Some(CheckoutError::Closed))) => {}
        _ => proxy.transactions.not_aborted(orphan),
    }
}

async fn try_abort(
    proxy: &Proxy,
    member: &Arc<SimMember>,
    transaction: Transaction,
) -> Result<(), Option<CheckoutError>> {
    let mut server = Held::check_out(&proxy.world, member, Lane::Relief, true, None).await.map_err(Some)?;
    let request = proxy.own_request(Op::Abort(transaction));
    server.send(&request);
    server.receive(&request).await.map_err(|_| None)?;
    server.finish();
    Ok(())
}

fn told(event: &TopologyEvent) -> String {
    match event {
        TopologyEvent::MemberAdded(member) => format!("{} added", member.name),
        TopologyEvent::MemberRemoved(member) => format!("{} removed", member.name),
        TopologyEvent::MemberLost { member, loss } => format!("{} lost: {}", member.name, loss.cause),
        TopologyEvent::MemberRecovered(member) => format!("{} answers", member.name),
        TopologyEvent::ServerRestarted(member) => format!("{} restarted", member.name),
        TopologyEvent::PrimaryChanged(change) => {
            let name =
                |member: &Option<HostPort>| member.as_ref().map_or("none".to_owned(), HostPort::to_string);
            format!("primary {} -> {}", name(&change.old), name(&change.new))
        }
    }
}
