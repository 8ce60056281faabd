//! A member's side of one request.

use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout_at};
use torana::proxy::transactions::Step;

use crate::node::{
    INTERRUPTED, INTERRUPTED_BY_STEP_DOWN, NO_SUCH_TRANSACTION, NOT_WRITABLE_PRIMARY, Node,
    SHUTDOWN_IN_PROGRESS, TRANSACTION_TOO_OLD, Transaction, WRITE_CONFLICT,
};
use crate::request::{Op, Reply, Request};
use crate::wire::Wire;
use crate::world::{LATENCY, World};

/// Takes a request through the network, does it, and sends the reply back, as far as faults let it.
pub async fn serve(world: Arc<World>, wire: Arc<Wire>, request: Request) {
    sleep(LATENCY).await;
    if !passes(&world, &wire).await {
        return;
    }
    let code = run(&world, &wire, &request).await;
    if !passes(&world, &wire).await {
        return;
    }
    sleep(LATENCY).await;
    if !passes(&world, &wire).await {
        return;
    }
    let version = world.look(wire.port, crate::hello::version).unwrap();
    wire.deliver(Reply { client: request.client, nonce: request.nonce, code, version });
}

/// Waits while the network or the process stands still. False if the process is no more.
async fn passes(world: &World, wire: &Wire) -> bool {
    let is_gone = |node: &Node| !node.is_alive || node.process != wire.process;
    world.until(wire.port, |node| is_gone(node) || node.is_passable()).await;
    !world.look(wire.port, is_gone).unwrap_or(true)
}

async fn run(world: &World, wire: &Wire, request: &Request) -> Option<i64> {
    let port = wire.port;
    if let Op::Await(wait) = request.op {
        let ended = world.until(port, |node| node.is_stopping || wire.is_killed());
        let _ = timeout_at(Instant::now() + wait, ended).await;
    } else {
        sleep(request.service).await;
    }
    if world.look(port, |node| node.is_stopping).unwrap_or(true) {
        return Some(SHUTDOWN_IN_PROGRESS);
    }
    match &request.op {
        Op::Find | Op::GetMore | Op::Await(_) => wire.is_killed().then_some(INTERRUPTED),
        Op::Write(document) => write(world, wire, *document).await,
        Op::Statement(transaction, step, document) => {
            world.change(port, |node| statement(node, *transaction, *step, *document))
        }
        Op::Commit(transaction) => world.change(port, |node| commit(node, *transaction)),
        Op::Abort(transaction) => {
            let known = world.change(port, |node| node.end(*transaction));
            (!known).then_some(NO_SUCH_TRANSACTION)
        }
        Op::Kill(other) => {
            world.change(port, |_| other.kill());
            None
        }
    }
}

/// Waits for the transaction that holds the document.
async fn write(world: &World, wire: &Wire, document: u8) -> Option<i64> {
    let before = world.look(wire.port, |node| node.step_downs);
    let now = |node: &Node| match () {
        () if Some(node.step_downs) != before => Some(Some(INTERRUPTED_BY_STEP_DOWN)),
        () if node.is_stopping => Some(Some(SHUTDOWN_IN_PROGRESS)),
        () if node.term.is_none() => Some(Some(NOT_WRITABLE_PRIMARY)),
        () if wire.is_killed() => Some(Some(INTERRUPTED)),
        () if node.locks.contains_key(&document) => None,
        () => Some(None),
    };
    world.until(wire.port, |node| now(node).is_some()).await;
    world.look(wire.port, now).flatten().unwrap_or_default()
}

/// A session's next transaction ends its last one, even if that arrives later over another connection; a conflict ends
/// the transaction that comes second.
fn statement(node: &mut Node, transaction: Transaction, step: Step, document: u8) -> Option<i64> {
    if node.term.is_none() {
        return Some(NOT_WRITABLE_PRIMARY);
    }
    let newest = node.newest.entry(transaction.0).or_default();
    if *newest > transaction.1 {
        return Some(TRANSACTION_TOO_OLD);
    }
    *newest = transaction.1;
    if step == Step::Start {
        let older: Vec<Transaction> =
            node.open.iter().copied().filter(|open| open.0 == transaction.0).collect();
        for open in older {
            node.end(open);
        }
        node.open.insert(transaction);
    } else if !node.open.contains(&transaction) {
        return Some(NO_SUCH_TRANSACTION);
    }
    match node.locks.get(&document) {
        Some(holder) if *holder != transaction => {
            node.end(transaction);
            Some(WRITE_CONFLICT)
        }
        _ => {
            node.locks.insert(document, transaction);
            None
        }
    }
}

fn commit(node: &mut Node, transaction: Transaction) -> Option<i64> {
    if node.term.is_none() {
        return Some(NOT_WRITABLE_PRIMARY);
    }
    if node.end(transaction) {
        node.committed.insert(transaction);
    }
    (!node.committed.contains(&transaction)).then_some(NO_SUCH_TRANSACTION)
}
