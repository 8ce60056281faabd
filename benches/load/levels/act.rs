//! What Parse Server sends for one object, as one command each.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bson::{Document, doc};

use super::{Client, OBJECTS, Place};
use crate::session::Session;
use crate::workload::{DATABASE, PADDING, new_lsid};

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Read by `_id`.
    Get,
    /// One field changed, the whole object returned.
    Put,
    /// A new one made, and removed.
    PostDelete,
}

/// How reads are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// As drivers send them.
    Plain,
    /// With read concern linearizable.
    Linearizable,
}

/// A client of a replica set, or of torana.
pub struct Direct {
    primary: Session,
    /// Where reads go, if elsewhere.
    reader: Option<Session>,
    collection: &'static str,
    reads: Reads,
    lsid: Document,
    txn_number: i64,
    /// The `_id`s of what it makes begin so.
    name: String,
    made: u64,
}

/// The `_id` of object `number`, of ten characters as Parse's are.
pub fn object_id(number: u64) -> String {
    format!("o{number:09}")
}

/// An object of some 300 bytes.
pub fn object(id: &str) -> Document {
    doc! { "_id": id, "score": 0_i64, "player": "somebody", "padding": "x".repeat(PADDING) }
}

/// The first document of a find's reply.
pub fn first(reply: &Document) -> Option<&Document> {
    reply.get_document("cursor").ok()?.get_array("firstBatch").ok()?.first()?.as_document()
}

/// Opens a connection for reads, if they go to another member.
pub fn reader(place: &Place) -> Result<Option<Session>> {
    let elsewhere = Some(place.reads).filter(|reads| *reads != place.primary);
    elsewhere.map(|reads| Session::open(reads, None)).transpose()
}

/// A find by `_id`, as a driver sends it that may read from secondaries.
pub fn find(collection: &str, id: &str, lsid: &Document) -> Document {
    doc! { "find": collection, "filter": { "_id": id }, "lsid": lsid.clone(),
    "$readPreference": { "mode": "secondaryPreferred" } }
}

impl Direct {
    /// Connects.
    pub fn open(place: &Place, reads: Reads) -> Result<Direct> {
        Ok(Direct {
            primary: Session::open(place.primary, None)?,
            reader: reader(place)?,
            collection: place.collection,
            reads,
            lsid: new_lsid(),
            txn_number: 0,
            name: bson::Uuid::new().to_string(),
            made: 0,
        })
    }

    fn write(&mut self, mut command: Document) -> Result<Document> {
        self.txn_number += 1;
        command.insert("lsid", self.lsid.clone());
        command.insert("txnNumber", self.txn_number);
        let reply = self.primary.command(DATABASE, command)?;
        ensure!(!reply.contains_key("writeErrors") && !reply.contains_key("writeConcernError"), "{reply}");
        Ok(reply)
    }
}

impl Client for Direct {
    fn act(&mut self, act: Act, number: u64) -> Result<()> {
        match act {
            Act::Get => {
                let id = object_id(number);
                let mut find = find(self.collection, &id, &self.lsid);
                if self.reads == Reads::Linearizable {
                    find.insert("readConcern", doc! { "level": "linearizable" });
                }
                let reply = self.reader.as_mut().unwrap_or(&mut self.primary).command(DATABASE, find)?;
                let found = first(&reply).context("no object")?;
                ensure!(found.get_str("_id").ok() == Some(id.as_str()), "mixed up: asked {id}, got {found}");
            }
            Act::Put => {
                let (id, score) = (object_id(number), self.txn_number);
                let change = doc! { "findAndModify": self.collection, "query": { "_id": &id }, "new": true,
                "update": { "$set": { "score": score } } };
                let reply = self.write(change)?;
                let now = reply.get_document("value").context("no object")?;
                ensure!(
                    now.get_str("_id").ok() == Some(id.as_str()) && now.get_i64("score").ok() == Some(score),
                    "got {now}"
                );
            }
            Act::PostDelete => {
                self.made += 1;
                let id = format!("{}-{}", self.name, self.made);
                self.write(doc! { "insert": self.collection, "documents": [object(&id)] })?;
                let reply = self.write(
                    doc! { "delete": self.collection, "deletes": [{ "q": { "_id": &id }, "limit": 1 }] },
                )?;
                ensure!(reply.get_i32("n").ok() == Some(1), "not deleted: {reply}");
            }
        }
        Ok(())
    }
}

/// Makes the objects anew.
pub fn load(primary: SocketAddr, collection: &str) -> Result<()> {
    let mut session = Session::open(primary, None)?;
    let all = doc! { "delete": collection, "deletes": [{ "q": {}, "limit": 0 }] };
    session.command(DATABASE, all)?;
    let objects: Vec<Document> = (0..OBJECTS).map(|number| object(&object_id(number))).collect();
    let insert = doc! { "insert": collection, "documents": objects, "writeConcern": { "w": 3 } };
    session.command(DATABASE, insert)?;
    Ok(())
}
