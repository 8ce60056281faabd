//! What the members are called on either side of torana, for one listener group.

/// The names of one listener group: each member's own name (as the replica set's configuration spells it) beside
/// the name that clients of this group dial. Immutable; a change of members makes a new one.
///
/// Names are `host:port`, compared without regard to case, as drivers do (SDAM specification, "address").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupNames {
    pairs: Vec<(String, String)>,
}

impl GroupNames {
    /// Pairs of (member's own name, advertised name). Advertised names are lower-cased, as drivers compare them.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let lower = |(member, advertised): (String, String)| (member, advertised.to_ascii_lowercase());
        GroupNames { pairs: pairs.into_iter().map(lower).collect() }
    }

    /// The name that clients know `member` by.
    pub fn to_client(&self, member: &str) -> Option<&str> {
        self.pairs.iter().find(|(own, _)| own.eq_ignore_ascii_case(member)).map(|(_, name)| name.as_str())
    }

    /// The member's own name behind an advertised one.
    pub fn to_server(&self, advertised: &str) -> Option<&str> {
        self.pairs.iter().find(|(_, name)| name.eq_ignore_ascii_case(advertised)).map(|(own, _)| own.as_str())
    }

    /// All pairs (member's own name, advertised name).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(own, name)| (own.as_str(), name.as_str()))
    }
}
