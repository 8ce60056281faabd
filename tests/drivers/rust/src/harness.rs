//! Runs steps and prints one JSON line for each: what the driver returned and every raw command reply behind it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use mongodb::error::{Error, Result};
use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;
use mongodb::event::sdam::SdamEvent;
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection, Database};
use serde::Serialize;
use serde_json::{Value, json};

/// Marks the operations that `currentOp` is to find.
pub const COMMENT: &str = "torana-drivers";

/// A script has 30 s in all; what takes more than this is named.
const SLOW: Duration = Duration::from_secs(1);

/// The steps that are about killing cursors; they stand before those that leave cursors open.
const KILLING: [&str; 2] = ["kill_cursors", "dropped_cursor"];

/// What a driver finally knows of the set.
#[derive(Default, Clone)]
pub struct Topology {
    pub kind: String,
    pub set: Option<String>,
    /// Address to role.
    pub members: BTreeMap<String, String>,
}

/// What every step gets.
pub struct Context {
    pub uri: String,
    pub client: Client,
    pub db: Database,
    pub topology: Arc<Mutex<Topology>>,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Context {
    pub async fn new(uri: &str, name: &str) -> Result<Self> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let topology = Arc::new(Mutex::new(Topology::default()));
        let mut options = options(uri, &events).await?;
        let seen = topology.clone();
        options.sdam_event_handler = Some(EventHandler::callback(move |event| learn(&seen, event)));
        let client = Client::with_options(options)?;
        Ok(Self { uri: uri.into(), db: client.database(name), client, topology, events })
    }

    /// Another client, whose replies are recorded as well.
    pub async fn connect(&self, uri: &str, change: impl FnOnce(&mut ClientOptions)) -> Result<Client> {
        let mut options = options(uri, &self.events).await?;
        change(&mut options);
        Client::with_options(options)
    }

    pub fn collection(&self, name: &str) -> Collection<Document> {
        self.db.collection(name)
    }

    pub async fn admin(&self, command: Document) -> Result<Document> {
        self.client.database("admin").run_command(command).await
    }

    /// Lets the commands named in `data` fail, on the primary.
    pub async fn fail_point(&self, times: i32, data: Document) -> Result<Document> {
        self.admin(doc! {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data}).await
    }

    /// The replies since the last call; call it to leave replies out that depend on chance.
    pub fn take(&self) -> Vec<Value> {
        self.events.lock().map(|mut events| std::mem::take(&mut *events)).unwrap_or_default()
    }

    /// Waits until a reply to `command` has come during this step.
    pub async fn replied(&self, command: &str) -> Result<()> {
        for _ in 0..500 {
            if self.events.lock().is_ok_and(|events| events.iter().any(|event| event["command"] == command)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(Error::custom(format!("no reply to {command} in 5 s")))
    }

    /// Runs one step and prints its line.
    pub async fn step(&self, name: &str, body: impl Future<Output = Result<Bson>>) {
        self.take();
        let started = Instant::now();
        let (field, value) = match body.await {
            Ok(reply) => ("reply", reply.into_canonical_extjson()),
            Err(error) => ("error", failure(&error).into_canonical_extjson()),
        };
        let mut events = self.take();
        // Cursors that are dropped are killed in the background, in any order and during any later step.
        if !KILLING.contains(&name) {
            events.retain(|event| event["command"] != "killCursors");
        }
        println!("{}", json!({"step": name, field: value, "events": events}));
        if started.elapsed() > SLOW {
            eprintln!("{name} took {:?}", started.elapsed());
        }
    }
}

async fn options(uri: &str, events: &Arc<Mutex<Vec<Value>>>) -> Result<ClientOptions> {
    let mut options = ClientOptions::parse(uri).await?;
    options.server_selection_timeout = Some(Duration::from_secs(5));
    let events = events.clone();
    options.command_event_handler = Some(EventHandler::callback(move |event| record(&events, event)));
    Ok(options)
}

fn record(events: &Mutex<Vec<Value>>, event: CommandEvent) {
    let line = match event {
        CommandEvent::Succeeded(event) => {
            json!({"command": event.command_name, "address": event.connection.address.to_string(), "reply": Bson::from(event.reply).into_canonical_extjson()})
        }
        CommandEvent::Failed(event) => {
            json!({"command": event.command_name, "address": event.connection.address.to_string(), "failure": failure(&event.failure).into_canonical_extjson()})
        }
        _ => return,
    };
    if let Ok(mut events) = events.lock() {
        events.push(line);
    }
}

fn learn(topology: &Mutex<Topology>, event: SdamEvent) {
    let SdamEvent::TopologyDescriptionChanged(event) = event else { return };
    let new = event.new_description;
    let servers = new.servers();
    let members = servers.iter().map(|(address, server)| {
        (address.to_string(), format!("RS{:?}", server.server_type()).replace("RSRs", "RS"))
    });
    if let Ok(mut topology) = topology.lock() {
        *topology = Topology {
            kind: format!("{:?}", new.topology_type()),
            set: new.set_name().cloned(),
            members: members.collect(),
        };
    }
}

/// All that an application can see of an error.
pub fn failure(error: &Error) -> Bson {
    let mut labels: Vec<String> = error.labels().iter().cloned().collect();
    labels.sort();
    let response = error.server_response().and_then(|raw| Document::try_from(raw).ok());
    Bson::Document(doc! {"kind": error.kind.to_string(), "labels": labels, "response": response})
}

/// The error that a call is there to raise.
pub fn expect_error<T>(got: Result<T>) -> Result<Bson> {
    match got {
        Ok(_) => Err(Error::custom("expected an error")),
        Err(error) => Ok(failure(&error)),
    }
}

/// A result of the driver as BSON.
pub fn show<T: Serialize>(value: T) -> Result<Bson> {
    bson::serialize_to_bson(&value).map_err(Error::custom)
}
