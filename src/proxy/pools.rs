//! The pools of one member: one, or as an option one for each application name.
//!
//! Servers log and profile by application name, and fail points match by it. Where that matters, the clients of each
//! name have connections that carry it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::context::Pool;
use super::pool_events::Observer;
use crate::pool::{OptionsError, PoolOptions, Status};
use crate::server::Connector;

/// Applications with a pool of their own at a member. Later ones share the common pool: names come from clients.
const APPLICATIONS_MAX: usize = 64;

/// One member's pools.
pub struct Pools {
    /// For clients without a name, and for all if pools are not kept by application.
    common: Pool,
    named: Option<Named>,
}

struct Named {
    options: PoolOptions,
    connector: Connector,
    observer: Observer,
    pools: Mutex<HashMap<String, Pool>>,
}

impl Pools {
    /// The common pool, on the current tokio runtime. `per_application` adds one for each application name.
    pub fn new(
        options: PoolOptions,
        connector: Connector,
        observer: Observer,
        per_application: bool,
    ) -> Result<Pools, OptionsError> {
        let common = Pool::new(options.clone(), connector.clone(), Arc::new(observer.clone()))?;
        let named = per_application.then(|| Named { options, connector, observer, pools: Mutex::default() });
        Ok(Pools { common, named })
    }

    /// The pool for clients that have not named their application, and for torana's own commands.
    pub fn common(&self) -> &Pool {
        &self.common
    }

    /// The pool for clients of `application`.
    pub fn of(&self, application: &str) -> Pool {
        let Some(named) = &self.named else { return self.common.clone() };
        let mut pools = named.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(application) {
            return pool.clone();
        }
        let connector = named.connector.for_application(application);
        let made = Pool::new(named.options.clone(), connector, Arc::new(named.observer.clone()));
        match made {
            Ok(pool) if pools.len() < APPLICATIONS_MAX => {
                pools.insert(application.to_owned(), pool.clone());
                pool
            }
            _ => self.common.clone(),
        }
    }

    /// Does `act` to each pool.
    pub fn each(&self, act: impl Fn(&Pool)) {
        act(&self.common);
        if let Some(named) = &self.named {
            named.pools.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(act);
        }
    }

    /// All of them in numbers.
    pub fn status(&self) -> Status {
        let mut sum = self.common.status();
        if let Some(named) = &self.named {
            for pool in named.pools.lock().unwrap_or_else(PoisonError::into_inner).values() {
                let status = pool.status();
                sum.max += status.max;
                sum.size += status.size;
                sum.idle += status.idle;
                sum.out += status.out;
                sum.connecting += status.connecting;
                sum.waiting += status.waiting;
                sum.queue_max += status.queue_max;
                sum.ordinary += status.ordinary;
                sum.ordinary_max += status.ordinary_max;
                sum.awaiting += status.awaiting;
                sum.awaiting_max += status.awaiting_max;
            }
        }
        sum
    }
}
