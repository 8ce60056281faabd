//! Who may listen on which ports: no two on the same, and each group on as many as there is room for.

use super::address::HostPort;
use super::error::{Place, Problems};
use super::sets::Resolved;

/// Members of the largest replica set that MongoDB allows.
const MEMBERS_MAX: u16 = 50;

/// Ports that somebody needs for certain.
struct Claim {
    /// The set, if it is not the process itself, and the group in it.
    owner: Option<(usize, usize)>,
    /// Whether these are the consecutive ports of the group, and not one of a single member.
    is_group: bool,
    first: HostPort,
    count: u16,
    what: String,
    place: Place,
}

impl Claim {
    fn end(&self) -> u32 {
        u32::from(self.first.port) + u32::from(self.count)
    }

    /// Whether both need the same port. Port 0 is refused elsewhere; a member's own port in the middle of its
    /// group's ports is left out of them.
    fn collides(&self, other: &Claim) -> bool {
        let same_group = self.owner.is_some() && self.owner == other.owner && self.is_group != other.is_group;
        let fixed = self.first.port != 0 && other.first.port != 0;
        let overlap = u32::from(self.first.port) < other.end() && u32::from(other.first.port) < self.end();
        !same_group && fixed && overlap && self.first.shares_host(&other.first)
    }
}

/// Refuses ports that are claimed twice, and gives each group the consecutive ports up to the next claim.
pub(super) fn share_out(
    sets: &mut [Resolved],
    admin: Option<(&HostPort, Place)>,
    problems: &mut Problems<'_>,
) {
    let claims = claims(sets, admin);
    for claim in claims.iter().filter(|claim| claim.owner.is_some() && claim.first.port == 0) {
        let text = "port 0 is any free port, which clients would not find again: name one";
        problems.add(&claim.place, format!("{}: {text}", claim.what));
    }
    for (place, later) in claims.iter().enumerate() {
        let collides = |earlier: &&Claim| earlier.collides(later);
        if let Some(earlier) = claims.iter().take(place).find(collides) {
            let ports = ports_of(later);
            let text = format!("{} needs {ports}, which {} also needs", later.what, earlier.what);
            problems.add(&later.place, text);
        }
        if later.end() > u32::from(u16::MAX) + 1 {
            problems.add(&later.place, format!("{} needs {}, above 65535", later.what, ports_of(later)));
        }
    }
    for claim in claims.iter().filter(|claim| claim.is_group) {
        let Some((set, group)) = claim.owner else { continue };
        let room = claims
            .iter()
            .filter(|other| other.owner != claim.owner && other.first.shares_host(&claim.first))
            .filter(|other| other.first.port > claim.first.port)
            .map(|other| other.first.port - claim.first.port);
        let to_the_end = u16::MAX - claim.first.port;
        let ports = room.min().unwrap_or(MEMBERS_MAX).min(MEMBERS_MAX).min(to_the_end.saturating_add(1));
        if let Some(group) = sets.get_mut(set).and_then(|set| set.config.groups.get_mut(group)) {
            group.ports = ports.max(claim.count);
        }
    }
}

fn ports_of(claim: &Claim) -> String {
    match claim.count {
        1 => format!("{}", claim.first),
        _ => format!("{} to {}, one port for each seed", claim.first, claim.end() - 1),
    }
}

fn claims(sets: &[Resolved], admin: Option<(&HostPort, Place)>) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (set_at, set) in sets.iter().enumerate() {
        let seeds = u16::try_from(set.config.seeds.len()).unwrap_or(u16::MAX).max(1);
        for (group_at, (group, place)) in set.config.groups.iter().zip(&set.listens).enumerate() {
            let owner = Some((set_at, group_at));
            let what = format!("listener group {:?} of set {:?}", group.name, set.config.name);
            for (member, own) in &group.members {
                let what = format!("the listener of {member} in {what}");
                let Some(first) = own.listen.clone() else { continue };
                claims.push(Claim { owner, is_group: false, first, count: 1, what, place: place.clone() });
            }
            let first = group.listen.clone();
            claims.push(Claim { owner, is_group: true, first, count: seeds, what, place: place.clone() });
        }
    }
    if let Some((admin, place)) = admin {
        let what = "the admin endpoint".to_owned();
        claims.push(Claim { owner: None, is_group: false, first: admin.clone(), count: 1, what, place });
    }
    claims
}
