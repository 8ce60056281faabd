//! The servers: three mongods, three ZooKeepers, three toranas, with a relay wherever the network may fail.

use std::time::Duration;

use bson::{Timestamp, doc};

use super::book::Book;
use super::commands::COLLECTIONS;
use super::oplog;
use super::session::DATABASE;
use crate::support::scratch::Scratch;
use crate::support::{Ensemble, Relay, ReplicaSet, Torana};

/// How many of each there are.
const COUNT: usize = 3;

/// What its oplog may hold, MB; the least that a running server takes. It grows as it is used.
const OPLOG_MB: f64 = 990.0;

/// Shorter than torana's own, so that each fault is felt.
const TIMES: &str = "session_timeout = \"2s\"\nrequest_timeout = \"700ms\"\nwait_timeout = \"2s\"\n";

/// All servers.
pub struct Stage {
    /// A relay before each member, which the others and the toranas go through.
    pub set: ReplicaSet,
    /// The ZooKeepers.
    pub zookeeper: Ensemble,
    /// The toranas.
    pub toranas: Vec<Torana>,
    /// Between each torana and each ZooKeeper.
    pub links: Vec<Vec<Relay>>,
    /// The time of the oplog before the first write.
    pub since: Timestamp,
    _folder: Scratch,
}

impl Stage {
    /// Starts all, and makes the collections.
    pub fn start() -> Stage {
        let zookeeper = Ensemble::of(COUNT);
        let set = ReplicaSet::of(COUNT).unchained().relayed().start();
        let mut primary = set.client(set.primary());
        for (name, _) in COLLECTIONS {
            primary.run(DATABASE, doc! { "create": name, "writeConcern": { "w": COUNT as i32 } });
        }
        let since = oplog::now(&mut primary);
        for member in 0..COUNT {
            set.client(member).run("admin", doc! { "replSetResizeOplog": 1, "size": OPLOG_MB });
        }
        let hosts = zookeeper.hosts();
        let links: Vec<Vec<Relay>> =
            (0..COUNT).map(|_| hosts.iter().map(|host| Relay::to(host)).collect()).collect();
        let folder = Scratch::new("history");
        let toranas = links.iter().enumerate().map(|(index, links)| {
            let file = folder.path().join(format!("torana{index}.toml"));
            std::fs::write(&file, configuration(links)).expect("a configuration file");
            Torana::serve(set.uri()).argument("--config").argument(file.display().to_string()).start()
        });
        let toranas = toranas.collect();
        Stage { set, zookeeper, toranas, links, since, _folder: folder }
    }

    /// Where the toranas are.
    pub fn book(&self) -> Book {
        let hosts = self.set.hosts();
        let listeners =
            |torana: &Torana| hosts.iter().map(|host| torana.listener_of(host).to_owned()).collect();
        Book::new(self.toranas.iter().map(listeners).collect())
    }

    /// Waits until all are up and in step; everything was healed before.
    pub fn settle(&mut self) {
        self.zookeeper.wait_all();
        self.set.wait_healthy();
        let primary = self.set.primary();
        let everywhere = doc! { "w": COUNT as i32, "wtimeout": 60_000 };
        let note = doc! { "insert": "settled", "documents": [{}], "writeConcern": everywhere };
        self.set.client(primary).run(DATABASE, note);
    }

    /// How often a member has taken back what it had written.
    pub fn rollbacks(&self) -> usize {
        let counts =
            self.set.members.iter().map(|member| member.log().matches("\"Rollback summary\"").count());
        counts.sum()
    }

    /// A patient connection to every member through every torana serves every collection.
    pub fn serves(&self) {
        let limit = Duration::from_secs(60);
        for torana in &self.toranas {
            for member in self.set.hosts() {
                for (name, _) in COLLECTIONS {
                    crate::support::wait_until("all is served again", limit, || {
                        let client = crate::support::RawClient::try_connect(torana.listener_of(&member));
                        let find = doc! { "find": name, "$readPreference": { "mode": "nearest" } };
                        let reply = client.and_then(|mut client| client.try_command(DATABASE, find));
                        reply.is_ok_and(|reply| crate::support::raw::is_ok(&reply))
                    });
                }
            }
        }
    }
}

fn configuration(links: &[Relay]) -> String {
    let hosts: Vec<String> = links.iter().map(|link| link.address().to_string()).collect();
    let tags = COLLECTIONS.iter().map(|(name, _)| {
        let level = if *name == "plain" { "default" } else { *name };
        format!("\"{DATABASE}.{name}\" = \"{level}\"\n")
    });
    format!("[tags]\n{}[zookeeper]\nhosts = \"{}\"\n{TIMES}", tags.collect::<String>(), hosts.join(","))
}
