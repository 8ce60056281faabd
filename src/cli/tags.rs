//! `torana tag` and `torana tags`: collections tagged while toranas run.

use std::path::PathBuf;

use anyhow::Context;

use crate::config::{Flags, Level, Pattern, Tag, ZooKeeperConfig, ZooKeeperHosts, ZooKeeperLimits, load};
use crate::consistency::horizon::{ZooKeeper, ZooKeeperOptions};

const EXAMPLES: &str = "\
Examples:
  torana tag parse.GameScore sequential --zookeeper zk1:2181,zk2:2181,zk3:2181/torana/rs0
  torana tag 'parse._Join*' causal --config torana.toml
  torana tag parse.GameScore --remove --config torana.toml

All toranas of the set take it up within a second, and it stays through their restarts. It wins over a tag with the same
pattern in their configuration; --remove takes away what was said here, never what a configuration says. What the
collection's clients did before is not shared with other toranas: what the level promises holds from a second later on.";

/// Where the ensemble is.
#[derive(Debug, clap::Args)]
struct Place {
    /// The ZooKeeper ensemble of the set, and its place there
    #[arg(long, value_name = "HOST[:PORT],.../PATH", required_unless_present = "config")]
    zookeeper: Option<ZooKeeperHosts>,

    /// A configuration file of the set's toranas, which names the ensemble
    #[arg(long, value_name = "FILE", conflicts_with = "zookeeper")]
    config: Option<PathBuf>,

    /// Which set, if the file has several; or whose place it is, if --zookeeper names none
    #[arg(long, value_name = "NAME")]
    set: Option<String>,
}

/// Tag a collection, or all whose names begin alike, while toranas run
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct TagArguments {
    /// DB.COLLECTION, or DB.PREFIX* for all that begin so
    #[arg(required_unless_present = "reset_floors")]
    collection: Option<Pattern>,

    /// default, observe, causal, sequential or linearizable
    #[arg(required_unless_present_any = ["remove", "reset_floors"])]
    level: Option<Level>,

    /// Take the tag away
    #[arg(long, conflicts_with = "level")]
    remove: bool,

    /// Forget what clients were told, after a backup was restored. Stop all toranas of the set before: each remembers
    #[arg(long, conflicts_with_all = ["collection", "level", "remove"])]
    reset_floors: bool,

    #[command(flatten)]
    place: Place,
}

/// List the collections that were tagged by `torana tag`
#[derive(Debug, clap::Args)]
pub(super) struct TagsArguments {
    #[command(flatten)]
    place: Place,
}

/// Changes a tag, and prints those of then.
pub(super) fn run_tag(arguments: &TagArguments) -> anyhow::Result<()> {
    let Some(pattern) = &arguments.collection else {
        with_session(&arguments.place, async |session: &mut ZooKeeper| {
            session.remove().await?;
            Ok(Vec::new())
        })?;
        println!("forgotten; the next torana begins with what the members have");
        return Ok(());
    };
    let tag = arguments.level.map(|level| Tag { pattern: pattern.clone(), level });
    let tags = with_session(&arguments.place, async |session: &mut ZooKeeper| {
        let had_one = tag.is_some() || session.tags().await?.iter().any(|tag| tag.pattern == *pattern);
        let tags = session.change_tag(pattern, tag.clone()).await?;
        if !had_one {
            eprintln!("{pattern} had no tag: nothing was taken away");
        }
        Ok(tags)
    })?;
    show(&tags);
    Ok(())
}

/// Prints the tags.
pub(super) fn run_tags(arguments: &TagsArguments) -> anyhow::Result<()> {
    show(&with_session(&arguments.place, async |session: &mut ZooKeeper| Ok(session.tags().await?))?);
    Ok(())
}

fn show(tags: &[Tag]) {
    if tags.is_empty() {
        println!("no collection was tagged by `torana tag`");
    }
    tags.iter().for_each(|tag| println!("{} {}", tag.pattern, tag.level));
}

fn with_session(
    place: &Place,
    act: impl AsyncFnOnce(&mut ZooKeeper) -> anyhow::Result<Vec<Tag>>,
) -> anyhow::Result<Vec<Tag>> {
    let zookeeper = place.find()?;
    let options = ZooKeeperOptions::from(&zookeeper);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let asked = || format!("ZooKeeper at {}{}", zookeeper.hosts.join(","), zookeeper.root);
        let mut session = ZooKeeper::connect(&options).await.with_context(asked)?;
        let tags = act(&mut session).await.with_context(asked);
        session.close().await;
        tags
    })
}

impl Place {
    fn find(&self) -> anyhow::Result<ZooKeeperConfig> {
        if let Some(hosts) = &self.zookeeper {
            let root = hosts.root.clone().or_else(|| self.set.as_ref().map(|name| format!("/torana/{name}")));
            let root =
                root.context("name the set's place, such as zk1:2181/torana/rs0, or the set by --set")?;
            let limits = ZooKeeperLimits::default();
            return Ok(ZooKeeperConfig { hosts: hosts.hosts.clone(), root, limits });
        }
        let config = load(self.config.as_deref(), &Flags::default())?;
        let named = |name: &String| config.sets.iter().position(|set| set.name == *name);
        let index = match &self.set {
            Some(name) => named(name).with_context(|| format!("the file has no set called {name:?}"))?,
            None if config.sets.len() == 1 => 0,
            None => anyhow::bail!("the file has {} replica sets: say which by --set", config.sets.len()),
        };
        config.sets[index]
            .zookeeper
            .clone()
            .context("the file names no ZooKeeper ensemble: [zookeeper] hosts")
    }
}
