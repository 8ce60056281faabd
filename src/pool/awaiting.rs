//! Places for awaiting operations (getMore on change streams and tailable-await cursors, exhaust), which hold a
//! connection while they do nothing: without a budget of their own they would take the whole pool.

use std::fmt;
use std::sync::Arc;

use super::shared::Shared;
use super::{CheckoutError, Connect, PoolOptions};

/// A place for one awaiting operation, free again when dropped.
pub struct AwaitingPermit<C: Connect>(Arc<Shared<C>>);

impl<C: Connect> AwaitingPermit<C> {
    pub(super) fn try_new(shared: &Arc<Shared<C>>) -> Option<Self> {
        shared.awaiting.try_acquire().ok()?.forget();
        Some(AwaitingPermit(shared.clone()))
    }

    pub(super) async fn wait(shared: &Arc<Shared<C>>) -> Result<Self, CheckoutError> {
        shared.awaiting.acquire().await.map_err(|_| CheckoutError::Closed)?.forget();
        Ok(AwaitingPermit(shared.clone()))
    }
}

impl<C: Connect> Drop for AwaitingPermit<C> {
    fn drop(&mut self) {
        self.0.awaiting.add_permits(1);
    }
}

impl<C: Connect> fmt::Debug for AwaitingPermit<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitingPermit")
    }
}

/// Limits of the connections beyond `max`, if awaiting operations have such.
pub(super) fn extra_lane(options: &PoolOptions) -> Option<PoolOptions> {
    let max = options.awaiting_max?;
    let jitter_seed = options.jitter_seed.wrapping_add(1);
    Some(PoolOptions { max, min_idle: 0, awaiting_max: None, jitter_seed, ..options.clone() })
}
