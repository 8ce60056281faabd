//! The replica set's configuration, as `replSetGetConfig` returns it: the one place that lists hidden members, and
//! the order and ids of all.

use super::address::HostPort;
use crate::doc::{DocError, elements, find_path};

/// Members in one configuration that are accepted. A set has at most 50 (server limit `kMaxMembers`).
const MEMBERS_MAX: usize = 128;

/// One entry of `config.members`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMember {
    /// `_id`: stays when a member is renamed. Absent when only hello lists are known.
    pub id: Option<i64>,
    /// `host`.
    pub address: HostPort,
}

/// A configuration, as far as torana looks into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetConfig {
    /// `version`, the `setVersion` of hello replies.
    pub version: i64,
    /// The members in their order, hidden ones and arbiters included.
    pub members: Vec<ConfigMember>,
}

/// Why a reply to replSetGetConfig cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not a BSON document.
    #[error("its replSetGetConfig reply is malformed: {0}")]
    Document(#[from] DocError),
    /// A field that every configuration has is missing.
    #[error("its replSetGetConfig reply has no {0}")]
    Missing(&'static str),
    /// More members than a replica set can have.
    #[error("its configuration has more than {MEMBERS_MAX} members")]
    TooMany,
    /// A member's `host` is not an address.
    #[error("its configuration names a member wrongly: {0}")]
    Address(#[from] super::address::AddressError),
}

impl SetConfig {
    /// Reads a reply to replSetGetConfig whose `ok` was checked.
    pub fn parse(reply: &[u8]) -> Result<SetConfig, ConfigError> {
        let version = find_path(reply, &["config", "version"]).and_then(|value| value.as_i64());
        let version = version.ok_or(ConfigError::Missing("config.version"))?;
        let array = find_path(reply, &["config", "members"]).and_then(|value| value.as_document());
        let mut members = Vec::new();
        for element in elements(array.ok_or(ConfigError::Missing("config.members"))?) {
            let entry = element?.value.as_document().ok_or(ConfigError::Missing("config.members[]"))?;
            if members.len() == MEMBERS_MAX {
                return Err(ConfigError::TooMany);
            }
            let id = find_path(entry, &["_id"]).and_then(|value| value.as_i64());
            let host = find_path(entry, &["host"]).and_then(|value| value.as_str());
            let address = host.ok_or(ConfigError::Missing("config.members[].host"))?.parse()?;
            members.push(ConfigMember { id, address });
        }
        Ok(SetConfig { version, members })
    }

    /// Whether every one of `addresses` is a member.
    pub fn covers<'a>(&self, mut addresses: impl Iterator<Item = &'a HostPort>) -> bool {
        addresses.all(|address| self.members.iter().any(|member| member.address == *address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn members_come_in_the_order_of_the_configuration_hidden_ones_included() {
        let reply = doc! { "config": { "_id": "rs0", "version": 4, "term": 2i64, "members": [
            { "_id": 7, "host": "B:2" }, { "_id": 0, "host": "a:1", "hidden": true },
        ] }, "ok": 1 };
        let config = SetConfig::parse(&bson::serialize_to_vec(&reply).unwrap()).unwrap();
        assert_eq!(config.version, 4);
        let all: Vec<_> = config.members.iter().map(|m| (m.id, m.address.to_string())).collect();
        assert_eq!(all, [(Some(7), "b:2".to_owned()), (Some(0), "a:1".to_owned())]);
    }

    #[test]
    fn a_reply_without_members_is_refused_by_what_it_lacks() {
        let reply = bson::serialize_to_vec(&doc! { "config": { "version": 1 } }).unwrap();
        assert_eq!(SetConfig::parse(&reply), Err(ConfigError::Missing("config.members")));
    }
}
