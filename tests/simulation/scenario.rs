//! One run: a set, a torana, clients, faults; and what must hold when they are over.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, timeout};
use torana::pool::{CheckoutError, Class, PoolOptions};
use torana::topology::{HostPort, MemberKind, TopologyOptions};

use crate::chaos;
use crate::held::Held;
use crate::ledger::Lane;
use crate::proxy::{ORPHANED_AFTER, Proxy, SimMember};
use crate::request::Op;
use crate::session::{Ended, Session};
use crate::world::World;

/// How long faults go on.
const FAULTS: Duration = Duration::from_secs(6);
/// How long clients go on after the last fault: beyond every excuse.
const CALM: Duration = Duration::from_secs(5);
/// Then all that was left behind is gone: orphaned transactions, drained writes.
const REST: Duration = Duration::from_millis(3500);

thread_local! {
    /// Panics of spawned tasks, which tokio keeps to itself.
    pub static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// What came of a run.
pub struct Outcome {
    pub violations: Vec<String>,
    pub trace: Vec<String>,
    /// Operations that were answered.
    pub done: u64,
}

/// Runs a seed.
pub fn run(seed: u64, keeps_trace: bool, prints: bool) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let panics = PANICS.get();
    let mut outcome = runtime.block_on(scenario(seed, keeps_trace, prints));
    drop(runtime);
    if PANICS.get() != panics {
        outcome.violations.push("a task panicked".to_owned());
    }
    outcome
}

async fn scenario(seed: u64, keeps_trace: bool, prints: bool) -> Outcome {
    let mut dice = SmallRng::seed_from_u64(seed);
    let world = World::new(dice.random_range(2..=4), keeps_trace, prints);
    let options = pool_options(&mut dice, seed);
    world.note(|| format!("seed {seed}: {options:?}"));
    let bind_time = Duration::from_millis(dice.random_range(0..=300));
    let proxy = Proxy::start(world.clone(), topology_options(seed), options, bind_time);
    tokio::spawn(chaos::gossip(world.clone(), seed));
    let end = Instant::now() + FAULTS;
    let faults = tokio::spawn(chaos::faults(world.clone(), seed, end));
    let is_over = Arc::new(AtomicBool::new(false));
    let clients = dice.random_range(4..=12);
    let clients: Vec<_> =
        (1..=clients).map(|id| tokio::spawn(client(proxy.clone(), id, seed, is_over.clone()))).collect();
    let _ = faults.await;
    let outcome = |done| Outcome { violations: world.violations(), trace: world.trace(), done };
    chaos::heal_all(&world);
    world.note(|| "all is well".to_owned());
    sleep(CALM).await;
    if !world.violations().is_empty() {
        return outcome(0);
    }
    is_over.store(true, Ordering::Relaxed);
    let mut done = 0;
    for client in clients {
        // The longest work: a few statements, each waiting its time.
        match timeout(Duration::from_secs(30), client).await {
            Ok(Ok(operations)) => done += operations,
            _ => world.violated("a client never ended".to_owned()),
        }
    }
    sleep(REST + ORPHANED_AFTER).await;
    finale(&world, &proxy).await;
    outcome(done)
}

fn topology_options(seed: u64) -> TopologyOptions {
    let seeds = [1, 999].map(|port| HostPort::new(crate::hello::HOST, port)).to_vec();
    TopologyOptions {
        set_name: Some("rs0".to_owned()),
        connect_timeout: Duration::from_millis(1500),
        poll_interval: Duration::from_millis(750),
        await_time: Duration::from_secs(2),
        jitter_seed: seed,
        ..TopologyOptions::new(seeds)
    }
}

fn pool_options(dice: &mut SmallRng, seed: u64) -> PoolOptions {
    let sometimes =
        |dice: &mut SmallRng, seconds| dice.random_bool(0.3).then(|| Duration::from_secs(seconds));
    PoolOptions {
        max: dice.random_range(2..=8),
        min_idle: dice.random_range(0..=2),
        idle_timeout: sometimes(dice, 2),
        lifetime: sometimes(dice, 4),
        connect_timeout: Duration::from_secs(1),
        wait_timeout: Duration::from_millis(1500),
        queue_max: if dice.random_bool(0.2) { 3 } else { 1000 },
        awaiting_max: dice.random_bool(0.25).then(|| dice.random_range(1..=3)),
        jitter_seed: seed,
        ..PoolOptions::default()
    }
}

