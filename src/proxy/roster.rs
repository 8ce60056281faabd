//! The members that are served, by name, and what a topology event does to their pools.
//!
//! Generic over what serves a member, so that the simulation follows a set by the same code as the proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::topology::{Member, TopologyEvent};

/// Whatever serves one member.
pub trait Served {
    /// The member, as the topology handed it out.
    fn monitored(&self) -> &Arc<Member>;

    /// The member is lost: its pools give nothing out until it is back.
    fn pause(&self, cause: &str);

    /// It answers again.
    fn resume(&self);

    /// All connections of now are stale.
    fn clear(&self, cause: &str);
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

    /// Who serves this very member. A late event of one that was removed does not concern the one that has its name now.
    pub fn serving(&self, member: &Arc<Member>) -> Option<&S> {
        self.0.get(member.name.spelled()).filter(|served| Arc::ptr_eq(served.monitored(), member))
    }

    /// Does to a member's pools what an event means for them. Those of other members are not touched.
    pub fn apply(&self, event: &TopologyEvent) {
        let (TopologyEvent::MemberLost { member, .. }
        | TopologyEvent::MemberRecovered(member)
        | TopologyEvent::ServerRestarted(member)) = event
        else {
            return;
        };
        let Some(served) = self.serving(member) else { return };
        match event {
            TopologyEvent::MemberLost { loss, .. } => served.pause(&loss.cause),
            TopologyEvent::MemberRecovered(_) => served.resume(),
            _ => served.clear("the member has restarted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::Duration;

    struct Serving(Arc<Member>, Cell<bool>);

    impl Served for Serving {
        fn monitored(&self) -> &Arc<Member> {
            &self.0
        }

        fn pause(&self, _cause: &str) {
            self.1.set(true);
        }

        fn resume(&self) {
            self.1.set(false);
        }

        fn clear(&self, _cause: &str) {}
    }

    fn serving(member: &Arc<Member>) -> Serving {
        Serving(member.clone(), Cell::new(false))
    }

    fn member(name: &str) -> Arc<Member> {
        Arc::new(Member::new(name.parse().unwrap(), Duration::from_secs(1)))
    }

    fn lost(member: &Arc<Member>) -> TopologyEvent {
        TopologyEvent::MemberLost { member: member.clone(), loss: "gone".to_owned().into() }
    }

    fn is_paused(roster: &Roster<Serving>, name: &str) -> bool {
        roster.get(name).unwrap().1.get()
    }

    #[test]
    fn a_member_removed_and_added_between_two_looks_is_served_anew() {
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
        assert!(!is_paused(&roster, "a:1"), "an event of the first");
        roster.apply(&lost(&second));
        assert!(is_paused(&roster, "a:1"));
        roster.apply(&TopologyEvent::MemberRecovered(first));
        assert!(is_paused(&roster, "a:1"), "an event of the first");
        assert!(!is_paused(&roster, "b:1"), "another member");
    }
}
