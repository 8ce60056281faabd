//! Which of two servers that both say "primary" is the one: the newest election.

use super::description::{ElectionId, ServerDescription};

/// First wire version (MongoDB 6.0) whose servers order primaries by electionId first (SDAM specification,
/// "updateRSFromPrimary"). Older ones put setVersion first.
const ELECTION_ID_FIRST: i64 = 17;

/// The newest election that any accepted primary has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elections {
    /// Greatest electionId.
    pub election_id: Option<ElectionId>,
    /// Greatest setVersion that came with it.
    pub set_version: Option<i64>,
}

impl Elections {
    /// Whether `primary` is of the newest election; remembers it if so. An absent value counts as less than any.
    pub fn admit(&mut self, primary: &ServerDescription) -> bool {
        match primary.max_wire_version >= ELECTION_ID_FIRST {
            true => self.admit_by_election(primary),
            false => self.admit_by_set_version(primary),
        }
    }

    fn admit_by_election(&mut self, primary: &ServerDescription) -> bool {
        let newer = (primary.election_id, primary.set_version) >= (self.election_id, self.set_version);
        if newer {
            (self.election_id, self.set_version) = (primary.election_id, primary.set_version);
        }
        newer
    }

    fn admit_by_set_version(&mut self, primary: &ServerDescription) -> bool {
        if primary.election_id.is_some() && primary.set_version.is_some() {
            let known = self.election_id.is_some() && self.set_version.is_some();
            if known && (self.set_version, self.election_id) > (primary.set_version, primary.election_id) {
                return false;
            }
            self.election_id = primary.election_id;
        }
        self.set_version = self.set_version.max(primary.set_version);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(wire: i64, election: Option<u8>, set_version: Option<i64>) -> ServerDescription {
        let election_id = election.map(|n| ElectionId([n; 12]));
        ServerDescription { max_wire_version: wire, election_id, set_version, ..ServerDescription::default() }
    }

    #[test]
    fn since_6_0_the_newer_election_wins_whatever_the_configuration() {
        let mut elections = Elections::default();
        assert!(elections.admit(&primary(17, Some(2), Some(1))));
        assert!(!elections.admit(&primary(17, Some(1), Some(9))));
        assert!(!elections.admit(&primary(17, None, Some(9))));
        assert!(elections.admit(&primary(17, Some(3), Some(1))));
    }

    #[test]
    fn before_6_0_the_newer_configuration_wins_first() {
        let mut elections = Elections::default();
        assert!(elections.admit(&primary(13, Some(2), Some(2))));
        assert!(!elections.admit(&primary(13, Some(3), Some(1))));
        assert!(!elections.admit(&primary(13, Some(1), Some(2))));
        assert!(elections.admit(&primary(13, Some(1), Some(3))));
        assert_eq!(elections.set_version, Some(3));
    }
}
