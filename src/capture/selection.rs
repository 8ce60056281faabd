//! What of the traffic is captured: which connections, and which of their requests.

use std::fmt;
use std::net::IpAddr;

use super::asked::Asked;
use crate::config::{CaptureConfig, CollectionPattern, Network};

/// What is taken. An empty list takes all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// One connection of so many.
    pub sample: u32,
    /// Requests on these databases.
    pub databases: Vec<String>,
    /// Requests on these collections.
    pub collections: Vec<CollectionPattern>,
    /// These commands.
    pub commands: Vec<String>,
    /// Connections of these applications.
    pub applications: Vec<String>,
    /// Connections from these addresses.
    pub clients: Vec<Network>,
}

impl Default for Selection {
    fn default() -> Selection {
        let (databases, collections, commands) = Default::default();
        let (applications, clients) = Default::default();
        Selection { sample: 1, databases, collections, commands, applications, clients }
    }
}

impl Selection {
    /// Whether connection `id` from `client` is taken, of an application by this name if it has said one.
    pub fn takes_connection(&self, id: u64, client: Option<IpAddr>, application: &str) -> bool {
        let is_from = |network: &Network| client.is_some_and(|client| network.has(client));
        (self.sample <= 1 || mixed(id).is_multiple_of(u64::from(self.sample)))
            && (self.clients.is_empty() || self.clients.iter().any(is_from))
            && (self.applications.is_empty() || self.applications.iter().any(|name| name == application))
    }

    /// Whether each request has to be looked at.
    pub fn looks_at_requests(&self) -> bool {
        !(self.databases.is_empty() && self.collections.is_empty() && self.commands.is_empty())
    }

    /// Whether a request is taken. What opens a connection or ends a transaction goes with those that are.
    pub fn takes_request(&self, asked: &Asked<'_>) -> bool {
        if asked.goes_with_others() {
            return true;
        }
        let is = |name: &String| name.as_bytes() == asked.database;
        (self.commands.is_empty() || self.commands.iter().any(|name| name.as_bytes() == asked.command))
            && (self.databases.is_empty() || self.databases.iter().any(is))
            && (self.collections.is_empty()
                || self.collections.iter().any(|one| one.matches(&asked.namespace())))
    }
}

/// Numbers that follow each other, far apart (the last step of SplitMix64): a sample takes none of a pattern.
fn mixed(id: u64) -> u64 {
    let mut x = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl From<&CaptureConfig> for Selection {
    fn from(config: &CaptureConfig) -> Selection {
        Selection {
            sample: config.sample,
            databases: config.databases.clone(),
            collections: config.collections.clone(),
            commands: config.commands.clone(),
            applications: config.applications.clone(),
            clients: config.clients.clone(),
        }
    }
}

impl fmt::Display for Selection {
    /// In words; nothing if all is taken.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients: Vec<String> = self.clients.iter().map(Network::to_string).collect();
        let collections: Vec<String> = self.collections.iter().map(CollectionPattern::to_string).collect();
        let lists = [
            ("databases", &self.databases),
            ("collections", &collections),
            ("commands", &self.commands),
            ("applications", &self.applications),
            ("clients", &clients),
        ];
        let said = lists.iter().filter(|(_, list)| !list.is_empty());
        let said: Vec<String> = said.map(|(name, list)| format!("{name} {}", list.join(", "))).collect();
        f.write_str(&said.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(command: &'a str, database: &'a str, collection: &'a str) -> Asked<'a> {
        Asked {
            command: command.as_bytes(),
            database: database.as_bytes(),
            collection: collection.as_bytes(),
        }
    }

    #[test]
    fn a_sample_takes_about_its_share_of_connections_and_always_the_same() {
        let selection = Selection { sample: 10, ..Selection::default() };
        let taken = || (0..10_000).filter(|id| selection.takes_connection(*id, None, "")).count();
        assert!((900..1_100).contains(&taken()), "{}", taken());
        assert_eq!(taken(), taken());
    }

    #[test]
    fn requests_are_taken_by_all_that_is_said_of_them() {
        let selection = Selection {
            collections: vec!["app.user*".parse().unwrap(), "app.x".parse().unwrap()],
            commands: vec!["find".into()],
            ..Selection::default()
        };
        assert!(selection.takes_request(&asked("find", "app", "users")));
        assert!(selection.takes_request(&asked("find", "app", "x")));
        assert!(!selection.takes_request(&asked("find", "app", "xy")));
        assert!(!selection.takes_request(&asked("insert", "app", "x")));
        assert!(selection.takes_request(&asked("commitTransaction", "admin", "")));
        assert_eq!(selection.to_string(), "collections app.user*, app.x; commands find");
    }
}
