//! `torana record`: a capture, begun in a torana that runs.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::admin::TOML;
use crate::capture::Status;
use crate::config::{
    CollectionPattern, HostPort, Network, Redact, Replies, Sample, Size, Span, show_duration, show_size,
};

/// How often the capture is asked how it stands.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long torana may take for an answer: at the end of a capture it writes what is left.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Bytes of an answer.
const ANSWER_MAX: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  Ten minutes of everything, with digests of the replies:
    torana record --out /var/tmp/monday --for 10m

  One connection in ten, with whole replies, of one database:
    torana record --out /var/tmp/sample --for 1h --sample 1/10 --replies whole --database app

  Without any value of the application's, for somebody else's machine:
    torana record --out /var/tmp/shapes --for 10m --redact values

Passwords, tokens and logins never reach the files; more fields are named by --redact-field. What is captured is seen by
`torana capture info DIR`. Clients are never slowed: where the disk is behind, connections are dropped from the capture,
and counted. Ctrl-C ends the recording in order; so does the end of --for, even if this command is killed.";

/// What a capture keeps of what passes
#[derive(Debug, clap::Args)]
pub(super) struct Kept {
    /// What is kept of replies: none, digests or whole
    ///
    /// Their error code, length, cursor and number of documents are kept in any case. Digests tell whether another server
    /// answers the same; only whole replies show in what it differs.
    #[arg(long, value_name = "WHAT", default_value = "digests")]
    pub(super) replies: Replies,

    /// What is replaced: fields (secret ones) or values (all)
    #[arg(long, value_name = "WHAT", default_value = "fields")]
    pub(super) redact: Redact,

    /// A field that is secret, beside those that always are. May be given several times
    #[arg(long, value_name = "FIELD")]
    pub(super) redact_field: Vec<String>,
}

/// Record the traffic of a torana that runs, through its admin endpoint
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Arguments {
    /// torana's admin endpoint
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9216")]
    admin: HostPort,

    /// The folder for the files, on torana's machine: made if there is none, and empty of captures
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// How long; without it until Ctrl-C
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Span>,

    /// Which set, if torana serves several
    #[arg(long, value_name = "NAME")]
    set: Option<String>,

    /// One connection of so many
    #[arg(long, value_name = "1/N", default_value = "1/1")]
    sample: Sample,

    #[command(flatten)]
    kept: Kept,

    /// Only requests on this database. May be given several times, as all that follow
    #[arg(long, value_name = "DB")]
    database: Vec<String>,

    /// Only requests on this collection; DB.PREFIX* for all that begin so
    #[arg(long, value_name = "DB.COLLECTION")]
    collection: Vec<CollectionPattern>,

    /// Only this command (find goes with getMore, if that is wanted, too)
    #[arg(long, value_name = "COMMAND")]
    command: Vec<String>,

    /// Only connections of this application
    #[arg(long, value_name = "NAME")]
    application: Vec<String>,

    /// Only connections from this address or network
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    client: Vec<Network>,

    /// Bytes of a file, about
    #[arg(long, value_name = "SIZE")]
    file_size: Option<Size>,

    /// The recording ends before its files have more bytes
    #[arg(long, value_name = "SIZE")]
    quota: Option<Size>,
}

/// An order, as the admin endpoint takes it.
#[derive(Debug, Serialize)]
struct Order {
    folder: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<String>,
    sample: String,
    replies: Replies,
    redact: Redact,
    redact_fields: Vec<String>,
    databases: Vec<String>,
    collections: Vec<String>,
    commands: Vec<String>,
    applications: Vec<String>,
    clients: Vec<String>,
}

impl Arguments {
    fn order(&self) -> anyhow::Result<Order> {
        let folder = self.out.to_str().context("--out is not UTF-8")?.to_owned();
        let texts = |clients: &[Network]| clients.iter().map(Network::to_string).collect();
        Ok(Order {
            folder,
            time: self.time.map(|time| show_duration(time.0)),
            set: self.set.clone(),
            file_size: self.file_size.map(|size| show_size(size.0)),
            quota: self.quota.map(|size| show_size(size.0)),
            sample: self.sample.to_string(),
            replies: self.kept.replies,
            redact: self.kept.redact,
            redact_fields: self.kept.redact_field.clone(),
            databases: self.database.clone(),
            collections: self.collection.iter().map(CollectionPattern::to_string).collect(),
            commands: self.command.clone(),
            applications: self.application.clone(),
            clients: texts(&self.client),
        })
    }
}

