//! As `src/proxy/orphan.rs`, over connections in memory.

use std::sync::Arc;
use std::time::Duration;

use torana::pool::CloseReason;
use torana::proxy::wind_up::{Patience, Unclaimed, drained_max, wind_up};

use crate::held::Held;
use crate::ledger::{Drains, Lane};
use crate::proxy::Proxy;
use crate::request::{Op, Request};

const GRACE: Duration = Duration::from_millis(50);
const DRAIN: Duration = Duration::from_secs(2);
const KILL_WITHIN: Duration = Duration::from_secs(1);

struct Left {
    proxy: Arc<Proxy>,
    held: Held,
    request: Request,
    has_grace: bool,
    drains: Option<Drains>,
}

/// Takes over an exchange whose client has gone.
pub fn adopt(proxy: &Arc<Proxy>, held: Held, request: Request, may_close: bool) {
    let is_read = request.op.is_read();
    let member = held.member.clone();
    let left = Left { proxy: proxy.clone(), held, request, has_grace: true, drains: None };
    tokio::spawn(async move {
        let drained_max = drained_max(left.proxy.options.max);
        let patience = Patience { grace: GRACE, drain: DRAIN, drained_max };
        let keeps = |fewer_than| member.drained.enter_below(fewer_than);
        if let (Some(left), _) = wind_up(left, is_read, patience, || may_close, keeps).await {
            left.held.finish();
        }
    });
}

impl Unclaimed for Left {
    async fn drain(&mut self) -> bool {
        if !std::mem::take(&mut self.has_grace) && !self.request.op.is_read() {
            self.drains = Some(self.held.member.ledger.drains());
        }
        self.held.receive(&self.request).await.is_ok()
    }

    async fn kill(&self) -> bool {
        let killing = async {
            let member = &self.held.member;
            let mut own = Held::check_out(&self.proxy.world, member, Lane::Relief, true, None).await.ok()?;
            let request = self.proxy.own_request(Op::Kill(self.held.wire()));
            own.send(&request);
            own.receive(&request).await.ok()?;
            own.finish();
            Some(())
        };
        matches!(tokio::time::timeout(KILL_WITHIN, killing).await, Ok(Some(())))
    }

    fn close(self, reason: CloseReason) {
        self.held.close(reason);
    }
}
