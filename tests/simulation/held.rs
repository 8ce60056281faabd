//! A checkout, looked at when it is handed out, and its exchange.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use torana::pool::{AwaitingPermit, Checkout, CheckoutError, Class, CloseReason};

use crate::ledger::Lane;
use crate::proxy::SimMember;
use crate::request::{Reply, Request};
use crate::wire::{Lost, SimConnection, SimConnector, Wire};
use crate::world::World;

/// A free place is found by whoever waits, within the time of a few connects.
const PROMPT: Duration = Duration::from_millis(500);

/// The timer's grain.
const GRAIN: Duration = Duration::from_millis(3);

/// A place in a pool of awaiting operations.
pub type Permit = AwaitingPermit<SimConnector>;

/// A connection in use.
pub struct Held {
    checkout: Option<Checkout<SimConnector>>,
    lane: Lane,
    pub member: Arc<SimMember>,
    world: Arc<World>,
}

impl Held {
    /// As `exchange::acquire`. What the pool answers is held against what is so: `frees_others`, if they may be waiting
    /// for what this work lets go, whatever queue torana has it stand in.
    pub async fn check_out(
        world: &Arc<World>,
        member: &Arc<SimMember>,
        lane: Lane,
        frees_others: bool,
        deadline: Option<Instant>,
    ) -> Result<Held, CheckoutError> {
        let class = if lane == Lane::Relief { Class::Relief } else { Class::Ordinary };
        if let Some(checkout) = member.pool.try_check_out(class) {
            return Ok(Held::new(world, member, lane, checkout));
        }
        let began = Instant::now();
        let _waits = member.ledger.waits(frees_others);
        let answer = member.pool.check_out(class, deadline).await;
        match answer {
            Ok(checkout) => Ok(Held::new(world, member, lane, checkout)),
            Err(error) => {
                let due = if frees_others { Lane::Relief } else { lane };
                Held::judge(world, member, due, began, deadline, &error);
                Err(error)
            }
        }
    }

    /// The same for an awaiting operation.
    pub async fn check_out_awaiting(
        world: &Arc<World>,
        member: &Arc<SimMember>,
        permit: Permit,
    ) -> Result<Held, CheckoutError> {
        let began = Instant::now();
        match member.pool.check_out_awaiting(permit, None).await {
            Ok(checkout) => Ok(Held::new(world, member, Lane::Awaiting, checkout)),
            Err(error) => {
                Held::judge(world, member, Lane::Awaiting, began, None, &error);
                Err(error)
            }
        }
    }

    /// Why there is no connection must be so.
    fn judge(
        world: &Arc<World>,
        member: &Arc<SimMember>,
        lane: Lane,
        began: Instant,
        deadline: Option<Instant>,
        error: &CheckoutError,
    ) {
        let (waited, port) = (began.elapsed(), member.port);
        let own = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(began));
        let longest = member.wait_timeout.min(own);
        world.check(waited <= longest + GRAIN, || format!("member {port}: forgotten for {waited:?}"));
        world.note(|| format!("member {port}: no connection for {lane:?}: {error}"));
        let is_due = match error {
            // Those who hold something have a queue of their own.
            CheckoutError::QueueFull { .. } => lane != Lane::Relief || member.ledger.relief_queue_is_full(),
            CheckoutError::Closed => member.is_removed.load(Ordering::Relaxed),
            CheckoutError::Unavailable { .. } => world.is_excused(port, began),
            CheckoutError::WaitTimeout { .. } => {
                let had_room = match lane {
                    Lane::Relief => waited,
                    Lane::Awaiting if member.has_extra => waited,
                    Lane::Ordinary | Lane::Awaiting => waited.min(member.ledger.roomy_for()),
                };
                had_room < PROMPT || world.is_excused(port, began)
            }
        };
        world.check(is_due, || format!("member {port}, {lane:?}, after {waited:?}: {error}"));
    }

    fn new(
        world: &Arc<World>,
        member: &Arc<SimMember>,
        lane: Lane,
        checkout: Checkout<SimConnector>,
    ) -> Held {
        let (wire, port) = (&checkout.wire, member.port);
        let unread = wire.unread();
        world.check(unread == 0, || format!("connection {} of {port} has {unread} unread replies", wire.id));
        let clears = member.ledger.clears();
        world.check(wire.clears == clears, || {
            format!("connection {} of {port} is from before clear {clears}", wire.id)
        });
        world.check(!wire.is_closed_by_server(), || format!("connection {} of {port} is dead", wire.id));
        member.ledger.checked_out(lane);
        Held { checkout: Some(checkout), lane, member: member.clone(), world: world.clone() }
    }

    fn connection(&mut self) -> &mut SimConnection {
        self.checkout.as_mut().unwrap()
    }

    pub fn wire(&self) -> Arc<Wire> {
        self.checkout.as_ref().unwrap().wire.clone()
    }

    /// The generation of its connection.
    pub fn generation(&self) -> u64 {
        self.checkout.as_ref().unwrap().generation()
    }

    pub fn send(&mut self, request: &Request) {
        self.connection().send(request.clone());
    }

    /// The reply, which must be the request's own. Cancel safe.
    pub async fn receive(&mut self, request: &Request) -> Result<Reply, Lost> {
        let reply = self.connection().receive().await?;
        let is_own = (reply.client, reply.nonce) == (request.client, request.nonce);
        self.world.check(is_own, || {
            format!("client {} got {reply:?} instead of {}", request.client, request.nonce)
        });
        Ok(reply)
    }

    pub fn finish(mut self) {
        if let Some(checkout) = self.checkout.take() {
            checkout.finish();
        }
    }

    pub fn close(mut self, reason: CloseReason) {
        if let Some(checkout) = self.checkout.take() {
            checkout.close(reason);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.checkout.take());
        self.member.ledger.checked_in(self.lane);
    }
}
