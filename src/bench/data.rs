//! What a run finds on the target, makes there and leaves there. The rule: nothing is changed or dropped that this run did
//! not make, unless it was asked for by name.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bson::{Binary, Bson, Document, doc};

use super::workload::Workload;
use crate::replay::target;

/// An index over all that was loaded is built within this time.
const LIMIT: Duration = Duration::from_secs(3600);

/// What the operator allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// What is there is used, and left: nothing is loaded.
    pub no_load: bool,
    /// What is there is dropped.
    pub drop: bool,
    /// What was made is left.
    pub keep: bool,
}

/// Why a target's data are not what a run can begin with.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No answer.
    #[error("the target does not answer: {0}")]
    Io(#[from] io::Error),
    /// A command was refused.
    #[error("the target refuses {command}: {text}")]
    Refused {
        /// Its name.
        command: String,
        /// What the target says.
        text: String,
    },
    /// There are documents that the run has not made.
    #[error(
        "{0} exists and is not empty: give --drop to drop it first, --no-load to use it as it is, or name another collection"
    )]
    NotEmpty(String),
    /// A view has no documents of its own.
    #[error("{0} is a view: name a collection")]
    View(String),
}

/// A collection that this run made.
#[derive(Debug, Clone, PartialEq)]
struct Made {
    name: String,
    /// Another of the same name has another one.
    uuid: Option<Binary>,
}

/// The data of a run on its target.
#[derive(Debug)]
pub struct Data<'w> {
    address: SocketAddr,
    workload: &'w Workload,
    allowed: Allowed,
    made: Vec<Made>,
    /// Collections that are written to and were there before.
    found: Vec<String>,
}

