//! The algorithm of "Variable Data Consistency in Parse Server" (2017), as a client: a hash of every object stands in ZooKeeper,
//! the source of truth, and in the object; a copy of each version is stored under its hash. It is here to be measured, and not
//! to be used: two writers can leave an object that nobody can read (SEQUENTIAL.md, "Where it comes from").

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bson::{Document, doc};
use tokio::runtime::Runtime;
use zookeeper_async::{Acl, CreateMode, WatchedEvent, ZkError, ZooKeeper};

use super::act::{Act, find, first, object, object_id, reader};
use super::{Client, OBJECTS, Place};
use crate::session::Session;
use crate::workload::{DATABASE, new_lsid};

const ROOT: &str = "/thesis";
const COPIES: &str = "thesis_copies";

/// The hashes in ZooKeeper, over one session as one Parse Server has it.
pub struct Registers {
    runtime: Runtime,
    zookeeper: ZooKeeper,
}

impl Registers {
    /// Connects to `hosts`.
    pub fn connect(hosts: &str) -> Result<Registers> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let connecting = ZooKeeper::connect(hosts, Duration::from_secs(30), |_: WatchedEvent| {});
        let zookeeper = runtime.block_on(connecting)?;
        let registers = Registers { runtime, zookeeper };
        registers.create(ROOT, "")?;
        Ok(registers)
    }

    fn create(&self, path: &str, hash: &str) -> Result<()> {
        let data = hash.as_bytes().to_vec();
        let made = self.zookeeper.create(path, data, Acl::open_unsafe().clone(), CreateMode::Persistent);
        match self.runtime.block_on(made) {
            Ok(_) | Err(ZkError::NodeExists) => Ok(()),
            Err(error) => bail!("{path}: {error}"),
        }
    }

    fn set(&self, id: &str, hash: &str) -> Result<()> {
        let path = format!("{ROOT}/{id}");
        let data = hash.as_bytes().to_vec();
        match self.runtime.block_on(self.zookeeper.set_data(&path, data, None)) {
            Ok(_) => Ok(()),
            Err(ZkError::NoNode) => self.create(&path, hash),
            Err(error) => bail!("{path}: {error}"),
        }
    }

    fn get(&self, id: &str) -> Result<String> {
        let (data, _) = self.runtime.block_on(self.zookeeper.get_data(&format!("{ROOT}/{id}"), false))?;
        Ok(String::from_utf8(data)?)
    }

    /// How many nodes stand at and below `path`.
    pub fn count(&self, path: &str) -> Result<u64> {
        let children = self.runtime.block_on(self.zookeeper.get_children(path, false))?;
        let below = |child: &String| self.count(&format!("{path}/{child}"));
        Ok(1 + children.iter().map(below).sum::<Result<u64>>()?)
    }

    fn remove(&self, id: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.zookeeper.delete(&format!("{ROOT}/{id}"), None))?)
    }
}

/// A client that keeps the algorithm.
pub struct Thesis {
    primary: Session,
    reader: Option<Session>,
    registers: Arc<Registers>,
    collection: &'static str,
    lsid: Document,
    /// The `_id`s of what it makes begin so.
    name: String,
    made: u64,
}

fn hashed(mut object: Document) -> (Document, String) {
    object.remove("hash");
    let mut hasher = DefaultHasher::new();
    object.to_string().hash(&mut hasher);
    let hash = format!("{:016x}", hasher.finish());
    object.insert("hash", &hash);
    (object, hash)
}

impl Thesis {
    /// Connects.
    pub fn open(place: &Place, registers: Arc<Registers>) -> Result<Thesis> {
        Ok(Thesis {
            primary: Session::open(place.primary, None)?,
            reader: reader(place)?,
            registers,
            collection: place.collection,
            lsid: new_lsid(),
            name: bson::Uuid::new().to_string(),
            made: 0,
        })
    }

    /// Makes the objects anew, with their hashes.
    pub fn load(&mut self) -> Result<()> {
        for number in 0..OBJECTS {
            let (object, hash) = hashed(object(&object_id(number)));
            self.store_copy(&object, &hash)?;
            self.registers.set(&object_id(number), &hash)?;
            let update = doc! { "q": { "_id": object_id(number) }, "u": object, "upsert": true };
            let update = doc! { "update": self.collection, "updates": [update], "writeConcern": { "w": 3 } };
            self.primary.command(DATABASE, update)?;
        }
        Ok(())
    }

    /// The version that ZooKeeper names: the object's own, or a copy.
    fn get(&mut self, id: &str) -> Result<Document> {
        let find_object = find(self.collection, id, &self.lsid);
        let reply = self.reader.as_mut().unwrap_or(&mut self.primary).command(DATABASE, find_object)?;
        let found = first(&reply).context("no object")?.clone();
        let hash = self.registers.get(id)?;
        if found.get_str("hash").ok() == Some(hash.as_str()) {
            return Ok(found);
        }
        let copy = find(COPIES, &hash, &self.lsid);
        let reply = self.primary.command(DATABASE, copy)?;
        match first(&reply) {
            Some(copy) => Ok(copy.get_document("object")?.clone()),
            // Another writer is between its steps: what was found is what there is.
            None => Ok(found),
        }
    }

    fn store_copy(&mut self, object: &Document, hash: &str) -> Result<()> {
        let update = doc! { "q": { "_id": hash }, "u": { "_id": hash, "object": object, "of": object.get_str("_id")? },
        "upsert": true };
        self.primary.command(DATABASE, doc! { "update": COPIES, "updates": [update] })?;
        Ok(())
    }

    fn put(&mut self, id: &str) -> Result<()> {
        let mut object = self.get(id)?;
        self.made += 1;
        object.insert("score", self.made as i64);
        let (object, hash) = hashed(object);
        self.store_copy(&object, &hash)?;
        self.registers.set(id, &hash)?;
        let change = doc! { "findAndModify": self.collection, "query": { "_id": id }, "new": true,
        "update": { "$set": { "score": self.made as i64, "hash": &hash } } };
        self.primary.command(DATABASE, change)?;
        Ok(())
    }

    fn post_and_delete(&mut self) -> Result<()> {
        self.made += 1;
        let id = format!("{}-{}", self.name, self.made);
        let (object, hash) = hashed(object(&id));
        self.store_copy(&object, &hash)?;
        self.registers.create(&format!("{ROOT}/{id}"), &hash)?;
        self.primary.command(DATABASE, doc! { "insert": self.collection, "documents": [object] })?;
        let copies = doc! { "delete": COPIES, "deletes": [{ "q": { "_id": &hash }, "limit": 1 }] };
        self.primary.command(DATABASE, copies)?;
        self.registers.remove(&id)?;
        let delete = doc! { "delete": self.collection, "deletes": [{ "q": { "_id": &id }, "limit": 1 }] };
        self.primary.command(DATABASE, delete)?;
        Ok(())
    }
}

impl Client for Thesis {
    fn act(&mut self, act: Act, number: u64) -> Result<()> {
        let id = object_id(number);
        match act {
            Act::Get => {
                let found = self.get(&id)?;
                ensure!(found.get_str("_id").ok() == Some(id.as_str()), "mixed up: asked {id}, got {found}");
                Ok(())
            }
            Act::Put => self.put(&id),
            Act::PostDelete => self.post_and_delete(),
        }
    }
}
