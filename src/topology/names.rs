//! What the members are called on either side of torana, for one listener group.

use std::ops::RangeInclusive;

use super::address::HostPort;

/// The names of one listener group: each member's own name (as the replica set's configuration spells it) beside
/// the name that clients of this group dial. Immutable; a change of members makes a new one.
///
/// Names are `host:port`, compared without regard to case, as drivers do (SDAM specification, "address").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupNames {
    pairs: Vec<(String, String)>,
    /// Those of members that were removed, by the name that they had last: a client may still know it, and add the
    /// member again by it.
    former: Vec<(String, String)>,
    /// Addresses at which the set is listened for, or may be: a host and consecutive ports.
    own: Vec<(String, RangeInclusive<u16>)>,
}

impl GroupNames {
    /// Pairs of (member's own name, advertised name). Advertised names are lower-cased, as drivers compare them.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let lower = |(member, advertised): (String, String)| (member, advertised.to_ascii_lowercase());
        GroupNames { pairs: pairs.into_iter().map(lower).collect(), ..GroupNames::default() }
    }

    /// Adds those of members that were removed. A name or a member that stands in both is a present one.
    #[must_use]
    pub fn with_former(mut self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        self.former = GroupNames::new(pairs).pairs;
        self
    }

    /// Adds addresses that belong to torana's listeners: a host and consecutive ports.
    #[must_use]
    pub fn with_own(mut self, own: impl IntoIterator<Item = (String, RangeInclusive<u16>)>) -> Self {
        self.own = own.into_iter().collect();
        self
    }

    /// The name that clients know `member` by.
    pub fn to_client(&self, member: &str) -> Option<&str> {
        self.known().find(|(own, _)| own.eq_ignore_ascii_case(member)).map(|(_, name)| name.as_str())
    }

    /// The member's own name behind an advertised one.
    pub fn to_server(&self, advertised: &str) -> Option<&str> {
        self.known().find(|(_, name)| name.eq_ignore_ascii_case(advertised)).map(|(own, _)| own.as_str())
    }

    /// Whether `name` is an address of torana's own at which there is no member, nor was one.
    pub fn is_nobodys(&self, name: &HostPort) -> bool {
        let is_own = |(host, ports): &(String, RangeInclusive<u16>)| {
            name.host().eq_ignore_ascii_case(host) && ports.contains(&name.port())
        };
        let text = name.to_string();
        self.own.iter().any(is_own) && self.to_client(&text).is_none() && self.to_server(&text).is_none()
    }

    fn known(&self) -> impl Iterator<Item = &(String, String)> {
        self.pairs.iter().chain(&self.former)
    }

    /// All pairs (member's own name, advertised name) of present members.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(own, name)| (own.as_str(), name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(own: &str, name: &str) -> (String, String) {
        (own.to_owned(), name.to_owned())
    }

    #[test]
    fn a_member_that_was_removed_keeps_its_name_until_another_has_it() {
        let former = [pair("db2:27017", "gate:2"), pair("db3:27017", "gate:1"), pair("db1:27017", "gate:9")];
        let names = GroupNames::new([pair("db1:27017", "gate:1")]).with_former(former);
        assert_eq!(names.to_server("Gate:2"), Some("db2:27017"));
        assert_eq!(names.to_client("DB2:27017"), Some("gate:2"));
        assert_eq!(
            (names.to_server("gate:1"), names.to_client("db1:27017")),
            (Some("db1:27017"), Some("gate:1"))
        );
        assert_eq!(names.iter().count(), 1);
    }

    #[test]
    fn an_address_of_the_listeners_without_a_member_is_nobodys() {
        let names = GroupNames::new([pair("db1:27017", "gate:1")])
            .with_former([pair("db2:27017", "gate:2")])
            .with_own([("gate".to_owned(), 1..=5)]);
        let is_nobodys = |name: &str| names.is_nobodys(&name.parse().unwrap());
        assert!(is_nobodys("gate:3") && is_nobodys("GATE:5"));
        for name in ["gate:1", "gate:2", "gate:6", "other:3", "db1:27017"] {
            assert!(!is_nobodys(name), "{name}");
        }
    }
}
