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

    /// Takes out those that are no longer members. One that was removed and added again between two looks is another
    /// member of the same name: the hello of the first is lost for good.
    pub fn take_gone(&mut self, current: &[Arc<Member>]) -> Vec<S> {
        let is_current = |served: &S| current.iter().any(|member| Arc::ptr_eq(member, served.monitored()));
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

    /// A late event of a member that was removed does not concern the one that has its name now.
    fn each_pool(&self, member: &Arc<Member>, act: impl Fn(&Pool<S::Connect>)) {
        let served = self.0.get(member.name.spelled());
        if let Some(served) = served.filter(|served| Arc::ptr_eq(served.monitored(), member)) {
            served.each_pool(act);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{CheckoutError, Class, ConnectError, Connection, NoEvents, PoolOptions};
    use std::time::Duration;

    struct Nobody;

    impl Connection for Nobody {
        fn is_broken(&mut self, _idle: Duration) -> bool {
            false
        }
    }

    impl Connect for Nobody {
        type Connection = Nobody;

        async fn connect(&self) -> Result<Nobody, ConnectError> {
            std::future::pending().await
        }
    }

    struct Serving(Arc<Member>, Pool<Nobody>);

    impl Served for Serving {
        type Connect = Nobody;

        fn monitored(&self) -> &Arc<Member> {
            &self.0
        }

        fn each_pool(&self, act: impl Fn(&Pool<Nobody>)) {
            act(&self.1);
        }
    }

    fn serving(member: &Arc<Member>) -> Serving {
        let pool = Pool::new(PoolOptions::default(), Nobody, Arc::new(NoEvents)).unwrap();
        Serving(member.clone(), pool)
    }

    fn member(name: &str) -> Arc<Member> {
        Arc::new(Member::new(name.parse().unwrap(), Duration::from_secs(1)))
    }

    fn lost(member: &Arc<Member>) -> TopologyEvent {
        TopologyEvent::MemberLost { member: member.clone(), cause: "gone".to_owned() }
    }

    async fn refuses(served: &Serving) -> bool {
        let soon = tokio::time::Instant::now() + Duration::from_millis(1);
        let answer = served.1.check_out(Class::Ordinary, Some(soon)).await;
        matches!(answer, Err(CheckoutError::Unavailable { .. }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_removed_and_added_between_two_looks_is_served_anew() {
        let (first, second, other) = (member("a:1"), member("a:1"), member("b:1"));
        let mut roster = Roster::default();
        roster.add(serving(&first));
        roster.add(serving(&other));
        let current = [second.clone(), other.clone()];
        let gone = roster.take_gone(&current);
        assert!(gone.len() == 1 && Arc::ptr_eq(gone[0].monitored(), &first));
        let missing = roster.missing(&current);
        assert!(missing.len() == 1 && Arc::ptr_eq(&missing[0], &second));
        roster.add(serving(&second));
        roster.apply(&lost(&first));
        assert!(!refuses(roster.get("a:1").unwrap()).await, "an event of the first");
        roster.apply(&lost(&second));
        assert!(refuses(roster.get("a:1").unwrap()).await);
        assert!(!refuses(roster.get("b:1").unwrap()).await, "another member");
    }
}
