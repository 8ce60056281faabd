//! What befalls the set: faults, elections, reconfigurations; and what its members do about them among themselves.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};

use crate::node::Node;
use crate::world::{Entry, World};

/// The seed's member, which keeps its name, so that there is always a way in.
const FIXED: u16 = 1;
const MEMBERS_MAX: usize = 5;
/// Heartbeats among members.
const GOSSIP: Duration = Duration::from_millis(100);
/// Sockets break one by one, not in volleys.
const BETWEEN_BREAKS: Duration = Duration::from_secs(2);
/// Heartbeats without a primary before an election.
const PATIENCE: u32 = 4;

/// Members tell each other of configurations and elections; without a primary they elect one.
pub async fn gossip(world: Arc<World>, seed: u64) {
    let mut dice = SmallRng::seed_from_u64(seed ^ 0x6055_1e50);
    let mut without = 0;
    loop {
        sleep(GOSSIP).await;
        let mut changed = Vec::new();
        {
            let mut cluster = world.cluster();
            let (newest, term) = (cluster.configs.len() - 1, cluster.term);
            for node in cluster.nodes.values_mut().filter(|node| node.is_passable()) {
                if node.config != newest {
                    node.config = newest;
                    node.counter += 1;
                    changed.push(node.port);
                }
                if node.term.is_some_and(|own| own < term) {
                    node.lose_role();
                    changed.push(node.port);
                }
            }
            without = if cluster.primary().is_some() { 0 } else { without + 1 };
        }
        changed.into_iter().for_each(|port| world.change(port, |_| ()));
        let able = world.cluster().able();
        if without >= PATIENCE && !able.is_empty() {
            elect(&world, able[dice.random_range(0..able.len())]);
        }
    }
}

/// Wins an election. Whoever was primary hears of it by gossip.
fn elect(world: &World, port: u16) {
    let term = {
        let mut cluster = world.cluster();
        cluster.term += 1;
        cluster.term
    };
    world.note(|| format!("{port} wins election {term}"));
    world.change(port, |node| {
        node.term = Some(term);
        node.counter += 1;
    });
}

/// Faults until `until`, each healed after a while.
pub async fn faults(world: Arc<World>, seed: u64, until: Instant) {
    let mut dice = SmallRng::seed_from_u64(seed ^ 0x0fa0_17f5);
    let mut next_port = 100;
    let mut last_break = None;
    while Instant::now() < until {
        sleep(Duration::from_millis(dice.random_range(100..1200))).await;
        let ports: Vec<u16> = world.cluster().newest().iter().map(|entry| entry.port).collect();
        let port = ports[dice.random_range(0..ports.len())];
        let lasts = Duration::from_millis(dice.random_range(50..3500));
        let heals = (Instant::now() + lasts).min(until);
        match dice.random_range(0..16) {
            0..2 => fault(&world, port, heals, "crashes", Node::crash),
            2 => shut_down(&world, &mut dice, port, heals).await,
            3..5 => fault(&world, port, heals, "freezes", |node| node.is_frozen = true),
            5..7 => fault(&world, port, heals, "is cut off", |node| node.is_cut = true),
            7 => {
                world.note(|| format!("{port} steps down"));
                world.change(port, Node::lose_role);
            }
            8 => {
                let able = world.cluster().able();
                if let Some(winner) = able.get(dice.random_range(0..able.len().max(1))) {
                    elect(&world, *winner);
                }
            }
            9..11 => reset_one(&world, &mut dice, port),
            11 if last_break.is_none_or(|at: Instant| at.elapsed() > BETWEEN_BREAKS) => {
                break_probe(&world, &mut dice, port);
                last_break = Some(Instant::now());
            }
            _ => reconfigure(&world, &mut dice, port, &mut next_port).await,
        }
    }
}

/// The server closes one connection. Nobody else need learn of it.
fn reset_one(world: &World, dice: &mut SmallRng, port: u16) {
    world.change(port, |node| {
        let wires: Vec<_> = node.wires.iter().filter_map(Weak::upgrade).collect();
        if node.is_passable() && !wires.is_empty() {
            let wire = &wires[dice.random_range(0..wires.len())];
            world.note(|| format!("{port} closes connection {}", wire.id));
            wire.reset();
        }
    });
}

/// One monitoring connection ends. The member does not count as lost for that.
fn break_probe(world: &World, dice: &mut SmallRng, port: u16) {
    world.note(|| format!("{port} closes a monitoring connection"));
    world.change(port, |node| {
        if node.is_passable() {
            node.broken_probe = node.probes.saturating_sub(dice.random_range(0..2));
        }
    });
}

