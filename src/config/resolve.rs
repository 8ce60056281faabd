//! From file and flags to a [`Config`]: what belongs to the process, and the order in which all is checked.

use toml::Spanned;

use super::address::{Admin, HostPort};
use super::error::{Place, Problems, did_you_mean};
use super::limits::Limits;
use super::schema::{File, SetSection};
use super::sets::Defaults;
use super::{Config, ConfigError, Flags, SetConfig, ports, sets};

/// Where the admin endpoint is found unless something else is said: on this machine only.
const ADMIN_DEFAULT: (&str, u16) = ("127.0.0.1", 9216);

/// More threads than any machine has cores is a slip of the pen.
const THREADS_MAX: usize = 1024;

/// Reads `text` of the file named `file`, and puts `flags` over it.
pub(super) fn resolve(file: &str, text: &str, flags: &Flags) -> Result<Config, ConfigError> {
    let mut problems = Problems::new(file, text);
    let parsed: File = match toml::from_str(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let place = error.span().map_or(Place::File, Place::At);
            problems.add(&place, explain(error.message()));
            return Err(problems.into_error());
        }
    };
    let mut limits = Limits::default();
    limits.apply(&parsed.limits, None, &mut problems);
    let threads = threads(parsed.threads.as_ref(), flags, &mut problems);
    let (admin, admin_place) = admin(parsed.admin.as_ref(), flags);
    let capture = parsed.capture.clone();
    let defaults = Defaults { pool: parsed.pool.clone(), monitor: parsed.monitor.clone() };
    let sections = sections(parsed, flags, &mut problems);
    let mut resolved = sets::resolve(&sections, &defaults, flags, &mut problems);
    ports::share_out(&mut resolved, admin.as_ref().map(|admin| (admin, admin_place)), &mut problems);
    let sets: Vec<SetConfig> = resolved.into_iter().map(|set| set.config).collect();
    let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
    let captures = capture.resolve(&names, &mut problems);
    problems.finish(Config { sets, admin, threads, limits, captures })
}

/// What toml and serde say, with a suggestion if a key or value is not among those that exist.
pub(super) fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let suggestion = quoted.next().and_then(|word| did_you_mean(word, quoted));
    let message = message.lines().collect::<Vec<_>>().join(", ");
    let message = in_words(message);
    match suggestion {
        Some(meant) if message.starts_with("unknown") => format!("{message}; did you mean `{meant}`?"),
        _ => message,
    }
}

/// What serde names by types of Rust's, in words.
fn in_words(message: String) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("expected usize", "expected a whole number from 0 on"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 on"),
        ("expected a sequence", "expected a list, such as [\"a\", \"b\"]"),
    ];
    let found = WORDS.iter().find_map(|(end, words)| Some(format!("{}{words}", message.strip_suffix(end)?)));
    found.unwrap_or(message)
}

fn threads(given: Option<&Spanned<usize>>, flags: &Flags, problems: &mut Problems<'_>) -> usize {
    let (threads, place) = match (flags.threads, given) {
        (Some(threads), _) => (threads, Place::Flag("--threads")),
        (None, Some(given)) => (*given.get_ref(), Place::At(given.span())),
        (None, None) => return 1,
    };
    if !(1..=THREADS_MAX).contains(&threads) {
        problems.add(&place, format!("threads is {threads}, which is outside 1 to {THREADS_MAX}"));
    }
    threads
}

fn admin(given: Option<&Spanned<Admin>>, flags: &Flags) -> (Option<HostPort>, Place) {
    match (&flags.admin, given) {
        (Some(admin), _) => (admin.0.clone(), Place::Flag("--admin")),
        (None, Some(given)) => (given.get_ref().0.clone(), Place::At(given.span())),
        (None, None) => {
            let (host, port) = ADMIN_DEFAULT;
            (Some(HostPort { host: host.to_owned(), port }), Place::File)
        }
    }
}

/// The sets of the file: those under `[[sets]]`, or the one at the top level, which may come from the flags alone.
fn sections(file: File, flags: &Flags, problems: &mut Problems<'_>) -> Vec<(SetSection, Place)> {
    let File { uri, name, listen, advertise, listeners, members, tags, zookeeper, shadow, sets, .. } = file;
    let said = [
        uri.as_ref().map(|uri| ("uri", uri.span())),
        name.as_ref().map(|name| ("name", name.span())),
        listen.as_ref().map(|listen| ("listen", listen.span())),
        advertise.as_ref().map(|advertise| ("advertise", advertise.span())),
        listeners.first().map(|group| ("[[listeners]]", group.span())),
        members.keys().next().map(|member| ("[members]", member.span())),
        tags.keys().next().map(|pattern| ("[tags]", pattern.span())),
        zookeeper.as_ref().map(|zookeeper| ("[zookeeper]", zookeeper.span())),
        shadow.as_ref().map(|shadow| ("[shadow]", shadow.span())),
    ];
    if sets.is_empty() {
        let pool = Default::default();
        let monitor = Default::default();
        return vec![(
            SetSection {
                uri,
                name,
                listen,
                advertise,
                listeners,
                members,
                tags,
                zookeeper,
                shadow,
                pool,
                monitor,
            },
            Place::File,
        )];
    }
    for (key, span) in said.into_iter().flatten() {
        problems.add(
            &Place::At(span),
            format!("{key} stands beside [[sets]]: say it inside the set that it is for"),
        );
    }
    if sets.len() > 1 {
        let flags = [
            ("URI", flags.uri.is_some()),
            ("--listen", flags.listen.is_some()),
            ("--advertise", flags.advertise.is_some()),
            ("--tag", !flags.tags.is_empty()),
            ("--zookeeper", flags.zookeeper.is_some()),
        ];
        for (flag, _) in flags.into_iter().filter(|(_, given)| *given) {
            let text =
                format!("the file has {} replica sets, and this does not say which one is meant", sets.len());
            problems.add(&Place::Flag(flag), text);
        }
    }
    sets.into_iter().map(|set| (set.get_ref().clone(), Place::At(set.span()))).collect()
}
