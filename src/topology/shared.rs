//! What the driver publishes and everyone reads.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::address::HostPort;
use super::member::Member;
use super::set_state::SetState;

/// The published state of a topology.
#[derive(Debug)]
pub(super) struct Shared {
    members: ArcSwap<Arc<[Arc<Member>]>>,
    summary: ArcSwap<Summary>,
    ready: watch::Sender<bool>,
}

/// What is known of the set as a whole.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    status: String,
    set_name: Option<String>,
    primary: Option<HostPort>,
}

impl Shared {
    pub(super) fn new() -> Shared {
        let none: Arc<[Arc<Member>]> = Arc::new([]);
        let status = "nobody was asked yet".to_owned();
        Shared {
            members: ArcSwap::from_pointee(none),
            summary: ArcSwap::from_pointee(Summary { status, set_name: None, primary: None }),
            ready: watch::Sender::new(false),
        }
    }

    pub(super) fn members(&self) -> Arc<[Arc<Member>]> {
        Arc::clone(&self.members.load())
    }

    pub(super) fn status(&self) -> String {
        self.summary.load().status.clone()
    }

    pub(super) fn set_name(&self) -> Option<String> {
        self.summary.load().set_name.clone()
    }

    pub(super) fn primary(&self) -> Option<HostPort> {
        self.summary.load().primary.clone()
    }

    pub(super) async fn ready(&self) {
        // The sender is a field of ours, so it outlives the wait.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    pub(super) fn publish(&self, members: Vec<Arc<Member>>, state: &SetState) {
        let set_name = state.set_name().map(str::to_owned);
        let summary = Summary { status: state.status(), set_name, primary: state.primary().cloned() };
        if **self.summary.load() != summary {
            self.summary.store(Arc::new(summary));
        }
        let old = self.members();
        let same = old.len() == members.len() && old.iter().zip(&members).all(|(a, b)| Arc::ptr_eq(a, b));
        if !same {
            self.members.store(Arc::new(members.into()));
            self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
    }
}
