//! The handle to a running topology.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::dial::{Dial, TcpDial};
use super::driver::Driver;
use super::event::TopologyEvent;
use super::member::Member;
use super::monitor::MonitorOptions;
use super::options::TopologyOptions;
use super::set_state::{SetOptions, SetState};
use super::shared::Shared;

/// Events that wait in the channel; more wait in the driver.
const EVENTS_MAX: usize = 256;

/// A set that is being followed. Clones are the same one; when the last is dropped, all of its tasks end.
#[derive(Debug, Clone)]
pub struct Topology {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Topology {
    /// Begins to discover and monitor, on the current tokio runtime. The events come in order and none is left out;
    /// a receiver that is dropped stops nothing.
    pub fn start(options: TopologyOptions) -> (Topology, mpsc::Receiver<TopologyEvent>) {
        Topology::start_by(TcpDial, options)
    }

    /// As [`Topology::start`], reaching the servers by `dial`.
    pub fn start_by(dial: impl Dial, options: TopologyOptions) -> (Topology, mpsc::Receiver<TopologyEvent>) {
        let TopologyOptions { seeds, set_name, direct, .. } = options;
        let (state, first) = SetState::new(SetOptions { seeds, set_name, direct }, Instant::now());
        let monitoring = Arc::new(MonitorOptions {
            connect_timeout: options.connect_timeout,
            // Two polls at least in the time after which a silent member is lost.
            poll_interval: options.poll_interval.min(options.connect_timeout / 2),
            await_time: options.await_time,
            jitter_seed: options.jitter_seed,
        });
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared::new());
        let driver = Driver::new(state, dial, monitoring, shared.clone(), sender);
        let driver = tokio::spawn(driver.run(first));
        (Topology { inner: Arc::new(Inner { shared, driver }) }, events)
    }

    /// The members in the order of the set's configuration; none until they are known.
    pub fn members(&self) -> Arc<[Arc<Member>]> {
        self.inner.shared.members()
    }

    /// The set's name: the one asked for, or the one that the servers told; none for a standalone.
    pub fn set_name(&self) -> Option<String> {
        self.inner.shared.set_name()
    }

    /// The member that is primary.
    pub fn primary(&self) -> Option<Arc<Member>> {
        let primary = self.inner.shared.primary()?;
        self.members().iter().find(|member| member.name == primary).cloned()
    }

    /// One line for people: the set, its primary, and what is wrong with whom.
    pub fn status(&self) -> String {
        self.inner.shared.status()
    }

    /// Returns once the members are known. Waits without end while no seed answers: the caller bounds it, and shows
    /// [`Topology::status`]. Cancel safe.
    pub async fn first_ready(&self) {
        self.inner.shared.ready().await;
    }
}
