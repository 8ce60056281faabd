//! `torana serve`: the proxy.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::descriptors::raise_limit;
use crate::config::{Admin, Config, Flags, Host, HostPort, Tag, ZooKeeperHosts, load, show_size};
use crate::metrics::Metrics;
use crate::proxy;

/// Threads beside the serving ones, at most. They resolve host names and nothing else.
const BLOCKING_THREADS_MAX: usize = 8;

const EXAMPLES: &str = "\
Examples:
  In front of a replica set, for clients on this machine:
    torana serve 'mongodb://db1,db2,db3/?replicaSet=rs0'

  For clients that reach this machine as gate.example, with at most 32 connections to each member:
    torana serve 'mongodb://db1,db2,db3/?replicaSet=rs0' \\
      --listen 0.0.0.0:27117 --advertise gate.example --pool-max 32

  In front of one server that is no replica set:
    torana serve 'mongodb://db1/?directConnection=true'

  As a file says, on two threads:
    torana check-config torana.toml && torana serve --config torana.toml --threads 2

Each member gets a port: the one of --listen, the next, and so on. The line `torana ready: ...` on standard output
says which, once all of them accept. Clients use the connection string that they used before, with torana's host and
ports in place of the members'; one port is enough while the member behind it is up.

Ends at SIGTERM or SIGINT: running operations may finish first, for the time of limits.shutdown_deadline.";

/// Serve clients: stand in front of one replica set, or of several with a configuration file
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Arguments {
    /// MongoDB connection string of the servers: mongodb://HOST[:PORT],.../[?replicaSet=NAME]
    ///
    /// Describes the connections from torana to the servers: replicaSet, directConnection, appName, maxPoolSize,
    /// minPoolSize, maxConnecting, maxIdleTimeMS, waitQueueTimeoutMS, connectTimeoutMS, socketTimeoutMS,
    /// heartbeatFrequencyMS. Any other option is refused.
    uri: Option<String>,

    /// Configuration file in TOML; what is said here wins over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where to listen: the first of consecutive ports, one for each member [default: 127.0.0.1:27117]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<HostPort>,

    /// The host by which clients reach torana, as replies name it [default: the host of --listen]
    #[arg(long, value_name = "HOST")]
    advertise: Option<Host>,

    /// Where to serve /metrics, /healthz, /readyz and /capture; "off" for nowhere [default: 127.0.0.1:9216]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<Admin>,

    /// A collection that promises more than clients ask for: default, observe, causal, sequential or linearizable. May be given
    /// several times
    ///
    /// parse.GameScore=causal: reads and writes of a majority, each read after everything that was acknowledged or
    /// returned through this torana, on whatever member. sequential: the same for clients that move between the toranas
    /// of a set, which need --zookeeper for it. DB.PREFIX* stands for all that begin so; the most specific counts.
    #[arg(long = "tag", value_name = "DB.COLLECTION=LEVEL")]
    tag: Vec<Tag>,

    /// The ZooKeeper ensemble through which the toranas of a set share what sequential needs, and a place in it
    ///
    /// zk1:2181,zk2:2181,zk3:2181/torana/rs0. Without a place it is /torana/NAME, with the set's name. Without this
    /// option a torana takes itself for the only one of its set.
    #[arg(long, value_name = "HOST[:PORT],...[/PATH]")]
    zookeeper: Option<ZooKeeperHosts>,

    /// Connections to each member at most, at least 2 [default: 100]
    #[arg(long, value_name = "N")]
    pool_max: Option<usize>,

    /// Threads that serve clients [default: 1]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// What to log on standard error: error, warn, info, debug, trace, or a filter such as info,torana::pool=debug
    ///
    /// Without it the environment variable RUST_LOG counts, and without that it is info.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// Serves until it is told to stop.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = load(arguments.config.as_deref(), &arguments.flags())?;
    start_log(arguments.log_level.as_deref())?;
    let metrics = Metrics::new();
    let descriptors = raise_limit();
    show_limits(&config, &metrics, descriptors);
    let runtime = runtime(config.threads).context("cannot start the threads that serve")?;
    let ended = runtime.block_on(Box::pin(proxy::run(config, metrics)));
    // Dropped, it would wait for a capture's disk, however long that hangs.
    runtime.shutdown_background();
    ended
}

impl Arguments {
    fn flags(&self) -> Flags {
        Flags {
            uri: self.uri.clone(),
            listen: self.listen.clone(),
            advertise: self.advertise.clone(),
            admin: self.admin.clone(),
            tags: self.tag.clone(),
            zookeeper: self.zookeeper.clone(),
            pool_max: self.pool_max,
            threads: self.threads,
        }
    }
}

