//! The listener groups of one set: where they listen, and what clients dial.

use std::collections::BTreeMap;

use toml::Spanned;

use super::address::{Host, HostMaybePort, HostPort, is_unspecified};
use super::error::{Place, Problems};
use super::schema::{GroupSection, MemberSection, SetSection};
use super::{Flags, GroupConfig, MemberOverride};

/// Where torana listens unless something else is said: on this machine only, a hundred above mongod's own port.
const LISTEN_DEFAULT: (&str, u16) = ("127.0.0.1", 27117);

/// The name of a group that has no other.
const NAME_DEFAULT: &str = "default";

/// The port of a member that is named without one.
const MEMBER_PORT: u16 = 27017;

/// A value with the place that says it.
struct Said<T> {
    value: T,
    place: Place,
}

/// The groups of `section`, each with the place that says where it listens.
pub(super) fn resolve(
    section: &SetSection,
    flags: &Flags,
    problems: &mut Problems<'_>,
) -> Vec<(GroupConfig, Place)> {
    let sections = sections(section, problems);
    if sections.len() > 1 {
        let given = [("--listen", flags.listen.is_some()), ("--advertise", flags.advertise.is_some())];
        for (flag, _) in given.into_iter().filter(|(_, given)| *given) {
            problems.add(&Place::Flag(flag), "does not say which of the file's listener groups is meant");
        }
    }
    let mut groups: Vec<(GroupConfig, Place)> = Vec::new();
    for (group, place) in &sections {
        let resolved = resolve_one(group, place, flags, problems);
        if groups.iter().any(|(other, _)| other.name == resolved.0.name) {
            let place = group.name.as_ref().map_or(place.clone(), at);
            let text = format!("two listener groups are called {:?}: give each its `name`", resolved.0.name);
            problems.add(&place, text);
        }
        groups.push(resolved);
    }
    groups
}

fn at<T>(value: &Spanned<T>) -> Place {
    Place::At(value.span())
}

/// The groups as the file has them; what it says outside `[[listeners]]` is for the only group.
fn sections(section: &SetSection, problems: &mut Problems<'_>) -> Vec<(GroupSection, Place)> {
    let SetSection { listen, advertise, members, listeners, .. } = section;
    if listeners.is_empty() {
        let (listen, advertise, members) = (listen.clone(), advertise.clone(), members.clone());
        return vec![(GroupSection { name: None, listen, advertise, members }, Place::File)];
    }
    let beside = [("listen", listen.as_ref().map(at)), ("advertise", advertise.as_ref().map(at))];
    for (key, place) in beside.into_iter().filter_map(|(key, place)| Some((key, place?))) {
        problems.add(
            &place,
            format!("{key} stands beside [[listeners]]: say it inside the group that it is for"),
        );
    }
    let mut groups: Vec<(GroupSection, Place)> =
        listeners.iter().map(|group| (group.get_ref().clone(), at(group))).collect();
    match (groups.as_mut_slice(), members.keys().next()) {
        ([(only, _)], _) => only.members.extend(members.clone()),
        (_, Some(member)) => {
            let text = "[members] does not say which listener group is meant: \
                        write [listeners.members.\"HOST:PORT\"] below one of them";
            problems.add(&at(member), text);
        }
        (_, None) => {}
    }
    groups
}

fn resolve_one(
    group: &GroupSection,
    place: &Place,
    flags: &Flags,
    problems: &mut Problems<'_>,
) -> (GroupConfig, Place) {
    let listen = listen(group, place, flags);
    let advertise: Option<&Host> =
        flags.advertise.as_ref().or(group.advertise.as_ref().map(Spanned::get_ref));
    let members = members(group, advertise.is_none(), problems);
    let advertise_host = advertise.map_or_else(|| listen.value.host.clone(), |host| host.0.clone());
    if is_unspecified(&advertise_host) {
        let text = format!(
            "{} is every address of this machine, which no client can dial: say in `advertise` which name clients use",
            advertise_host
        );
        problems.add(&listen.place, text);
    }
    let name = group.name.as_ref().map_or(NAME_DEFAULT, |name| name.get_ref()).to_owned();
    (GroupConfig { name, listen: listen.value, ports: 0, advertise_host, members }, listen.place)
}

fn listen(group: &GroupSection, place: &Place, flags: &Flags) -> Said<HostPort> {
    match (&flags.listen, &group.listen) {
        (Some(listen), _) => Said { value: listen.clone(), place: Place::Flag("--listen") },
        (None, Some(listen)) => Said { value: listen.get_ref().clone(), place: at(listen) },
        (None, None) => {
            let (host, port) = LISTEN_DEFAULT;
            Said { value: HostPort { host: host.to_owned(), port }, place: place.clone() }
        }
    }
}

/// What is different for single members. A listener on an address of its own is also dialled there, unless something
/// else is said for it or `by_address` is false: the group has a name of its own that clients dial.
fn members(
    group: &GroupSection,
    by_address: bool,
    problems: &mut Problems<'_>,
) -> BTreeMap<HostPort, MemberOverride> {
    let mut members = BTreeMap::new();
    for (key, said) in &group.members {
        let HostMaybePort { host, port } = key.get_ref().clone();
        let member = HostPort { host, port: port.unwrap_or(MEMBER_PORT) };
        let MemberSection { listen, advertise } = said;
        if listen.is_none() && advertise.is_none() {
            problems.add(&at(key), format!("neither listen nor advertise is said for {member}"));
        }
        let listen = listen.as_ref().map(|listen| listen.get_ref().clone());
        let advertise = advertise.as_ref().map(|advertise| advertise.get_ref().clone());
        let own_address = listen.as_ref().map(|listen| listen.host.clone());
        let own_address = own_address.filter(|host| by_address && !is_unspecified(host));
        let advertise_port = advertise.as_ref().and_then(|advertise| advertise.port);
        let advertise_host = advertise.map(|advertise| advertise.host).or(own_address);
        let text = format!("{member} is named twice");
        if members.insert(member, MemberOverride { listen, advertise_host, advertise_port }).is_some() {
            problems.add(&at(key), text);
        }
    }
    members
}
