//! Scenario `levels`: what the level `sequential` costs, beside the same objects without a tag, and beside the algorithm of the
//! thesis beside no algorithm. A replica set of three, one ZooKeeper server, one torana.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bson::{Document, doc};

use super::rig::{Rig, Server, Subject};
use crate::levels::{self, Act, Client, Direct, OBJECTS, Place, Reads, Registers, Rest, Seen, Thesis};
use crate::report::Grid;
use crate::session::Session;
use crate::workload::{DATABASE, number};

const CLIENTS: [usize; 3] = [1, 8, 64];

/// Which collections are tagged, as torana is told.
const TAGS: [&str; 2] = ["bench.kept=sequential", "parse.Kept=sequential"];

/// What a secondary that stands still is given to be behind.
const SETTLES: Duration = Duration::from_millis(300);

/// Updates of one command where floors in ZooKeeper are counted, and how many there are.
const BULK: u64 = 1_000;
const WRITES: u64 = 1_000_000;
const WRITTEN_OBJECTS: u64 = 100_000;

/// Who is compared, by the number of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Default,
    Sequential,
    Direct,
    Thesis,
}

const WHO: [Who; 4] = [Who::Default, Who::Sequential, Who::Direct, Who::Thesis];

/// What stands there.
struct Stage<'a> {
    rig: &'a Rig,
    servers: Vec<Server>,
    /// It ends with the stage.
    _zookeeper: Server,
    torana: Subject,
    untagged: Subject,
    registers: Arc<Registers>,
}

/// The comparison. Each table is printed when it is complete.
pub(super) fn run(rig: &Rig) -> Result<()> {
    let stage = Stage::new(rig)?;
    for table in
        [Stage::healthy, Stage::frozen, Stage::secondaries, Stage::untagged, Stage::parse, Stage::nodes]
    {
        println!("{}", table(&stage)?.markdown());
    }
    Ok(())
}

fn four(title: &str) -> Grid {
    Grid::new(title, &["default", "sequential", "no proxy", "thesis"], &[(1, 0), (3, 2)])
}

