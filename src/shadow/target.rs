//! The second set: who its members are, and that it is not the first one.

use bson::oid::ObjectId;

use crate::config::ConnectionString;
use crate::replay::target::{Target, TargetError};

/// The set whose clients are served, as far as it has to be told from others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// `settings.replicaSetId`, if it has said one.
    pub replica_set_id: Option<ObjectId>,
    /// Its members, `host:port` in lower case.
    pub members: Vec<String>,
}

/// Why there is nobody to ask.
#[derive(Debug, thiserror::Error)]
pub enum NoTarget {
    /// It cannot be reached, has no primary, or is called otherwise.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// It is the first set.
    #[error(
        "the shadow's target is the very set that is served ({0}): each read would be done twice on it; set \
         shadow.same_set = true if that is wanted"
    )]
    SameSet(String),
}

/// Finds the target's members: the primary first. Blocks.
pub fn find(uri: &ConnectionString, live: &Live, same_set: bool) -> Result<Target, NoTarget> {
    let target = Target::find(uri)?;
    match same_as(&target, live) {
        Some(how) if !same_set => Err(NoTarget::SameSet(how)),
        _ => Ok(target),
    }
}

/// What shows that both are one set. Names are asked only where an id is not known: two sets may be called the same from two
/// networks.
fn same_as(target: &Target, live: &Live) -> Option<String> {
    match (target.replica_set_id, live.replica_set_id) {
        (Some(one), Some(other)) => (one == other).then(|| format!("replicaSetId {one}")),
        _ => {
            let names = target.members.iter().map(|(name, _)| name.to_ascii_lowercase());
            let mut known = names.filter(|name| live.members.contains(name));
            known.next().map(|name| format!("member {name}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_told_apart_by_their_ids_and_else_by_their_members() {
        let (one, other) = (ObjectId::new(), ObjectId::new());
        let target = |replica_set_id, name: &str| Target {
            members: vec![(name.to_owned(), "127.0.0.1:1".parse().unwrap())],
            replica_set_id,
            version: String::new(),
        };
        let live = |replica_set_id| Live { replica_set_id, members: vec!["db1:27017".into()] };
        assert!(same_as(&target(Some(one), "x:1"), &live(Some(one))).is_some());
        assert!(same_as(&target(Some(one), "DB1:27017"), &live(Some(other))).is_none());
        assert!(same_as(&target(None, "DB1:27017"), &live(Some(other))).is_some());
        assert!(same_as(&target(Some(one), "db1:27017"), &live(None)).is_some());
        assert!(same_as(&target(None, "db2:27017"), &live(None)).is_none());
    }
}
