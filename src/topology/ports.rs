//! Which port of a listener group each member gets, and the name that clients of the group know it by.
//!
//! A driver remembers members by the names that it dialled, so a port changes its member only when nothing else is
//! left. Pure: it opens nothing. Called by the owner of the listeners on each change of members.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::address::HostPort;
use super::names::GroupNames;

/// A listener group's layout.
#[derive(Debug, Clone)]
pub struct PortOptions {
    /// Where the group listens: its host, and the first of its consecutive ports.
    pub listen: HostPort,
    /// The host in advertised names.
    pub advertise: String,
    /// Ports in the range, from the first one. A set has at most 50 members.
    pub span: u16,
    /// Members that the operator placed; they take no port of the range.
    pub overrides: HashMap<HostPort, PortOverride>,
}

/// What an operator fixed for one member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortOverride {
    /// Where it listens.
    pub listen: Option<HostPort>,
    /// The name that clients dial.
    pub advertise: Option<HostPort>,
}

/// One member's place in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The member.
    pub member: HostPort,
    /// Where its listener listens.
    pub listen: HostPort,
    /// What clients dial.
    pub advertise: HostPort,
}

/// Why a member gets no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// More members than ports.
    #[error("no port is left for member {member}: {listen} and the {span} ports from it are taken")]
    Exhausted {
        /// The member.
        member: HostPort,
        /// The first port.
        listen: HostPort,
        /// Ports in the range.
        span: u16,
    },
}

/// A port of the range, as far as it was ever given out.
#[derive(Debug)]
struct Slot {
    port: u16,
    member: HostPort,
    id: Option<i64>,
    /// The step at which its member was removed; `None` while it is there.
    freed: Option<u64>,
}

/// The ports of one listener group.
#[derive(Debug)]
pub struct PortMap {
    options: PortOptions,
    slots: Vec<Slot>,
    step: u64,
    assignments: Vec<Assignment>,
}

impl PortMap {
    /// A group without members.
    pub fn new(options: PortOptions) -> PortMap {
        PortMap { options, slots: Vec::new(), step: 0, assignments: Vec::new() }
    }

    /// Brings the group in line with `members`, in the order of the set's configuration, each with its `_id` there.
    ///
    /// A member that stays, or comes back, has the port that it had; one that was renamed (another name, the same
    /// `_id`) has its old name's; a new one gets the next port that nobody had, and when there is none, that of the
    /// member that was removed longest ago. On an error all other members are placed.
    pub fn update(&mut self, members: &[(HostPort, Option<i64>)]) -> Result<&[Assignment], PortError> {
        self.step += 1;
        self.free_and_rename(members);
        self.assignments.clear();
        let mut result = Ok(());
        for (member, id) in members {
            let fixed = self.options.overrides.get(member).and_then(|fixed| fixed.listen.clone());
            let listen = match fixed {
                Some(listen) => listen,
                None => match self.port(member, *id) {
                    Ok(port) => HostPort::new(self.options.listen.host(), port),
                    Err(error) => {
                        result = Err(error);
                        continue;
                    }
                },
            };
            self.assignments.push(self.placed(member, listen));
        }
        result.map(|()| self.assignments.as_slice())
    }

    /// The members that have a place, in the order of the last update.
    pub fn assignments(&self) -> &[Assignment] {
        &self.assignments
    }

    /// The names of both sides, for rewriting; those of members that were removed, too.
    pub fn names(&self) -> GroupNames {
        let pair = |a: &Assignment| (a.member.spelled().to_owned(), a.advertise.to_string());
        let placed = |member: &HostPort| self.assignments.iter().any(|assigned| assigned.member == *member);
        let slots = self
            .slots
            .iter()
            .map(|slot| (&slot.member, HostPort::new(self.options.listen.host(), slot.port)));
        let fixed = self.options.overrides.iter();
        let fixed = fixed.filter_map(|(member, fixed)| Some((member, fixed.listen.clone()?)));
        let gone = slots.chain(fixed).filter(|(member, _)| !placed(member));
        let former = gone.map(|(member, listen)| pair(&self.placed(member, listen)));
        GroupNames::new(self.assignments.iter().map(pair)).with_former(former)
    }

