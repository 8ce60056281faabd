//! One replica set as it is served: a pool for each member, a listener for each member and group, kept in line with
//! what the topology says, without touching clients of members that stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::Context;
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, interval};

use super::context::{Listener, Member, Set, Shared};
use super::count::Count;
use super::cursors::AwaitingCursors;
use super::fail_points::FailPoints;
use super::joins::Joins;
use super::lease;
use super::listener::{Accepting, accept, bind};
use super::orphan::CloseRate;
use super::pool_events::Observer;
use super::pools::Pools;
use super::reaper::{self, Reaping};
use super::roster::{Roster, Served};
use super::transactions::Transactions;
use crate::config::{self, GroupConfig, Level, PoolLimits, SetConfig};
use crate::consistency::horizon::keep;
use crate::consistency::{Floors, Horizon, Tagging};
use crate::metrics::{EndReason, Metrics};
use crate::pool::PoolOptions;
use crate::server::Connector;
use crate::shadow::Shadow;
use crate::topology::{
    self, GroupNames, HostPort, PortMap, PortOptions, PortOverride, Topology, TopologyEvent, TopologyOptions,
};

/// How often the log says what a set that is not there yet is waiting for.
const WAITING_SAYS: Duration = Duration::from_secs(5);

/// One listener group.
struct Group {
    ports: PortMap,
    names: Arc<ArcSwap<GroupNames>>,
}

/// One member that is served.
struct Running {
    member: Arc<Member>,
    /// By group; `None` where the address could not be bound.
    listeners: Vec<Option<(u32, Accepting)>>,
}

impl Served for Running {
    fn monitored(&self) -> &Arc<topology::Member> {
        &self.member.monitored
    }

    fn pause(&self, cause: &str) {
        self.member.pools.pause(cause);
    }

    fn resume(&self) {
        self.member.pools.resume();
    }

    fn clear(&self, cause: &str) {
        self.member.pools.clear(cause);
    }
}

/// Serves one set.
pub struct SetRunner {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    set: Arc<Set>,
    config: SetConfig,
    events: mpsc::Receiver<TopologyEvent>,
    groups: Vec<Group>,
    members: Roster<Running>,
    next_listener: Arc<AtomicU32>,
}

impl SetRunner {
    /// Begins to follow the set. Nothing is listened on yet.
    pub fn new(
        config: SetConfig,
        shared: Arc<Shared>,
        metrics: Arc<Metrics>,
        next_listener: Arc<AtomicU32>,
    ) -> SetRunner {
        let (topology, events) = Topology::start(topology_options(&config));
        let (tags, horizon, keeper) = shared_with_others(&config, &topology, &metrics);
        let shadow = config
            .shadow
            .clone()
            .map(|shadow| Shadow::new(&config.name, shadow, metrics.shadow(&config.name)));
        let set = Arc::new(Set {
            name: config.name.clone(),
            transactions: Transactions::default(),
            reaping: Reaping::default(),
            topology,
            tags,
            floors: Floors::counted_in(metrics.collections(&config.name)),
            horizon,
            shadow,
            served: ArcSwap::default(),
            _keeper: keeper,
        });
        if config.zookeeper.is_none() {
            let listens: Vec<String> = config.groups.iter().map(|group| group.listen.to_string()).collect();
            let holder = lease::Holder::of_this_process(&listens.join(" "));
            tokio::spawn(lease::keep(shared.clone(), Arc::downgrade(&set), holder));
        }
        let groups = config
            .groups
            .iter()
            .map(|group| Group { ports: PortMap::new(port_options(group)), names: Arc::default() });
        let groups = groups.collect();
        SetRunner { shared, metrics, set, config, events, groups, members: Roster::default(), next_listener }
    }

    /// The set.
    pub fn set(&self) -> Arc<Set> {
        self.set.clone()
    }

    /// Waits until the members are known, saying now and then what is missing, and listens for all of them. An
    /// address that cannot be bound is an error: an operator who starts a proxy wants to know.
    pub async fn first_listeners(&mut self) -> anyhow::Result<()> {
        let mut says = interval(WAITING_SAYS);
        says.tick().await;
        let topology = self.set.topology.clone();
        let mut ready = std::pin::pin!(topology.first_ready());
        loop {
            tokio::select! {
                () = &mut ready => break,
                _ = says.tick() => tracing::warn!(set = %self.set.name, "waiting: {}", self.set.topology.status()),
            }
        }
        self.follow();
        self.listen().await
    }

    /// `127.0.0.1:27117->db1:27017 ...`, by group and in the order of the configuration.
    pub fn summary(&self) -> String {
        let mut text = self.set.name.clone();
        for group in &self.groups {
            for assignment in group.ports.assignments() {
                text.push_str(&format!(" {}->{}", assignment.listen, assignment.member.spelled()));
            }
        }
        text
    }

