//! One direction of a group's names, and what a rewriting did.

use crate::topology::GroupNames;

/// The port of a name that has none (`ServerGlobalParams::DefaultDBPort`).
const DEFAULT_PORT: &str = "27017";

/// What a rewriting found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rewritten {
    /// Names that were replaced.
    pub changed: usize,
    /// Names of members, in places that hold nothing else, that the group does not know. They were left as they
    /// are: torana gives every member of the configuration a listener, so these are names that just came or went,
    /// and taking them out of `rs.conf()` would take the member out of the set with the next reconfiguration.
    pub unmapped: usize,
}

/// Which way names are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToClient,
    ToServer,
}

/// Looks names up in one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameMap<'n> {
    names: &'n GroupNames,
    direction: Direction,
}

impl<'n> NameMap<'n> {
    /// Members' own names to those that clients know.
    pub(super) fn to_client(names: &'n GroupNames) -> Self {
        NameMap { names, direction: Direction::ToClient }
    }

    /// And back.
    pub(super) fn to_server(names: &'n GroupNames) -> Self {
        NameMap { names, direction: Direction::ToServer }
    }

    /// What stands for `name`, which is `host:port`.
    pub(super) fn exactly(&self, name: &[u8]) -> Option<&'n str> {
        let name = std::str::from_utf8(name).ok()?;
        match self.direction {
            Direction::ToClient => self.names.to_client(name),
            Direction::ToServer => self.names.to_server(name),
        }
    }

    /// What stands for `name`, which may lack its port, as in a configuration that a person wrote.
    pub(super) fn with_default_port(&self, name: &[u8]) -> Option<&'n str> {
        let found = self.exactly(name);
        let bare = found.is_none() && !name.is_empty() && (!name.contains(&b':') || name.ends_with(b"]"));
        match bare {
            true => self.exactly(&[name, b":", DEFAULT_PORT.as_bytes()].concat()),
            false => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_port_has_the_default_one() {
        let names = GroupNames::new([("[::1]:27017".to_owned(), "gate:27017".to_owned())]);
        assert_eq!(NameMap::to_server(&names).with_default_port(b"Gate"), Some("[::1]:27017"));
        assert_eq!(NameMap::to_client(&names).with_default_port(b"[::1]"), Some("gate:27017"));
        assert_eq!(NameMap::to_server(&names).with_default_port(b"gate:27018"), None);
        assert_eq!(NameMap::to_server(&names).with_default_port(b""), None);
    }
}
