//! One replica set: its connection string, its name, and its bounds.

use toml::Spanned;

use super::bounds::Count;
use super::error::{Place, Problems};
use super::limits::{MonitorLimits, MonitorSection, PoolLimits, PoolSection};
use super::schema::SetSection;
use super::units::{Span, SpanOrOff, show_duration};
use super::uri::ConnectionString;
use super::{Flags, GroupConfig, SetConfig, Tag, groups};

/// What the file says for all sets.
pub(super) struct Defaults {
    pub pool: PoolSection,
    pub monitor: MonitorSection,
}

/// A set with the places of what has to agree with others.
pub(super) struct Resolved {
    pub config: SetConfig,
    /// Where each of its groups says where it listens, in their order.
    pub listens: Vec<Place>,
}

/// Resolves all sets, as far as each can be looked at alone, and checks that their names differ.
pub(super) fn resolve(
    sections: &[(SetSection, Place)],
    defaults: &Defaults,
    flags: &Flags,
    problems: &mut Problems<'_>,
) -> Vec<Resolved> {
    // A flag that could mean several sets was refused: take it for none of them.
    let flags = match sections.len() {
        1 => flags.clone(),
        _ => Flags { pool_max: flags.pool_max, ..Flags::default() },
    };
    let mut sets: Vec<Resolved> = Vec::new();
    for (section, place) in sections {
        let Some(set) = resolve_one(section, place, defaults, &flags, problems) else { continue };
        if sets.iter().any(|other| other.config.name == set.config.name) {
            let at = section.name.as_ref().or(section.uri.as_ref()).map_or(Place::File, at);
            let text = format!("two sets are called {:?}: give one of them another `name`", set.config.name);
            problems.add(&at, text);
        }
        let mine = set.config.zookeeper.as_ref();
        let shares =
            |other: &&Resolved| other.config.zookeeper.as_ref().zip(mine).is_some_and(|(a, b)| a.meets(b));
        if let Some(other) = sets.iter().find(shares) {
            let at = section.zookeeper.as_ref().map_or(Place::File, at);
            let (one, two) = (&other.config.name, &set.config.name);
            let text =
                format!("{one:?} and {two:?} have one place in ZooKeeper: give each set a path of its own");
            problems.add(&at, text);
        }
        sets.push(set);
    }
    sets
}

fn at<T>(value: &Spanned<T>) -> Place {
    Place::At(value.span())
}

fn resolve_one(
    section: &SetSection,
    place: &Place,
    defaults: &Defaults,
    flags: &Flags,
    problems: &mut Problems<'_>,
) -> Option<Resolved> {
    let (uri, uri_place) = match (&flags.uri, &section.uri) {
        (Some(uri), _) => (uri, Place::Flag("URI")),
        (None, Some(uri)) => (uri.get_ref(), at(uri)),
        (None, None) => {
            let text = "no replica set is named: give a connection string, such as \
                        \"mongodb://db1,db2,db3/?replicaSet=rs0\", as argument or as `uri`";
            problems.add(place, text);
            return None;
        }
    };
    let parsed = match ConnectionString::parse(uri) {
        Ok(parsed) => parsed,
        Err(error) => {
            problems.add(&uri_place, error.to_string());
            return None;
        }
    };
    let sources = Sources { uri: &parsed, uri_place: &uri_place, section, defaults, flags };
    let pool = sources.pool(problems);
    let monitor = sources.monitor(problems);
    let named = section.name.as_ref().map(|name| name.get_ref().clone());
    let name = named.or_else(|| parsed.replica_set.clone()).unwrap_or_else(|| first_seed(&parsed));
    if name.is_empty() {
        problems.add(place, "name is empty");
    }
    let (groups, listens): (Vec<GroupConfig>, Vec<Place>) =
        groups::resolve(section, flags, problems).into_iter().unzip();
    let said = section.tags.iter().map(|(pattern, level)| (pattern.get_ref().clone(), *level));
    let mut tags: Vec<Tag> = said.map(|(pattern, level)| Tag { pattern, level }).collect();
    tags.extend(flags.tags.iter().cloned());
    let zookeeper = section.zookeeper.as_ref().map(|section| section.get_ref().clone()).unwrap_or_default();
    let zookeeper = zookeeper.resolve(flags.zookeeper.as_ref(), &name, problems);
    let shadow = section
        .shadow
        .as_ref()
        .and_then(|shadow| shadow.get_ref().resolve(&parsed.seeds, &at(shadow), problems));
    let ConnectionString { seeds, replica_set, direct_connection, app_name, .. } = parsed;
    let config = SetConfig {
        name,
        set_name: replica_set,
        seeds,
        direct: direct_connection,
        app_name,
        tags,
        zookeeper,
        shadow,
        groups,
        pool,
        monitor,
    };
    Some(Resolved { config, listens })
}