/// Answers everything with 91 for a moment, and ends.
async fn shut_down(world: &Arc<World>, dice: &mut SmallRng, port: u16, heals: Instant) {
    world.note(|| format!("{port} is told to end"));
    world.disturb(port);
    world.change(port, |node| {
        node.is_stopping = true;
        node.counter += 1;
    });
    sleep(Duration::from_millis(dice.random_range(1..100))).await;
    fault(world, port, heals, "ends", Node::crash);
}

/// Begins a fault, and ends it at `heals`.
fn fault(world: &Arc<World>, port: u16, heals: Instant, what: &str, begin: impl Fn(&mut Node)) {
    world.note(|| format!("{port} {what}"));
    world.disturb(port);
    world.change(port, begin);
    let world = world.clone();
    tokio::spawn(async move {
        sleep_until(heals).await;
        heal(&world, port);
    });
}

/// Ends whatever befell a member that is still configured.
fn heal(world: &World, port: u16) {
    let process = {
        let mut cluster = world.cluster();
        if !cluster.newest().iter().any(|entry| entry.port == port) {
            return;
        }
        cluster.last_process += 1;
        cluster.last_process
    };
    world.note(|| format!("{port} is well"));
    world.change(port, |node| {
        (node.is_frozen, node.is_cut) = (false, false);
        if !node.is_alive {
            node.start(process);
        }
    });
    world.calm(port);
}

/// Ends all faults.
pub fn heal_all(world: &World) {
    let ports: Vec<u16> = world.cluster().newest().iter().map(|entry| entry.port).collect();
    ports.into_iter().for_each(|port| heal(world, port));
}

async fn reconfigure(world: &World, dice: &mut SmallRng, port: u16, next_port: &mut u16) {
    let (config, primary) = {
        let cluster = world.cluster();
        (cluster.newest().clone(), cluster.primary())
    };
    // Only a primary changes the configuration.
    let Some(primary) = primary else { return };
    let is_fixed = [FIXED, primary].contains(&port);
    let without = || config.iter().copied().filter(|entry| entry.port != port).collect::<Vec<Entry>>();
    match dice.random_range(0..4) {
        0 if config.len() < MEMBERS_MAX => {
            *next_port += 1;
            let id = config.iter().map(|entry| entry.id).max().unwrap_or(0) + 1;
            let mut larger = config.clone();
            larger.push(Entry { id, port: *next_port });
            add_node(world, *next_port);
            adopt(world, primary, larger, &format!("{next_port} is added"));
        }
        1 if !is_fixed => {
            world.disturb(port);
            adopt(world, primary, without(), &format!("{port} is removed"));
        }
        2 if !is_fixed => {
            *next_port += 1;
            world.disturb(port);
            add_node(world, *next_port);
            let rename = |entry: &Entry| {
                if entry.port == port { Entry { port: *next_port, ..*entry } } else { *entry }
            };
            adopt(
                world,
                primary,
                config.iter().map(rename).collect(),
                &format!("{port} becomes {next_port}"),
            );
            world.change(port, |node| node.crash());
        }
        3 if !is_fixed => {
            // Removed, and added again a moment later.
            world.disturb(port);
            adopt(world, primary, without(), &format!("{port} is removed for a moment"));
            sleep(Duration::from_millis(dice.random_range(1..400))).await;
            if world.cluster().primary() == Some(primary) {
                adopt(world, primary, config, &format!("{port} is back"));
                heal(world, port);
            }
        }
        _ => {}
    }
}

fn add_node(world: &World, port: u16) {
    let mut cluster = world.cluster();
    cluster.last_process += 1;
    let process = cluster.last_process;
    let newest = cluster.configs.len() - 1;
    let mut node = Node::new(port, process, Instant::now());
    node.config = newest;
    cluster.nodes.insert(port, node);
    drop(cluster);
    world.calm(port);
}

/// The primary has a new configuration; the others hear of it by gossip.
fn adopt(world: &World, primary: u16, config: Vec<Entry>, what: &str) {
    world.note(|| what.to_owned());
    let newest = {
        let mut cluster = world.cluster();
        cluster.configs.push(config);
        cluster.configs.len() - 1
    };
    world.change(primary, |node| {
        node.config = newest;
        node.counter += 1;
    });
}
