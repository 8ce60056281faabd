//! After `src/proxy/orphan.rs`, over connections in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use torana::pool::CloseReason;

use crate::held::Held;
use crate::ledger::Lane;
use crate::proxy::{Proxy, SimMember};
use crate::request::{Op, Request};
use crate::wire::Wire;

const GRACE: Duration = Duration::from_millis(50);
const DRAIN: Duration = Duration::from_secs(2);
const KILL_WITHIN: Duration = Duration::from_secs(1);
const KILL_HOLDING: Duration = Duration::from_millis(100);
const NOTICED_WITHIN: Duration = Duration::from_millis(300);

/// Takes over an exchange whose client has gone.
pub fn adopt(proxy: &Arc<Proxy>, held: Held, request: Request, may_close: bool) {
    let proxy = proxy.clone();
    tokio::spawn(async move {
        if let Some(held) = run(&proxy, held, &request, may_close).await {
            held.finish();
        }
    });
}

/// Ends the exchange. Returns what it holds if that can be used again.
async fn run(proxy: &Arc<Proxy>, mut held: Held, request: &Request, may_close: bool) -> Option<Held> {
    match timeout(GRACE, held.receive(request)).await {
        Ok(Ok(_)) => return Some(held),
        Ok(Err(_)) => return close(held, CloseReason::Error),
        Err(_) => {}
    }
    if matches!(request.op, Op::Find) && may_close {
        return close_read(proxy, held, NOTICED_WITHIN).await;
    }
    let (is_read, member) = (request.op.is_read(), held.member.clone());
    let drained_max = (proxy.options.max / 4).max(1);
    let Some(_drained) = member.drained.enter_below(if is_read { usize::MAX } else { drained_max }) else {
        return close(held, CloseReason::Abandoned);
    };
    let _drains = (!is_read).then(|| member.ledger.drains());
    if is_read && !kill(proxy, &member, held.wire(), KILL_HOLDING).await {
        return close_read(proxy, held, Duration::ZERO).await;
    }
    match timeout(DRAIN, held.receive(request)).await {
        Ok(Ok(_)) => Some(held),
        Ok(Err(_)) => close(held, CloseReason::Error),
        Err(_) => close(held, CloseReason::Abandoned),
    }
}

fn close(held: Held, reason: CloseReason) -> Option<Held> {
    held.close(reason);
    None
}

/// By closing its connection, and if that is not noticed within `notices`, by its number after all.
async fn close_read(proxy: &Arc<Proxy>, held: Held, notices: Duration) -> Option<Held> {
    let (member, wire) = (held.member.clone(), held.wire());
    held.close(CloseReason::Abandoned);
    sleep(notices).await;
    kill(proxy, &member, wire, KILL_WITHIN).await;
    None
}

/// Ends what runs over `wire`. False if that cannot be done now.
async fn kill(proxy: &Arc<Proxy>, member: &Arc<SimMember>, wire: Arc<Wire>, patience: Duration) -> bool {
    let checked_out = Held::check_out(&proxy.world, member, Lane::Relief, true, None);
    let Ok(Ok(mut own)) = timeout(patience, checked_out).await else { return false };
    let request = proxy.own_request(Op::Kill(wire));
    own.send(&request);
    let killed = matches!(timeout(KILL_WITHIN, own.receive(&request)).await, Ok(Ok(_)));
    if killed {
        own.finish();
    }
    killed
}