fn first_seed(parsed: &ConnectionString) -> String {
    parsed.seeds.first().map(ToString::to_string).unwrap_or_default()
}

/// The value as a section has it. Its place is given when the section is applied.
fn said<T, S>(value: Option<T>, kind: impl Fn(T) -> S) -> Option<Spanned<S>> {
    value.map(|value| Spanned::new(0..0, kind(value)))
}

/// All that says something about the bounds of a set.
struct Sources<'a> {
    uri: &'a ConnectionString,
    uri_place: &'a Place,
    section: &'a SetSection,
    defaults: &'a Defaults,
    flags: &'a Flags,
}

impl Sources<'_> {
    fn pool(&self, problems: &mut Problems<'_>) -> PoolLimits {
        let from_uri = PoolSection {
            max: said(self.uri.max_pool_size, Count),
            min_idle: said(self.uri.min_pool_size, Count),
            connecting_max: said(self.uri.max_connecting, Count),
            idle_timeout: said(self.uri.max_idle_time, SpanOrOff),
            wait_timeout: said(self.uri.wait_queue_timeout, Span),
            connect_timeout: said(self.uri.connect_timeout, Span),
            reply_timeout: said(self.uri.socket_timeout, SpanOrOff),
            ..PoolSection::default()
        };
        let from_flags = PoolSection { max: said(self.flags.pool_max, Count), ..PoolSection::default() };
        let mut pool = PoolLimits::default();
        pool.apply(&self.defaults.pool, None, problems);
        pool.apply(&self.section.pool, None, problems);
        pool.apply(&from_uri, Some(self.uri_place), problems);
        pool.apply(&from_flags, Some(&Place::Flag("--pool-max")), problems);
        let place = |key: fn(&PoolSection) -> Option<Place>| {
            let from_uri = key(&from_uri).map(|_| self.uri_place.clone());
            let said = from_uri.or_else(|| key(&self.section.pool)).or_else(|| key(&self.defaults.pool));
            said.unwrap_or(Place::File)
        };
        if pool.min_idle > pool.max {
            let text = format!("pool.min_idle is {}, above pool.max, which is {}", pool.min_idle, pool.max);
            problems.add(&place(|pool| pool.min_idle.as_ref().map(at)), text);
        }
        if pool.backoff_min > pool.backoff_max {
            let [min, max] = [pool.backoff_min, pool.backoff_max].map(show_duration);
            let text = format!("pool.backoff_min is {min}, above pool.backoff_max, which is {max}");
            let either = |pool: &PoolSection| pool.backoff_min.as_ref().or(pool.backoff_max.as_ref()).map(at);
            problems.add(&place(either), text);
        }
        pool
    }

    fn monitor(&self, problems: &mut Problems<'_>) -> MonitorLimits {
        let from_uri = MonitorSection {
            heartbeat_interval: said(self.uri.heartbeat_frequency, Span),
            connect_timeout: said(self.uri.connect_timeout, Span),
            ..MonitorSection::default()
        };
        let mut monitor = MonitorLimits::default();
        monitor.apply(&self.defaults.monitor, None, problems);
        monitor.apply(&self.section.monitor, None, problems);
        monitor.apply(&from_uri, Some(self.uri_place), problems);
        monitor
    }
}
