//! `torana capture info`: what is in a capture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use super::filter::{for_each, readers, seconds};
use crate::capture::{Asked, Form, Head, Kind, Record};
use crate::cli::print;
use crate::cli::record::size;

/// So many kinds of requests are told apart; those beyond are one.
const KINDS_MAX: usize = 10_000;

/// Show what is in a capture: its time, connections, requests by command and collection, replies, damage
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder, or one file of it
    capture: PathBuf,

    /// How many kinds of requests are shown, those with most requests first
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
}

/// What is counted of one kind of requests.
#[derive(Debug, Default)]
struct Kinds {
    requests: u64,
    request_bytes: u64,
    replies: u64,
    reply_bytes: u64,
    documents: u64,
    errors: u64,
}

/// What is counted.
#[derive(Debug, Default)]
struct Counts {
    records: u64,
    raw: u64,
    first: Option<u64>,
    last: u64,
    opened: u64,
    closed: u64,
    lost: BTreeMap<u8, u64>,
    withheld: u64,
    unanswered: u64,
    forms: [u64; 4],
    applications: BTreeSet<String>,
    members: BTreeMap<String, u64>,
    kinds: BTreeMap<(String, String), Kinds>,
    /// For each connection the kind of its last request.
    asked: HashMap<u64, (u32, (String, String))>,
}

/// Shows it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let readers = readers(&arguments.capture)?;
    let bytes: u64 =
        readers.iter().filter_map(|reader| reader.path().metadata().ok()).map(|file| file.len()).sum();
    let files = readers.len();
    let head = readers.first().map(|reader| reader.head.clone());
    drop(readers);
    let mut counts = Counts::default();
    let damage = for_each(&arguments.capture, |record| {
        counts.note(record);
        Ok(true)
    })?;
    let mut text =
        head.map_or(String::new(), |head| about(&head)) + &counts.show(files, bytes, arguments.top);
    match damage.as_slice() {
        [] => text += "no damage\n",
        damage => damage.iter().for_each(|what| text += &format!("damage: {what}\n")),
    }
    Ok(print(&text)?)
}

fn about(head: &Head) -> String {
    let id = head.replica_set_id.map_or("unknown".to_owned(), |id| id.to_hex());
    let started = head.started.try_to_rfc3339_string().unwrap_or_default();
    let selection = if head.selection.is_empty() { "everything" } else { &head.selection };
    format!(
        "capture {} of {} (set id {id}), by torana {}\nbegun {started}; {selection}, 1/{} of the connections\n\
         replies: {}; redacted: {}\n",
        head.capture_id, head.set, head.torana, head.sample, head.replies, head.redact
    )
}

impl Counts {
    fn note(&mut self, record: &Record<'_>) {
        self.records += 1;
        let mut encoded = Vec::new();
        self.first = Some(self.first.map_or(record.time, |first| first.min(record.time)));
        self.last = self.last.max(record.time);
        match &record.kind {
            Kind::Opened(opened) => {
                self.opened += 1;
                *self.members.entry(opened.member.to_owned()).or_default() += 1;
                if !opened.application.is_empty() && self.applications.len() < KINDS_MAX {
                    self.applications.insert(opened.application.to_owned());
                }
            }
            Kind::Request(request) => {
                let asked = Asked::of(request.message);
                let kind = (String::from_utf8_lossy(asked.command).into_owned(), asked.namespace());
                let is_new = !self.kinds.contains_key(&kind);
                let kind = match is_new && self.kinds.len() >= KINDS_MAX {
                    true => ("others".to_owned(), String::new()),
                    false => kind,
                };
                let counts = self.kinds.entry(kind.clone()).or_default();
                counts.requests += 1;
                counts.request_bytes += request.message.len() as u64;
                self.withheld += u64::from(request.withheld);
                self.unanswered += u64::from(request.wants_none);
                self.asked.insert(record.connection, (request.number, kind));
            }
            Kind::Reply(reply) => {
                let form = match reply.form {
                    Form::None => 0,
                    Form::Whole(_) => 1,
                    Form::Digest(_) => 2,
                    Form::TooLarge => 3,
                };
                self.forms[form] += 1;
                let asked = self.asked.get(&record.connection).filter(|(number, _)| *number == reply.number);
                if let Some(counts) = asked.and_then(|(_, kind)| self.kinds.get_mut(kind)) {
                    counts.replies += 1;
                    counts.reply_bytes += u64::from(reply.length);
                    counts.documents += u64::from(reply.documents);
                    counts.errors += u64::from(reply.code != 0);
                }
            }
            Kind::Closed(_) => {
                self.closed += 1;
                self.asked.remove(&record.connection);
            }
            Kind::Lost(why) => {
                *self.lost.entry(*why).or_default() += 1;
                self.asked.remove(&record.connection);
            }
            Kind::Other(_) => {}
        }
        record.encode(&mut encoded);
        self.raw += encoded.len() as u64;
    }

    fn show(&self, files: usize, bytes: u64, top: usize) -> String {
        let first = self.first.unwrap_or(0);
        let percent = if self.raw == 0 { 0.0 } else { 100.0 * bytes as f64 / self.raw as f64 };
        let lost: u64 = self.lost.values().sum();
        let sum = |of: fn(&Kinds) -> u64| self.kinds.values().map(of).sum::<u64>();
        let mut text = format!(
            "{} to {} s: {} records, {} in {files} file{} of {} ({percent:.0} %)\n",
            seconds(first),
            seconds(self.last),
            self.records,
            size(self.raw),
            if files == 1 { "" } else { "s" },
            size(bytes),
        );
        text += &format!("connections: {} opened, {} closed, {lost} lost", self.opened, self.closed);
        for (why, count) in &self.lost {
            let why = match why {
                1 => "the disk was behind",
                2 => "a request that was too long",
                3 => "bytes are missing where it was imported from",
                4 => "no message begins where one has to",
                _ => "for a reason of a later version",
            };
            text += &format!(" ({count}: {why})");
        }
        for (member, count) in &self.members {
            text += &format!("\n  {count} to {member}");
        }
        if !self.applications.is_empty() {
            let names: Vec<&str> = self.applications.iter().map(String::as_str).take(20).collect();
            text += &format!("\napplications: {}", names.join(", "));
        }
        let [none, whole, digests, large] = self.forms;
        text += &format!(
            "\nrequests: {} ({} want no reply, of {} only the name is kept)\nreplies: {} ({} errors; {whole} whole, \
             {digests} as digests, {none} as facts alone, {large} too large)\n",
            sum(|kind| kind.requests),
            self.unanswered,
            self.withheld,
            self.forms.iter().sum::<u64>(),
            sum(|kind| kind.errors),
        );
        text + &self.table(top)
    }

    fn table(&self, top: usize) -> String {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.requests));
        let mut text = String::new();
        if !kinds.is_empty() {
            text = format!(
                "\n{:<18} {:<32} {:>9} {:>10} {:>9} {:>10} {:>10} {:>8}\n",
                "command", "collection", "requests", "size", "replies", "size", "documents", "errors"
            );
        }
        for ((command, namespace), counts) in kinds.iter().take(top) {
            text += &format!(
                "{command:<18} {namespace:<32} {:>9} {:>10} {:>9} {:>10} {:>10} {:>8}\n",
                counts.requests,
                size(counts.request_bytes),
                counts.replies,
                size(counts.reply_bytes),
                counts.documents,
                counts.errors
            );
        }
        if kinds.len() > top {
            text += &format!("and {} more kinds of requests (--top)\n", kinds.len() - top);
        }
        text
    }
}