/// Records until the time is over, or until Ctrl-C.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let order = toml::to_string(&arguments.order()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Box::pin(record(&arguments.admin, &order)))
}

async fn record(admin: &HostPort, order: &str) -> anyhow::Result<()> {
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    let mut status = ask(admin, "POST", order).await?;
    say(&format!("recording the traffic of {} into {}", status.set, status.folder));
    let folder = status.folder.clone();
    while status.recording {
        let method = tokio::select! {
            () = sleep(LOOK_EVERY) => "GET",
            _ = interrupt.recv() => "DELETE",
            _ = terminate.recv() => "DELETE",
            _ = hangup.recv() => "DELETE",
        };
        let asked = ask(admin, method, "").await;
        status = asked.with_context(|| format!("what was recorded until now is in {folder}"))?;
        say(&line(&status));
    }
    // What it was asked last may have been before the last bytes were written.
    let status = ask(admin, "GET", "").await?;
    say(&summary(&status));
    match &status.cut_short {
        Some(why) => anyhow::bail!("the recording ended early: {why}"),
        None => Ok(()),
    }
}

/// Prints a line. Where nobody reads on (`| head`, a terminal that is gone), the recording goes on to its end all the same.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

fn line(status: &Status) -> String {
    format!(
        "{:>7.0}s  {} records  {} of {}  {} lost",
        status.seconds,
        status.records,
        size(status.written_bytes),
        size(status.raw_bytes),
        status.lost_connections
    )
}

fn summary(status: &Status) -> String {
    let mut text = format!(
        "{} records in {:.0} s: {} as {} in {} file{}\n",
        status.records,
        status.seconds,
        size(status.raw_bytes),
        size(status.written_bytes),
        status.files,
        if status.files == 1 { "" } else { "s" },
    );
    if status.lost_connections > 0 {
        let lost = status.lost_connections;
        text.push_str(&format!(
            "{lost} connections were dropped from it on the way, as the disk was behind\n"
        ));
    }
    text.push_str(&format!("look at it: torana capture info {}", status.folder));
    text
}

/// Bytes, for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = UNITS.iter().enumerate().rev().find(|(power, _)| bytes >> (10 * power) > 0);
    let (power, unit) = unit.unwrap_or((0, &UNITS[0]));
    match power {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {unit}", bytes as f64 / (1u64 << (10 * power)) as f64),
    }
}

/// One request to the admin endpoint.
async fn ask(admin: &HostPort, method: &str, body: &str) -> anyhow::Result<Status> {
    let asked = async {
        let mut stream = TcpStream::connect((admin.host.as_str(), admin.port)).await?;
        let length = body.len();
        let head = format!(
            "{method} /capture HTTP/1.1\r\nHost: {admin}\r\nContent-Type: {TOML}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(ANSWERS_WITHIN, asked).await.context("no answer in time")?;
    let answer = answer.with_context(|| {
        format!("no torana answers at {admin}: --admin has to be the admin endpoint of one that runs")
    })?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("what answers at {admin} is no admin endpoint of torana's"))?;
    let code = head.split_whitespace().nth(1).unwrap_or_default();
    match code {
        "200" => {
            toml::from_str(body).context("not the status of a capture: is this torana's admin endpoint?")
        }
        _ => anyhow::bail!("torana at {admin} refuses: {}", body.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CaptureConfig;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Whole {
        #[command(flatten)]
        record: Arguments,
    }

    #[test]
    fn an_order_is_read_back_as_it_was_given() {
        let arguments = [
            "record",
            "--out",
            "/x y/z",
            "--for",
            "10m",
            "--sample",
            "1/10",
            "--replies",
            "whole",
            "--redact",
            "values",
            "--database",
            "a",
            "--collection",
            "a.b*",
            "--client",
            "10.0.0.0/8",
            "--quota",
            "3GiB",
            "--redact-field",
            "pin",
        ];
        let order = Whole::try_parse_from(arguments).unwrap().record.order().unwrap();
        let config = CaptureConfig::parse_order(&toml::to_string(&order).unwrap()).unwrap();
        assert_eq!(config.folder, PathBuf::from("/x y/z"));
        assert_eq!((config.time, config.sample), (Some(Duration::from_secs(600)), 10));
        assert_eq!((config.replies, config.redact), (Replies::Whole, Redact::Values));
        assert_eq!((config.limits.quota, config.redact_fields), (3 << 30, vec!["pin".to_owned()]));
        assert!(config.collections[0].matches("a.bc"));
    }

    #[test]
    fn sizes_are_shown_for_people() {
        assert_eq!([size(0), size(1023), size(1536), size(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}
