//! Which records of a capture are meant.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use crate::capture::file::records;
use crate::capture::{Asked, CaptureError, Kind, Reader, Record, Request, folder};
use crate::config::{CollectionPattern, Span};
use crate::replay::shape;
use crate::replay::view::View;

/// Which records are meant: all that is said must hold
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// From this time on, since the capture began: 90s, 10m
    #[arg(long, value_name = "TIME")]
    pub from: Option<Span>,

    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<Span>,

    /// The connection of this number. May be given several times, as all that follow
    #[arg(long, value_name = "N")]
    pub connection: Vec<u64>,

    /// Requests on this database, and their replies
    #[arg(long, value_name = "DB")]
    pub database: Vec<String>,

    /// Requests on this collection; DB.PREFIX* for all that begin so
    #[arg(long, value_name = "DB.COLLECTION")]
    pub collection: Vec<CollectionPattern>,

    /// Requests of this command
    #[arg(long, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Requests of this query shape, as reports of replays show it, or its beginning and *: 'find app.c {player: ?}'
    #[arg(long, value_name = "SHAPE")]
    pub shape: Vec<String>,
}

/// A filter on its way through a capture: replies go with their requests.
#[derive(Debug)]
pub struct Chosen<'f> {
    filter: &'f Filter,
    from: u64,
    to: u64,
    /// For each connection the number of its last request, if that was chosen.
    requests: HashMap<u64, u32>,
    /// Connections of which something was chosen.
    connections: HashSet<u64>,
    /// Whether what ends transactions and sessions goes with what is chosen.
    with_ends: bool,
    /// Requests that the filter itself meant so far.
    meant: u64,
}

impl Filter {
    /// Whether everything is meant.
    pub fn is_all(&self) -> bool {
        !self.looks_at_requests() && self.connection.is_empty() && self.from.is_none() && self.to.is_none()
    }

    /// Begins at the front of a capture.
    pub fn chosen(&self) -> Chosen<'_> {
        let nanos =
            |span: &Option<Span>| span.map(|span| u64::try_from(span.0.as_nanos()).unwrap_or(u64::MAX));
        Chosen {
            filter: self,
            from: nanos(&self.from).unwrap_or(0),
            to: nanos(&self.to).unwrap_or(u64::MAX),
            requests: HashMap::new(),
            connections: HashSet::new(),
            with_ends: false,
            meant: 0,
        }
    }

    fn looks_at_requests(&self) -> bool {
        let names_none = self.database.is_empty() && self.collection.is_empty() && self.command.is_empty();
        !(names_none && self.shape.is_empty())
    }

    fn takes(&self, request: &Request<'_>) -> bool {
        if !self.looks_at_requests() {
            return true;
        }
        let asked = Asked::of(request.message);
        let is = |name: &String, bytes: &[u8]| name.as_bytes() == bytes;
        (self.command.is_empty() || self.command.iter().any(|name| is(name, asked.command)))
            && (self.database.is_empty() || self.database.iter().any(|name| is(name, asked.database)))
            && (self.collection.is_empty()
                || self.collection.iter().any(|one| one.matches(&asked.namespace())))
            && (self.shape.is_empty() || self.has_shape(request.message))
    }

    fn has_shape(&self, message: &[u8]) -> bool {
        let shape = View::of(message).map(|view| shape::text(&view)).unwrap_or_default();
        self.shape.iter().any(|pattern| shape::matches(pattern, &shape))
    }
}

impl Chosen<'_> {
    /// The same, with what ends transactions and sessions, whatever requests are chosen: it names no collection, and without it
    /// what is chosen would leave its transactions open where it is replayed.
    pub fn with_ends(mut self) -> Self {
        self.with_ends = true;
        self
    }

    /// Requests that were meant so far, and not only taken because others are.
    pub fn meant(&self) -> u64 {
        self.meant
    }

    fn takes_request(&mut self, request: &Request<'_>) -> bool {
        let is_meant = self.filter.takes(request);
        self.meant += u64::from(is_meant);
        is_meant || (self.with_ends && Asked::of(request.message).goes_with_others())
    }

    /// Whether `record` is meant. To be asked for each record in the order of the file.
    pub fn takes(&mut self, record: &Record<'_>) -> bool {
        if !self.filter.connection.is_empty() && !self.filter.connection.contains(&record.connection) {
            return false;
        }
        // Who a connection belongs to is of use whenever it was opened.
        if let Kind::Opened(_) = record.kind {
            return record.time <= self.to;
        }
        if !(self.from..=self.to).contains(&record.time) {
            return false;
        }
        match &record.kind {
            Kind::Request(request) if self.takes_request(request) => {
                self.requests.insert(record.connection, request.number);
                self.connections.insert(record.connection);
                true
            }
            Kind::Request(_) => {
                self.requests.remove(&record.connection);
                false
            }
            Kind::Reply(reply) => self.requests.get(&record.connection) == Some(&reply.number),
            Kind::Closed(_) | Kind::Lost(_) => {
                self.requests.remove(&record.connection);
                !self.filter.looks_at_requests() || self.connections.contains(&record.connection)
            }
            Kind::Opened(_) | Kind::Other(_) => true,
        }
    }
}

/// Calls `each` with every record of the capture at `path`. Damage is told on standard error, and passed over.
pub fn for_each(
    path: &Path,
    mut each: impl FnMut(&Record<'_>) -> anyhow::Result<bool>,
) -> anyhow::Result<Vec<String>> {
    let mut damage = Vec::new();
    for mut reader in folder::open(path)? {
        damage.extend(reader.damage.iter().map(|what| format!("{}: {what}", reader.path().display())));
        let blocks = reader.blocks.clone();
        for block in &blocks {
            let bytes = match reader.block(block) {
                Ok(bytes) => bytes,
                Err(error @ CaptureError::Damaged { .. }) => {
                    damage.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for record in records(&bytes) {
                if !each(&record)? {
                    return Ok(damage);
                }
            }
        }
    }
    Ok(damage)
}

/// The heads of the capture's files.
pub fn readers(path: &Path) -> anyhow::Result<Vec<Reader>> {
    Ok(folder::open(path)?)
}

/// Seconds with three places.
pub fn seconds(nanos: u64) -> String {
    format!("{:.3}", Duration::from_nanos(nanos).as_secs_f64())
}
