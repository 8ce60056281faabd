//! What must hold: SEQUENTIAL's invariants in every state, and what each client sees.

use stateright::Property;

use super::client::{Client, Must, Phase, Read};
use super::config::Config;
use super::machine::State;
use super::mongo::{DOCS, Version};

/// A promise broken in front of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An older version than it, or another through the same torana, had been told before.
    WentBack { client: usize, doc: usize },
    /// What it had been told is no longer part of history.
    Lost { client: usize, doc: usize },
}

pub const CLIENT: &str = "no client goes back";
pub const COMMITTED: &str = "floors are majority-committed";
pub const COVERED: &str = "what was told is covered in memory and in ZooKeeper";

pub const BOUNDED: &str = "between two cycles of garbage collection a version is helped once";

pub fn properties() -> Vec<Property<Config>> {
    vec![
        Property::<Config>::always(CLIENT, |_, state| state.fault.is_none()),
        Property::<Config>::always(COMMITTED, floors_are_committed),
        Property::<Config>::always(COVERED, told_is_covered),
        Property::<Config>::always(BOUNDED, |_, state| {
            state.helped.windows(2).all(|pair| pair[0] != pair[1])
        }),
    ]
}

/// Invariant 1, seen from the registers: a floor above the commit point could be rolled back.
fn floors_are_committed(_: &Config, state: &State) -> bool {
    let commit = state.log.commit;
    let now = state.zookeeper.now();
    let memory =
        state.toranas.iter().all(|t| t.collection <= commit && t.known.iter().all(|known| *known <= commit));
    memory && (0..DOCS).all(|doc| now.floor(doc) <= commit)
}

/// Invariants 2 and 3. As what a client was told never grows older, a register that falls shows here.
fn told_is_covered(config: &Config, state: &State) -> bool {
    let now = state.zookeeper.now();
    let published = |doc: usize, version: &Version| {
        let overwritten = now.docs[doc].is_some_and(|znode| znode.overwritten());
        now.floor(doc) >= version.time || (config.rules.incarnation && overwritten)
    };
    let clients = state.clients.iter().all(|client| (0..DOCS).all(|doc| published(doc, &client.told[doc])));
    let memory = |torana: &super::torana::Torana| {
        (0..DOCS).all(|doc| torana.known[doc].max(torana.collection) >= torana.told[doc].time)
    };
    clients && state.toranas.iter().all(memory)
}

/// What an answer that is asked for now must show at least.
pub fn obligations(config: &Config, state: &State, client: &Client) -> (Must, Must) {
    let newer = |a: Version, b: Version| if a.time >= b.time { a } else { b };
    let here = state.toranas[client.home].told;
    let mut must = here;
    for (doc, least) in must.iter_mut().enumerate() {
        *least = newer(*least, client.told[doc]);
        if config.linearizable {
            for other in &state.clients {
                *least = newer(*least, other.told[doc]);
            }
        }
    }
    (must, here)
}

/// Compares one answer with what it had to be.
pub fn judge(state: &mut State, client: usize, doc: usize, got: Version, must: Version) {
    if state.fault.is_some() {
        return;
    }
    if !state.log.holds(must) {
        state.fault = Some(Fault::Lost { client, doc });
    } else if got.time < must.time {
        state.fault = Some(Fault::WentBack { client, doc });
    }
}

/// From now on the client, and everyone on its torana, has been told of this version.
pub fn tell(state: &mut State, client: usize, doc: usize, version: Version) {
    if state.clients[client].told[doc].time < version.time {
        state.clients[client].told[doc] = version;
    }
    tell_torana(state, client, doc, version);
}

/// The same where only the torana promises: a document that did not match a query.
pub fn tell_torana(state: &mut State, client: usize, doc: usize, version: Version) {
    let home = state.clients[client].home;
    if state.toranas[home].told[doc].time < version.time {
        state.toranas[home].told[doc] = version;
    }
}

impl Client {
    pub fn reading(&self) -> Option<&Read> {
        match &self.phase {
            Phase::Reading(read) => Some(read),
            _ => None,
        }
    }
}
