//! Who belongs to the set: the hello lists of the server that is believed, completed by the set's configuration.
//!
//! Hello lists leave hidden members out and follow no order, so `replSetGetConfig` is asked whenever they may have
//! changed, and a change is held back for a moment until its answer is there: so a renamed member keeps its `_id`,
//! and a hidden one does not vanish and come back. Where the configuration is refused, the lists have to do.

use std::time::Duration;

use tokio::time::Instant;

use super::address::HostPort;
use super::description::ElectionId;
use super::set_config::{ConfigMember, SetConfig};

/// How long a change of the lists waits for the configuration.
const CONFIG_WAIT: Duration = Duration::from_secs(2);
/// Pause between two questions for the configuration while a change waits for it. Questions only follow hellos.
const ASK_PAUSE: Duration = Duration::from_millis(100);
/// The same when the wait is over: its answers do not fit the hello lists, and may never.
const LATE_ASK_PAUSE: Duration = Duration::from_secs(5);

/// What the believed server says of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Hosts, passives and arbiters.
    pub listed: Vec<HostPort>,
    /// The configuration's version.
    pub set_version: Option<i64>,
    /// The newest election known. Another election may have brought another configuration of the same version.
    pub election_id: Option<ElectionId>,
}

/// What came of a question for the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigAnswer {
    /// The configuration.
    Known(SetConfig),
    /// The server does not tell us (authentication, for example). Not asked again for this version.
    Refused,
    /// No usable answer; the next hello asks again.
    Failed,
}

/// The believed view, and the configuration that completes it.
#[derive(Debug, Default)]
pub struct Membership {
    view: Option<View>,
    config: Option<SetConfig>,
    answered: bool,
    changed: Option<Instant>,
    asked: Option<Instant>,
    in_flight: Option<HostPort>,
}

impl Membership {
    /// The version of the believed view.
    pub fn set_version(&self) -> Option<i64> {
        self.view.as_ref().and_then(|view| view.set_version)
    }

    /// Whether any server was believed yet.
    pub fn is_known(&self) -> bool {
        self.view.is_some()
    }

    /// Believes `view` from now on.
    pub fn adopt(&mut self, view: View, now: Instant) {
        if self.view.as_ref() != Some(&view) {
            self.view = Some(view);
            self.answered = false;
            self.changed = Some(now);
            self.asked = None;
        }
    }