impl<'w> Data<'w> {
    /// Looks at the target, and makes the collections that are to be written into; what it made is dropped again if it
    /// cannot make all.
    pub fn prepare(
        address: SocketAddr,
        workload: &'w Workload,
        allowed: Allowed,
    ) -> Result<Data<'w>, DataError> {
        let mut data = Data { address, workload, allowed, made: Vec::new(), found: Vec::new() };
        // All are looked at before any is touched.
        let mut names = workload.written();
        if let Some(load) = &workload.load
            && !allowed.no_load
            && !names.contains(&load.collection.as_str())
        {
            names.push(&load.collection);
        }
        names.retain(|name| !name.is_empty());
        if !allowed.no_load {
            names.iter().try_for_each(|name| data.check(name))?;
        }
        for name in names {
            if let Err(error) = data.make(name) {
                data.clean_up();
                return Err(error);
            }
        }
        Ok(data)
    }

    /// Refuses what is there and must not be touched.
    fn check(&self, name: &str) -> Result<(), DataError> {
        let Some(found) = self.find(name)? else { return Ok(()) };
        if found.get_str("type").is_ok_and(|kind| kind == "view") {
            return Err(DataError::View(self.namespace(name)));
        }
        let is_empty = self.first(doc! { "find": name, "limit": 1, "projection": { "_id": 1 } })?.is_none();
        match is_empty || self.allowed.drop {
            true => Ok(()),
            false => Err(DataError::NotEmpty(self.namespace(name))),
        }
    }

    fn make(&mut self, name: &str) -> Result<(), DataError> {
        if self.find(name)?.is_some() {
            if !self.allowed.drop {
                self.found.push(name.to_owned());
                return Ok(());
            }
            self.run(doc! { "drop": name })?;
        }
        // If somebody else made it in this moment, it is theirs, and this fails.
        self.run(doc! { "create": name })?;
        let uuid = self.find(name)?.as_ref().and_then(uuid);
        self.made.push(Made { name: name.to_owned(), uuid });
        Ok(())
    }

    /// Whether the loaded documents, and all that is written to, are of this run's own making.
    pub fn is_all_made(&self) -> bool {
        self.found.is_empty() && !self.allowed.no_load
    }

    /// Builds the load's indexes.
    pub fn index(&self) -> Result<(), DataError> {
        match &self.workload.load {
            Some(load) if !load.indexes.is_empty() => {
                let indexes = load.indexes.clone();
                self.run(doc! { "createIndexes": &load.collection, "indexes": indexes }).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// The first number that no document of the collections that were there has as its `_id`, and not below `least`.
    pub fn next_number(&self, least: i64) -> Result<i64, DataError> {
        let mut next = least;
        for name in &self.found {
            let highest = doc! { "find": name, "filter": { "_id": { "$type": "number" } }, "sort": { "_id": -1 },
            "projection": { "_id": 1 }, "limit": 1 };
            let found = self.first(highest)?.and_then(|document| document.get("_id").and_then(number));
            next = next.max(found.map_or(least, |highest| highest.saturating_add(1)));
        }
        Ok(next)
    }

    /// What `$key` will not find, in words: documents that the file speaks of and that are not there.
    pub fn missing(&self) -> Option<String> {
        let load = self.workload.load.as_ref().filter(|_| self.allowed.no_load)?;
        let reply = self.run(doc! { "count": &load.collection }).ok()?;
        let there = u64::try_from(number(reply.get("n")?)?).ok()?;
        (there < load.documents).then(|| {
            let namespace = self.namespace(&load.collection);
            format!("{namespace} had {there} documents, and not {}: $key may find none", load.documents)
        })
    }

    /// Drops what this run made, unless it is to be kept; says in words what was dropped and what is left.
    pub fn clean_up(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for made in std::mem::take(&mut self.made) {
            let namespace = self.namespace(&made.name);
            if self.allowed.keep {
                said.push(format!("left behind: {namespace}, which this run made, as --keep asks"));
                continue;
            }
            said.push(match self.drop_made(&made) {
                Ok(true) => format!("dropped {namespace}, which this run had made"),
                Ok(false) => {
                    format!("left behind: {namespace}, as it is not the one that this run made any more")
                }
                Err(error) => format!("left behind: {namespace}, which could not be dropped ({error})"),
            });
        }
        for name in std::mem::take(&mut self.found) {
            let namespace = self.namespace(&name);
            said.push(format!("{namespace} was there before: what was written to it is left"));
        }
        said
    }

    fn drop_made(&self, made: &Made) -> Result<bool, DataError> {
        let now = self.find(&made.name)?;
        if now.as_ref().and_then(uuid) != made.uuid {
            return Ok(false);
        }
        self.run(doc! { "drop": &made.name })?;
        Ok(true)
    }

    fn namespace(&self, collection: &str) -> String {
        format!("{}.{collection}", self.workload.database)
    }

    /// What the target says of a collection, if it exists.
    fn find(&self, name: &str) -> Result<Option<Document>, DataError> {
        self.first(doc! { "listCollections": 1, "filter": { "name": name } })
    }

    /// The first document of a cursor.
    fn first(&self, command: Document) -> Result<Option<Document>, DataError> {
        let reply = self.run(command)?;
        let batch = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        Ok(batch.ok().and_then(|batch| batch.first()?.as_document().cloned()))
    }

    fn run(&self, mut command: Document) -> Result<Document, DataError> {
        let name = command.keys().next().cloned().unwrap_or_default();
        command.insert("$db", &self.workload.database);
        let reply = target::run(self.address, LIMIT, &command)?;
        match target::is_ok(&reply) {
            true => Ok(reply),
            false => {
                let text = reply.get_str("errmsg").unwrap_or("no text").to_owned();
                Err(DataError::Refused { command: name, text })
            }
        }
    }
}

fn uuid(collection: &Document) -> Option<Binary> {
    match collection.get_document("info").ok()?.get("uuid")? {
        Bson::Binary(uuid) => Some(uuid.clone()),
        _ => None,
    }
}

fn number(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) => Some(number.ceil() as i64),
        _ => None,
    }
}