/// A misspelt level would be taken for the name of a part of the program, and switch the log off.
fn log_filter(text: &str) -> anyhow::Result<EnvFilter> {
    for directive in text.split(',').map(str::trim) {
        let names_a_part = directive.contains(['=', ':', '[']) || directive.starts_with("torana");
        if directive.is_empty() || !names_a_part && directive.parse::<LevelFilter>().is_err() {
            anyhow::bail!("{directive:?} is no level: use error, warn, info, debug, trace or off");
        }
    }
    EnvFilter::try_new(quiet(text)).map_err(|error| anyhow::anyhow!("{error}"))
}

/// The client of ZooKeeper speaks of each connection, passwords of sessions included: unless it is asked, it does not.
fn quiet(text: &str) -> String {
    match text.contains("zookeeper_async") {
        true => text.to_owned(),
        false => format!("zookeeper_async=off,{text}"),
    }
}

/// Standard output is for the ready line; the log goes to standard error.
fn start_log(level: Option<&str>) -> anyhow::Result<()> {
    let filter = match (level, std::env::var("RUST_LOG")) {
        (Some(level), _) => log_filter(level).with_context(|| format!("--log-level {level}"))?,
        // It may be meant for other programs of the machine: what it says of torana counts, and it stops nothing.
        (None, Ok(level)) if !level.is_empty() => {
            EnvFilter::try_new(quiet(&level)).unwrap_or(EnvFilter::new(quiet("info")))
        }
        (None, _) => EnvFilter::new(quiet("info")),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
    Ok(())
}

fn show_limits(config: &Config, metrics: &Arc<Metrics>, descriptors: u64) {
    let set = |gauge: &prometheus::IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    set(&metrics.process.descriptors_limit, descriptors);
    set(&metrics.process.request_buffer_limit_bytes, config.limits.request_buffer_max as u64);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        threads = config.threads,
        descriptors,
        request_buffers = show_size(config.limits.request_buffer_max),
        "torana starts"
    );
    let clients = config.limits.clients_max as u64;
    if clients > descriptors {
        tracing::info!(
            clients,
            descriptors,
            "descriptors end before limits.clients_max does: accepting pauses then, and goes on when clients leave"
        );
    }
}

/// One thread is a runtime without any locking between threads, which is measurably cheaper.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    match threads {
        1 => builder.on_thread_park(proxy::thread_sleeps),
        _ => builder.worker_threads(threads),
    };
    builder.max_blocking_threads(BLOCKING_THREADS_MAX).thread_name("torana").enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Whole {
        #[command(flatten)]
        serve: Arguments,
    }

    fn flags(arguments: &[&str]) -> Result<Flags, String> {
        let whole =
            Whole::try_parse_from(["serve"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        Ok(whole.serve.flags())
    }

    #[test]
    fn flags_reach_the_configuration() {
        let uri = "mongodb://db1/?replicaSet=rs0";
        let flags = flags(&[
            uri,
            "--listen",
            "[::1]:1000",
            "--advertise",
            "Gate",
            "--admin",
            "off",
            "--pool-max",
            "9",
            "--threads",
            "2",
        ]);
        let config = crate::config::load(None, &flags.unwrap()).unwrap();
        let group = &config.sets[0].groups[0];
        assert_eq!(
            (group.listen.to_string().as_str(), group.advertise_host.as_str()),
            ("[::1]:1000", "gate")
        );
        assert_eq!((config.admin, config.sets[0].pool.max, config.threads), (None, 9, 2));
    }

    #[test]
    fn a_wrong_address_is_refused_with_the_flag() {
        let error = flags(&["--listen", "127.0.0.1"]).unwrap_err();
        assert!(error.contains("'--listen <HOST:PORT>'") && error.contains("has no port"), "{error}");
    }

    #[test]
    fn one_thread_is_a_runtime_of_its_own_kind() {
        let flavor = |threads| runtime(threads).unwrap().handle().runtime_flavor();
        assert_eq!(flavor(1), tokio::runtime::RuntimeFlavor::CurrentThread);
        assert_eq!(flavor(2), tokio::runtime::RuntimeFlavor::MultiThread);
    }

    #[test]
    fn a_level_that_is_none_is_refused_and_what_filters_is_not() {
        for text in ["warning", "loud", "", "info,", "info,verbose"] {
            let error = log_filter(text).unwrap_err().to_string();
            assert!(error.contains("is no level: use error, warn"), "{text}: {error}");
        }
        for text in ["warn", "DEBUG", "off", "info,torana::pool=debug", "torana", "hyper=off"] {
            log_filter(text).unwrap();
        }
        let error = log_filter("info,torana::pool=xx").unwrap_err().to_string();
        assert!(error.contains("level"), "{error}");
    }
}