/// A client that works, is cut off now and then at any await, and connects again.
async fn client(proxy: Arc<Proxy>, id: u64, seed: u64, is_over: Arc<AtomicBool>) -> u64 {
    let mut session = Session::new(proxy, id, seed);
    while !is_over.load(Ordering::Relaxed) {
        let (after, polls) = match session.dice.random_range(0..100) {
            0..5 => (Duration::from_millis(session.dice.random_range(0..500)), u32::MAX),
            5..12 => (Duration::MAX, session.dice.random_range(1..6)),
            _ => (Duration::MAX, u32::MAX),
        };
        match cut_off(session.work(), after, polls).await {
            Some(Ok(())) => {}
            Some(Err(Ended)) | None => session.leave(),
        }
        let think = session.dice.random_range(0..200);
        sleep(Duration::from_millis(think)).await;
    }
    session.leave();
    session.done
}

/// Runs `work` to its end, or drops it after a while or after so many polls.
async fn cut_off<T>(work: impl Future<Output = T>, after: Duration, polls: u32) -> Option<T> {
    let mut work = Box::pin(work);
    let mut cut = Box::pin(async {
        match after {
            Duration::MAX => std::future::pending().await,
            after => sleep(after).await,
        }
    });
    let mut left = polls;
    poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        left = left.saturating_sub(1);
        if left == 0 || cut.as_mut().poll(cx).is_ready() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// Everything is seen as it is, nothing was lost, and everything works.
async fn finale(world: &Arc<World>, proxy: &Arc<Proxy>) {
    let (wanted, primary, open) = {
        let cluster = world.cluster();
        let mut wanted: Vec<u16> = cluster.newest().iter().map(|entry| entry.port).collect();
        wanted.sort_unstable();
        let open: Vec<_> = wanted.iter().flat_map(|port| cluster.nodes[port].open.iter().copied()).collect();
        (wanted, cluster.primary(), open)
    };
    world.check(open.is_empty(), || format!("transactions are left open: {open:?}"));
    let members = proxy.members();
    let mut served: Vec<u16> = members.iter().map(|member| member.port).collect();
    served.sort_unstable();
    world.check(served == wanted, || format!("{served:?} are served instead of {wanted:?}"));
    let seen = proxy.primary().map(|member| member.port);
    world.check(seen.is_some() && seen == primary, || format!("{seen:?} counts as primary, {primary:?} is"));
    for member in members {
        let port = member.port;
        let kind = if Some(port) == primary { MemberKind::Primary } else { MemberKind::Secondary };
        let (seen, hello) = (member.monitored.kind(), member.monitored.hello.latest());
        world.check(seen == kind, || format!("{port} counts as {seen:?}, and is {kind:?}"));
        world.check(hello.is_some(), || format!("{port} is well, and its hello is lost"));
        world.check(member.ledger.all_idle(), || format!("{port}: connections are still in use"));
        full_load(world, proxy, &member).await;
    }
}

/// Every place can be taken, works, and no more than that.
async fn full_load(world: &Arc<World>, proxy: &Arc<Proxy>, member: &Arc<SimMember>) {
    let (port, options) = (member.port, &proxy.options);
    let mut all = Vec::new();
    let reserve = options.reserve();
    let places = [(Lane::Ordinary, options.max - reserve), (Lane::Relief, reserve)];
    for (lane, count) in places {
        for number in 1..=count {
            match Held::check_out(world, member, lane, false, None).await {
                Ok(held) => all.push(held),
                Err(error) => world.violated(format!("{port}: {lane:?} place {number} of {count}: {error}")),
            }
        }
        let soon = Some(Instant::now() + Duration::from_millis(20));
        if lane == Lane::Ordinary {
            let one_more = member.pool.check_out(Class::Ordinary, soon).await;
            let is_full = matches!(one_more, Err(CheckoutError::WaitTimeout { .. }));
            world.check(is_full, || format!("{port}: more than {count} ordinary places"));
        }
    }
    for held in &mut all {
        let request = proxy.own_request(Op::Find);
        held.send(&request);
        let answer = timeout(Duration::from_secs(1), held.receive(&request)).await;
        world.check(matches!(answer, Ok(Ok(_))), || format!("{port}: no answer over {}", held.wire().id));
    }
    all.into_iter().for_each(Held::finish);
    let budget = options.awaiting_budget();
    let permits: Vec<_> = (0..=budget).map_while(|_| member.pool.try_awaiting()).collect();
    world.check(permits.len() == budget, || format!("{port}: {} of {budget} may await", permits.len()));
    let waiting = member.pool.status().waiting;
    world.check(waiting == 0, || format!("{port}: {waiting} still count as waiting"));
}
