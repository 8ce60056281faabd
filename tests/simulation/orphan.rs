//! As `src/proxy/orphan.rs`, over connections in memory.

use std::sync::Arc;
use std::time::Duration;

use torana::pool::CloseReason;
use torana::proxy::wind_up::{Patience, Unclaimed, wind_up};

use crate::held::Held;
use crate::ledger::Lane;
use crate::proxy::Proxy;
use crate::request::{Op, Request};

const PATIENCE: Patience = Patience { grace: Duration::from_millis(50), drain: Duration::from_secs(2) };
const KILL_WITHIN: Duration = Duration::from_secs(1);

struct Left {
    proxy: Arc<Proxy>,
    held: Held,
    request: Request,
}

/// Takes over an exchange whose client has gone.
pub fn adopt(proxy: &Arc<Proxy>, held: Held, request: Request, may_close: bool) {
    let is_read = request.op.is_read();
    let left = Left { proxy: proxy.clone(), held, request };
    tokio::spawn(async move {
        if let (Some(left), _) = wind_up(left, is_read, PATIENCE, || may_close).await {
            left.held.finish();
        }
    });
}

impl Unclaimed for Left {
    async fn drain(&mut self) -> bool {
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