impl Stage<'_> {
    fn new(rig: &Rig) -> Result<Stage<'_>> {
        let (servers, zookeeper) = (rig.replica_set(3)?, rig.zookeeper()?);
        let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
        let hosts = format!("{}/torana/rs0", zookeeper.address);
        let torana = rig.torana(&addresses, &["--tag", TAGS[0], "--tag", TAGS[1], "--zookeeper", &hosts])?;
        let untagged = rig.torana(&addresses, &[])?;
        let registers = Arc::new(Registers::connect(&zookeeper.address.to_string())?);
        let stage = Stage { rig, servers, _zookeeper: zookeeper, torana, untagged, registers };
        let primary = stage.servers[0].address;
        for who in [Who::Default, Who::Sequential] {
            levels::load(primary, stage.place(who, 0)?.collection)?;
        }
        Thesis::open(&stage.place(Who::Thesis, 0)?, stage.registers.clone())?.load()?;
        Ok(stage)
    }

    /// Where `who` finds its objects, with reads on the member `reads`.
    fn place(&self, who: Who, reads: usize) -> Result<Place> {
        let collection = match who {
            Who::Default | Who::Direct => "plain",
            Who::Sequential => "kept",
            Who::Thesis => "thesis",
        };
        let address = |index: usize| match who {
            Who::Default | Who::Sequential => self.torana.targets.get(index).copied(),
            Who::Direct | Who::Thesis => self.servers.get(index).map(|server| server.address),
        };
        let (primary, reads) = (address(0).context("no primary")?, address(reads).context("no such member")?);
        Ok(Place { primary, reads, collection })
    }

    fn clients(&self, who: Who, place: &Place, count: usize) -> Result<Vec<Box<dyn Client>>> {
        let one = |_| -> Result<Box<dyn Client>> {
            Ok(match who {
                Who::Thesis => Box::new(Thesis::open(place, self.registers.clone())?),
                _ => Box::new(Direct::open(place, Reads::Plain)?),
            })
        };
        (0..count).map(one).collect()
    }

    fn measure(&self, clients: Vec<Box<dyn Client>>, act: Act) -> Result<Seen> {
        levels::run(clients, act, self.rig.args.warmup(), self.rig.args.window())
    }

    /// One round of `act` by all four, in an order that turns.
    fn round(&self, table: &mut Grid, round: u32, act: Act, reads: usize, count: usize) -> Result<()> {
        let mut order = WHO;
        order.rotate_left(round as usize % WHO.len());
        for who in order {
            let place = self.place(who, reads)?;
            let seen = self.measure(self.clients(who, &place, count)?, act)?;
            eprintln!("round {}: {act:?}, {count} clients, {who:?}: {:.0}/s", round + 1, seen.per_second);
            record(table, act, count, who as usize, &seen);
        }
        Ok(())
    }

    fn healthy(&self) -> Result<Grid> {
        let mut table = four("healthy set");
        for round in 0..self.rig.args.rounds {
            for count in self.rig.args.clients_or(&CLIENTS) {
                for act in [Act::Get, Act::Put, Act::PostDelete] {
                    self.round(&mut table, round, act, 0, count)?;
                }
            }
        }
        Ok(table)
    }

    /// Through Parse Server, which an application's users speak to.
    fn parse(&self) -> Result<Grid> {
        let mut table = Grid::new("Parse Server's REST interface", &["default", "sequential"], &[(1, 0)]);
        let members: Vec<String> = self.torana.targets.iter().map(SocketAddr::to_string).collect();
        let server =
            self.rig.parse_server(&format!("mongodb://{}/parse?replicaSet=rs0", members.join(",")))?;
        let classes = ["Plain", "Kept"];
        let objects = classes.map(|class| Rest::load(server.address, class).map(Arc::new));
        let [plain, kept] = objects;
        let objects = [plain?, kept?];
        for round in 0..self.rig.args.rounds {
            for count in self.rig.args.clients_or(&CLIENTS) {
                for act in [Act::Get, Act::Put, Act::PostDelete] {
                    for column in [round as usize % 2, (round as usize + 1) % 2] {
                        let one = |_| -> Result<Box<dyn Client>> {
                            let rest = Rest::open(server.address, classes[column], objects[column].clone());
                            Ok(Box::new(rest?))
                        };
                        let clients = (0..count).map(one).collect::<Result<_>>()?;
                        record(&mut table, act, count, column, &self.measure(clients, act)?);
                    }
                }
            }
            eprintln!("round {}: Parse Server", round + 1);
        }
        Ok(table)
    }

    /// An untagged collection, with tags configured and without any.
    fn untagged(&self) -> Result<Grid> {
        let mut table = Grid::new("untagged collection", &["tags configured", "no tags"], &[(0, 1)]);
        let places = [self.torana.target()?, self.untagged.target()?].map(|target| Place {
            primary: target,
            reads: target,
            collection: "plain",
        });
        for round in 0..self.rig.args.rounds {
            for (act, column) in [(Act::Get, 0), (Act::Get, 1), (Act::Put, 0), (Act::Put, 1)] {
                let column = (column + round as usize) % 2;
                let seen = self.measure(self.clients(Who::Default, &places[column], 8)?, act)?;
                let row = format!("{}, 8 clients: operations a second", name(act));
                table.record(&row, column, seen.per_second);
            }
        }
        Ok(table)
    }

    /// Reads of both secondaries at the level, and what a user would choose in its place.
    fn secondaries(&self) -> Result<Grid> {
        let columns = &["sequential on secondaries", "linearizable on the primary"];
        let mut table = Grid::new("reads that are not stale", columns, &[(0, 1)]);
        for round in 0..self.rig.args.rounds {
            for count in [8, 64] {
                let row = format!("GET, {count} clients: operations a second");
                let mut kept = self.clients(Who::Sequential, &self.place(Who::Sequential, 1)?, count / 2)?;
                kept.extend(self.clients(Who::Sequential, &self.place(Who::Sequential, 2)?, count / 2)?);
                table.record(&row, 0, self.measure(kept, Act::Get)?.per_second);
                let place = self.place(Who::Default, 0)?;
                let one = |_| -> Result<Box<dyn Client>> {
                    Ok(Box::new(Direct::open(&place, Reads::Linearizable)?))
                };
                let linearizable = (0..count).map(one).collect::<Result<_>>()?;
                table.record(&row, 1, self.measure(linearizable, Act::Get)?.per_second);
            }
            eprintln!("round {}: secondaries", round + 1);
        }
        Ok(table)
    }

    /// A secondary stands still, and reads go to it.
    fn frozen(&self) -> Result<Grid> {
        let mut table = four("reads go to a secondary that stands still");
        let mut secondary = Session::open(self.servers[1].address, None)?;
        let fail_point = |mode: &str| doc! { "configureFailPoint": "rsSyncApplyStop", "mode": mode };
        for round in 0..self.rig.args.rounds {
            secondary.command("admin", fail_point("alwaysOn"))?;
            self.touch_all()?;
            thread::sleep(SETTLES);
            for count in self.rig.args.clients_or(&CLIENTS) {
                for act in [Act::Get, Act::Put] {
                    self.round(&mut table, round, act, 1, count)?;
                }
            }
            secondary.command("admin", fail_point("off"))?;
            self.wait_for_secondary()?;
        }
        Ok(table)
    }

    /// A new version of every object, so that a member which stands still has none of them.
    fn touch_all(&self) -> Result<()> {
        for who in [Who::Default, Who::Sequential, Who::Thesis] {
            let place = self.place(who, 0)?;
            let mut clients = self.clients(who, &place, 1)?;
            let client = clients.first_mut().context("no client")?;
            (0..OBJECTS).try_for_each(|number| client.act(Act::Put, number))?;
        }
        Ok(())
    }

    fn wait_for_secondary(&self) -> Result<()> {
        let mut primary = Session::open(self.servers[0].address, None)?;
        let all = doc! { "update": "plain", "updates": [{ "q": { "_id": "o000000000" }, "u": { "$inc": { "n": 1 } } }],
        "writeConcern": { "w": 3, "wtimeout": 60_000 } };
        primary.command(DATABASE, all)?;
        Ok(())
    }

    /// A million writes to 100,000 objects, in bulk, and what ZooKeeper holds then.
    fn nodes(&self) -> Result<Grid> {
        let mut table = Grid::new("nodes in ZooKeeper", &["torana's root"], &[]);
        table.record("before", 0, self.count_nodes()?);
        let mut session = Session::open(self.torana.target()?, None)?;
        let began = Instant::now();
        for batch in 0..WRITES / BULK {
            let updates: Vec<Document> = (0..BULK)
                .map(|index| {
                    let object = (batch * BULK + index) % WRITTEN_OBJECTS;
                    doc! { "q": { "_id": object as i64 }, "u": { "$inc": { "n": 1 } }, "upsert": true }
                })
                .collect();
            let reply =
                session.command(DATABASE, doc! { "update": "kept", "ordered": false, "updates": updates })?;
            ensure!(number(&reply, "n") == Some(BULK), "{reply}");
        }
        let took = began.elapsed().as_secs_f64();
        eprintln!("{WRITES} writes to {WRITTEN_OBJECTS} objects took {took:.0} s");
        table.record(&format!("after {WRITES} writes to {WRITTEN_OBJECTS} objects"), 0, self.count_nodes()?);
        Ok(table)
    }

    fn count_nodes(&self) -> Result<f64> {
        self.registers.count("/torana").map(|count| count as f64)
    }
}

fn record(table: &mut Grid, act: Act, count: usize, column: usize, seen: &Seen) {
    let median = seen.latencies.value_at_quantile(0.5) as f64 / 1e3;
    table.record(&format!("{}, {count} clients: p50, µs", name(act)), column, median);
    table.record(&format!("{}, {count} clients: operations a second", name(act)), column, seen.per_second);
}

fn name(act: Act) -> &'static str {
    match act {
        Act::Get => "GET",
        Act::Put => "PUT",
        Act::PostDelete => "POST and DELETE",
    }
}