    /// Where the group listens or may listen, and what it is called there: hosts and consecutive ports.
    pub fn own_addresses(&self) -> Vec<(String, RangeInclusive<u16>)> {
        let PortOptions { listen, advertise, span, overrides } = &self.options;
        let ports = listen.port()..=listen.port().saturating_add(span.saturating_sub(1));
        let mut own = vec![(advertise.clone(), ports.clone()), (listen.host().to_owned(), ports)];
        for fixed in overrides.values().flat_map(|fixed| [&fixed.listen, &fixed.advertise]).flatten() {
            own.push((fixed.host().to_owned(), fixed.port()..=fixed.port()));
        }
        own
    }

    fn placed(&self, member: &HostPort, listen: HostPort) -> Assignment {
        let fixed = self.options.overrides.get(member).and_then(|fixed| fixed.advertise.clone());
        let advertise = fixed.unwrap_or_else(|| HostPort::new(&self.options.advertise, listen.port()));
        Assignment { member: member.clone(), listen, advertise }
    }

    fn free_and_rename(&mut self, members: &[(HostPort, Option<i64>)]) {
        let overridden = |member: &HostPort| {
            self.options.overrides.get(member).is_some_and(|fixed| fixed.listen.is_some())
        };
        let known: Vec<HostPort> = self.slots.iter().map(|slot| slot.member.clone()).collect();
        for slot in &mut self.slots {
            if let Some((_, id)) = members.iter().find(|(member, _)| *member == slot.member) {
                slot.id = id.or(slot.id);
                continue;
            }
            let renamed = |(member, id): &&(HostPort, Option<i64>)| {
                id.is_some() && *id == slot.id && !known.contains(member) && !overridden(member)
            };
            match members.iter().find(renamed).filter(|_| slot.freed.is_none()) {
                Some((member, _)) => slot.member = member.clone(),
                None => slot.freed = slot.freed.or(Some(self.step)),
            }
        }
    }

    fn port(&mut self, member: &HostPort, id: Option<i64>) -> Result<u16, PortError> {
        let own = self.slots.iter().position(|slot| slot.member == *member);
        let slot = match own {
            Some(own) => own,
            None => self.new_slot(member)?,
        };
        match self.slots.get_mut(slot) {
            Some(slot) => {
                (slot.member, slot.id, slot.freed) = (member.clone(), id, None);
                Ok(slot.port)
            }
            None => Err(self.exhausted(member)),
        }
    }

    /// A port that nobody had, or else that of the longest-gone member.
    fn new_slot(&mut self, member: &HostPort) -> Result<usize, PortError> {
        let first = self.options.listen.port();
        let last = first.saturating_add(self.options.span.saturating_sub(1));
        let fixed = |port: u16| {
            let listens = |fixed: &PortOverride| {
                fixed.listen.as_ref().is_some_and(|listen| {
                    listen.port() == port && listen.host() == self.options.listen.host()
                })
            };
            self.options.overrides.values().any(listens)
        };
        let given = |port: u16| self.slots.iter().any(|slot| slot.port == port);
        if let Some(port) = (first..=last).find(|port| !given(*port) && !fixed(*port)) {
            self.slots.push(Slot { port, member: member.clone(), id: None, freed: None });
            return Ok(self.slots.len() - 1);
        }
        let free = self.slots.iter().enumerate().filter_map(|(at, slot)| Some((slot.freed?, at)));
        free.min().map(|(_, at)| at).ok_or_else(|| self.exhausted(member))
    }

    fn exhausted(&self, member: &HostPort) -> PortError {
        let PortOptions { listen, span, .. } = &self.options;
        PortError::Exhausted { member: member.clone(), listen: listen.clone(), span: *span }
    }
}

#[cfg(test)]
mod tests;