    /// Whether `from` should be asked for the configuration now; counts as asked if so.
    pub fn ask(&mut self, from: &HostPort, now: Instant) -> bool {
        let pause = if self.is_late(now) { LATE_ASK_PAUSE } else { ASK_PAUSE };
        let rested = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= pause);
        let ask = self.view.is_some() && !self.answered && self.in_flight.is_none() && rested;
        if ask {
            self.asked = Some(now);
            self.in_flight = Some(from.clone());
        }
        ask
    }

    /// Takes the answer of `from`.
    pub fn on_config(&mut self, from: &HostPort, answer: ConfigAnswer) {
        self.forget_question(from);
        match answer {
            ConfigAnswer::Known(config) => {
                if self.fits(&config) {
                    self.answered = true;
                    self.config = Some(config);
                }
            }
            ConfigAnswer::Refused => self.answered = true,
            ConfigAnswer::Failed => {}
        }
    }

    /// `from` was lost, and will not answer.
    pub fn forget_question(&mut self, from: &HostPort) {
        if self.in_flight.as_ref() == Some(from) {
            self.in_flight = None;
        }
    }

    /// The members in order; `None` while nobody was believed, or a change waits for the configuration.
    pub fn members(&self, now: Instant) -> Option<Vec<ConfigMember>> {
        let view = self.view.as_ref()?;
        if let Some(config) = self.config.as_ref().filter(|config| self.fits(config)) {
            return Some(config.members.clone());
        }
        (self.answered || self.is_late(now)).then(|| self.merge(view))
    }

    /// Who is to be asked for the configuration while a change waits for it: the believed server may be an arbiter,
    /// which cannot tell.
    pub fn candidates(&self, now: Instant) -> &[HostPort] {
        let waiting = self.view.as_ref().filter(|_| self.members(now).is_none());
        waiting.map(|view| view.listed.as_slice()).unwrap_or_default()
    }

    /// When `members` changes by time alone.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let waits = self.view.is_some() && self.members(now).is_none();
        self.changed.filter(|_| waits).map(|changed| changed + CONFIG_WAIT)
    }

    fn is_late(&self, now: Instant) -> bool {
        self.changed.is_some_and(|changed| now.saturating_duration_since(changed) >= CONFIG_WAIT)
    }

    fn fits(&self, config: &SetConfig) -> bool {
        let fit = |view: &View| {
            view.set_version.is_none_or(|version| version == config.version)
                && config.covers(view.listed.iter())
        };
        self.view.as_ref().is_some_and(fit)
    }

    /// The listed members in the order of the last configuration, then those it does not know.
    fn merge(&self, view: &View) -> Vec<ConfigMember> {
        let old = self.config.iter().flat_map(|config| &config.members);
        let mut merged: Vec<ConfigMember> =
            old.filter(|member| view.listed.contains(&member.address)).cloned().collect();
        for address in &view.listed {
            if !merged.iter().any(|member| member.address == *address) {
                merged.push(ConfigMember { id: None, address: address.clone() });
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    fn view(listed: &[&str], version: i64) -> View {
        View { listed: listed.iter().map(|t| at(t)).collect(), set_version: Some(version), election_id: None }
    }

    fn config(hosts: &[&str], version: i64) -> ConfigAnswer {
        let member = |(id, host): (usize, &&str)| ConfigMember { id: Some(id as i64), address: at(host) };
        ConfigAnswer::Known(SetConfig { version, members: hosts.iter().enumerate().map(member).collect() })
    }

    fn shown(membership: &Membership, now: Instant) -> Option<Vec<String>> {
        membership.members(now).map(|all| all.iter().map(|member| member.address.to_string()).collect())
    }

    #[test]
    fn the_configuration_adds_hidden_members_and_gives_the_order() {
        let (now, mut set) = (Instant::now(), Membership::default());
        set.adopt(view(&["b:1", "a:1"], 1), now);
        assert_eq!(shown(&set, now), None);
        assert!(set.ask(&at("a:1"), now) && !set.ask(&at("b:1"), now));
        set.on_config(&at("a:1"), config(&["a:1", "h:1", "b:1"], 1));
        assert_eq!(shown(&set, now).unwrap(), ["a:1", "h:1", "b:1"]);
        assert!(!set.ask(&at("a:1"), now + LATE_ASK_PAUSE));
    }

    #[test]
    fn refusal_and_a_late_answer_leave_the_lists() {
        let (now, mut set) = (Instant::now(), Membership::default());
        set.adopt(view(&["b:1", "a:1"], 1), now);
        assert_eq!(set.next_timeout(now), Some(now + CONFIG_WAIT));
        assert_eq!(shown(&set, now + CONFIG_WAIT).unwrap(), ["b:1", "a:1"]);
        assert!(set.ask(&at("a:1"), now));
        set.on_config(&at("a:1"), ConfigAnswer::Refused);
        assert_eq!(shown(&set, now).unwrap(), ["b:1", "a:1"]);
        assert!(!set.ask(&at("a:1"), now + LATE_ASK_PAUSE));
    }

    #[test]
    fn an_answer_of_another_version_is_asked_for_again() {
        let (now, mut set) = (Instant::now(), Membership::default());
        set.adopt(view(&["a:1"], 2), now);
        assert!(set.ask(&at("a:1"), now));
        set.on_config(&at("a:1"), config(&["a:1", "h:1"], 1));
        assert_eq!(shown(&set, now), None);
        assert!(!set.ask(&at("a:1"), now) && set.ask(&at("a:1"), now + ASK_PAUSE));
    }

    #[test]
    fn a_question_to_a_lost_server_does_not_block_the_next() {
        let (now, mut set) = (Instant::now(), Membership::default());
        set.adopt(view(&["a:1", "b:1"], 2), now);
        assert!(set.ask(&at("a:1"), now));
        set.forget_question(&at("a:1"));
        assert!(set.ask(&at("b:1"), now + ASK_PAUSE));
    }

    #[test]
    fn a_new_election_keeps_the_members_while_the_configuration_is_asked_again() {
        let (now, mut set) = (Instant::now(), Membership::default());
        set.adopt(view(&["a:1"], 2), now);
        assert!(set.ask(&at("a:1"), now));
        set.on_config(&at("a:1"), config(&["a:1", "h:1"], 2));
        set.adopt(View { election_id: Some(ElectionId([9; 12])), ..view(&["a:1"], 2) }, now);
        assert_eq!(shown(&set, now).unwrap(), ["a:1", "h:1"]);
        assert!(set.ask(&at("a:1"), now));
    }
}
