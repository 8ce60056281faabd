//! The members that are served, by name, and what a topology event does to their pools.
//!
//! Generic over what serves a member, so that the simulation follows a set by the same code as the proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::pool::{Connect, Pool};
use crate::topology::{Member, TopologyEvent};

/// Whatever serves one member.
pub trait Served {
    /// Makes its server connections.
    type Connect: Connect;

    /// The member, as the topology handed it out.
    fn monitored(&self) -> &Arc<Member>;

    /// Does `act` to each of its pools.
    fn each_pool(&self, act: impl Fn(&Pool<Self::Connect>));
}

/// All that are served.
#[derive(Debug)]
pub struct Roster<S>(BTreeMap<String, S>);

impl<S> Default for Roster<S> {
    fn default() -> Self {
        Roster(BTreeMap::new())
    }
}

impl<S: Served> Roster<S> {
    /// Who serves the member of this name, as the configuration spells it.
    pub fn get(&self, name: &str) -> Option<&S> {
        self.0.get(name)
    }

    /// As [`get`](Self::get), to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut S> {
        self.0.get_mut(name)
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.0.values()
    }

    /// Takes out those that are no longer members.
    pub fn take_gone(&mut self, current: &[Arc<Member>]) -> Vec<S> {
        let is_current = |served: &S| {
            let name = served.monitored().name.spelled();
            current.iter().any(|member| member.name.spelled() == name)
        };
        let all = std::mem::take(&mut self.0).into_iter();
        let (current, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.partition(|(_, served)| is_current(served));
        self.0 = current;
        gone.into_values().collect()
    }

    /// The members that nobody serves yet.
    pub fn missing(&self, current: &[Arc<Member>]) -> Vec<Arc<Member>> {
        current.iter().filter(|member| !self.0.contains_key(member.name.spelled())).cloned().collect()
    }

    /// `served` serves its member from now on.
    pub fn add(&mut self, served: S) {
        self.0.insert(served.monitored().name.spelled().to_owned(), served);
    }

    /// Does to a member's pools what an event means for them. Those of other members are not touched.
    pub fn apply(&self, event: &TopologyEvent) {
        match event {
            TopologyEvent::MemberLost { member, cause } => self.each_pool(member, |pool| pool.pause(cause)),
            TopologyEvent::MemberRecovered(member) => self.each_pool(member, Pool::resume),
            TopologyEvent::ServerRestarted(member) => {
                self.each_pool(member, |pool| pool.clear("the member has restarted"));
            }
            TopologyEvent::MemberAdded(_)
            | TopologyEvent::MemberRemoved(_)
            | TopologyEvent::PrimaryChanged(_) => {}
        }
    }

    fn each_pool(&self, member: &Member, act: impl Fn(&Pool<S::Connect>)) {
        if let Some(served) = self.0.get(member.name.spelled()) {
            served.each_pool(act);
        }
    }
}