    /// Follows the set until dropped.
    pub async fn run(mut self) {
        let mut ticks = interval(reaper::EVERY);
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.on_event(event).await,
                    None => return,
                },
                _ = ticks.tick() => self.on_tick().await,
            }
        }
    }

    async fn on_event(&mut self, event: TopologyEvent) {
        self.members.apply(&event);
        match event {
            TopologyEvent::MemberAdded(_) | TopologyEvent::MemberRemoved(_) => {
                self.follow();
                if let Err(error) = self.listen().await {
                    tracing::error!(set = %self.set.name, "{error:#}");
                }
            }
            TopologyEvent::MemberLost { member, loss } => {
                tracing::warn!(set = %self.set.name, member = %member.name, "member lost: {}", loss.cause);
                if loss.is_silent {
                    self.give_up_in_flight(&member);
                }
            }
            TopologyEvent::MemberRecovered(member) => {
                tracing::info!(set = %self.set.name, member = %member.name, "member answers");
            }
            TopologyEvent::ServerRestarted(member) => {
                tracing::info!(set = %self.set.name, member = %member.name, "member has restarted");
                if let Some(running) = self.members.serving(&member) {
                    running.member.fail_points.disarm();
                    running.member.pools.keep_apart(None);
                }
            }
            TopologyEvent::PrimaryChanged(change) => self.primary_changed(&change),
        }
    }

    /// Ends what is in flight on a lost member. Mostly it goes on, since only the monitor's connections may have gone;
    /// but on a silent member it would wait for as long as that lasts, so it is given up, as drivers do (CMAP
    /// specification, `interruptInUseConnections`).
    fn give_up_in_flight(&self, member: &Arc<topology::Member>) {
        let Some(running) = self.members.serving(member) else { return };
        for (id, _) in running.listeners.iter().flatten() {
            self.shared.registry.end_in_flight(*id, EndReason::MemberLost);
        }
    }

    fn primary_changed(&self, change: &topology::PrimaryChange) {
        let name = |member: &Option<HostPort>| member.as_ref().map_or("none".to_owned(), HostPort::to_string);
        tracing::info!(set = %self.set.name, old = name(&change.old), new = name(&change.new), "primary changed");
        if let Some(new) = &change.new
            && let Some(running) = self.members.get(new.spelled())
        {
            running.member.metrics.topology.elections.inc();
        }
    }

    /// Makes pools for new members, ends those of members that are gone, and gives every member its place.
    fn follow(&mut self) {
        let current = self.set.topology.members();
        self.members.take_gone(&current).into_iter().for_each(|running| self.remove(running));
        let places: Vec<_> = current.iter().map(|member| (member.name.clone(), member.config_id())).collect();
        for group in &mut self.groups {
            if let Err(error) = group.ports.update(&places) {
                tracing::error!(set = %self.set.name, "{error}");
            }
        }
        let own: Vec<_> = self.groups.iter().flat_map(|group| group.ports.own_addresses()).collect();
        for group in &self.groups {
            group.names.store(Arc::new(group.ports.names().with_own(own.clone())));
        }
        self.members.missing(&current).into_iter().for_each(|monitored| self.add(monitored));
        let served = self.members.iter().map(|running| Arc::downgrade(&running.member)).collect();
        self.set.served.store(Arc::new(served));
    }

    fn add(&mut self, monitored: Arc<topology::Member>) {
        let name = monitored.name.spelled().to_owned();
        let metrics = self.metrics.member(&self.set.name, &name);
        let observer = Observer::new(metrics.clone(), Arc::downgrade(&self.shared));
        let connector =
            Connector::new(&name, self.config.set_name.as_deref(), self.config.app_name.as_deref());
        let options = pool_options(&self.config.pool);
        let per_application = self.config.pool.per_application;
        let pools = match Pools::new(options, connector, observer.clone(), per_application) {
            Ok(pools) => pools,
            // The configuration was checked, so this is a defect; the member is left out rather than the process.
            Err(error) => return tracing::error!(set = %self.set.name, member = %name, "{error}"),
        };
        let limit = i64::try_from(self.shared.limits.clients_max).unwrap_or(i64::MAX);
        metrics.clients.limit.set(limit);
        let member = Arc::new(Member {
            name: name.clone(),
            set: self.set.clone(),
            pools,
            monitored,
            cursors: AwaitingCursors::default(),
            joins: Joins::default(),
            missed: AtomicU64::new(0),
            fail_points: FailPoints::default(),
            drained: Count::default(),
            drained_max: (self.config.pool.max / 4).max(1),
            closes: CloseRate::default(),
            metrics,
        });
        let (shown, shower) = (Arc::downgrade(&member), observer);
        self.metrics.fill_by(move || {
            let member = shown.upgrade();
            member.inspect(|member| shower.show(&member.pools.status(), &member.monitored)).is_some()
        });
        tracing::info!(set = %self.set.name, member = %name, "member added");
        let listeners = self.groups.iter().map(|_| None).collect();
        self.members.add(Running { member, listeners });
    }

    fn remove(&mut self, running: Running) {
        let name = &running.member.name;
        tracing::info!(set = %self.set.name, member = %name, "member removed");
        for (id, accepting) in running.listeners.into_iter().flatten() {
            drop(accepting);
            self.shared.registry.end_listener(id, EndReason::MemberRemoved);
        }
        running.member.pools.close();
        self.metrics.remove_member(&self.set.name, name);
    }

    /// Listens wherever a member has no listener yet. Goes on after an error; the first is returned.
    async fn listen(&mut self) -> anyhow::Result<()> {
        let mut result = Ok(());
        for (place, group) in self.groups.iter().enumerate() {
            for assignment in group.ports.assignments() {
                let Some(running) = self.members.get_mut(assignment.member.spelled()) else { continue };
                let Some(slot) = running.listeners.get_mut(place).filter(|slot| slot.is_none()) else {
                    continue;
                };
                let id = self.next_listener.fetch_add(1, Ordering::Relaxed);
                let listener = Listener {
                    id,
                    shared: self.shared.clone(),
                    member: running.member.clone(),
                    names: group.names.clone(),
                    hello: ArcSwapOption::empty(),
                    reply_timeout: self.config.pool.reply_timeout,
                };
                let listen = &assignment.listen;
                let bound = match bind(listen.host(), listen.port()).await {
                    Ok(socket) => accept(socket, Arc::new(listener)),
                    Err(error) => Err(error),
                };
                match bound.with_context(|| format!(
                    "cannot listen on {listen} for member {} (torana takes one port for each, from --listen on)",
                    assignment.member
                )) {
                    Ok(accepting) => *slot = Some((id, accepting)),
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
        result
    }

    /// Once a second: listeners that failed are tried again, orphaned transactions looked for.
    async fn on_tick(&mut self) {
        // An address that was taken may be free by now; the error was logged when it was new.
        let _ = self.listen().await;
        reaper::reap(&self.shared, &self.set);
    }
}

/// What the set's toranas share, and the task that keeps it.
fn shared_with_others(
    config: &SetConfig,
    topology: &Topology,
    metrics: &Metrics,
) -> (Arc<Tagging>, Arc<Horizon>, JoinSet<()>) {
    let mut keeper = JoinSet::new();
    let tagging = Arc::new(Tagging::new(&config.tags, config.zookeeper.is_some()));
    let Some(zookeeper) = &config.zookeeper else {
        if tagging.now().highest() >= Level::Sequential {
            tracing::warn!(
                set = %config.name,
                "without a ZooKeeper ensemble one torana of the set serves what is tagged sequential, and no other"
            );
        }
        return (tagging, Arc::new(Horizon::alone()), keeper);
    };
    let horizon = Arc::new(Horizon::shared(zookeeper.limits.wait_timeout, metrics.horizon(&config.name)));
    let topology = topology.clone();
    // No member has anything later yet, and nobody was told of more than the members have.
    let newest = move || {
        let members = topology.members();
        members.iter().filter_map(|member| member.operation_time()).max().unwrap_or(0)
    };
    keeper.spawn(keep(horizon.clone(), tagging.clone(), zookeeper.into(), newest));
    (tagging, horizon, keeper)
}

fn topology_options(config: &SetConfig) -> TopologyOptions {
    let seeds = config.seeds.iter().map(to_topology).collect();
    TopologyOptions {
        set_name: config.set_name.clone(),
        direct: config.direct,
        connect_timeout: config.monitor.connect_timeout,
        poll_interval: config.monitor.poll_interval,
        await_time: config.monitor.heartbeat_interval,
        ..TopologyOptions::new(seeds)
    }
}

fn to_topology(address: &config::HostPort) -> HostPort {
    HostPort::new(&address.host, address.port)
}

fn port_options(group: &GroupConfig) -> PortOptions {
    let overrides = group.members.iter().map(|(member, given)| {
        let listen = given.listen.as_ref().map(to_topology);
        let port = listen.as_ref().map(HostPort::port);
        let named = given.advertise_host.is_some() || given.advertise_port.is_some();
        let advertise = port.or(given.advertise_port).filter(|_| named).map(|port| {
            let advertised = group.advertised(member, port);
            to_topology(&advertised)
        });
        (to_topology(member), PortOverride { listen, advertise })
    });
    PortOptions {
        listen: to_topology(&group.listen),
        advertise: group.advertise_host.clone(),
        span: group.ports,
        overrides: overrides.collect(),
    }
}

fn pool_options(limits: &PoolLimits) -> PoolOptions {
    PoolOptions {
        max: limits.max,
        min_idle: limits.min_idle,
        idle_timeout: limits.idle_timeout,
        lifetime: limits.lifetime,
        connect_timeout: limits.connect_timeout,
        connecting_max: limits.connecting_max,
        wait_timeout: limits.wait_timeout,
        queue_max: limits.wait_queue_max,
        awaiting_max: Some(limits.awaiting_max).filter(|max| *max > 0),
        backoff_min: limits.backoff_min,
        backoff_max: limits.backoff_max,
        ..PoolOptions::default()
    }
}
