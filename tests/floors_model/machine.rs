//! State and steps, as stateright wants them.

use stateright::{Model, Property};

use super::check::{self, Fault};
use super::client::{Client, Op, Phase};
use super::config::{Budget, Config};
use super::garbage::Folded;
use super::mongo::{Log, Token};
use super::torana::Torana;
use super::zookeeper::{Ensemble, Registers};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub log: Log,
    pub zookeeper: Ensemble,
    pub toranas: [Torana; 2],
    /// The next epoch that ZooKeeper gives out.
    pub next_epoch: u8,
    pub clients: Vec<Client>,
    /// Floors folded into `base`, to be deleted.
    pub folded: Vec<Folded>,
    pub left: Budget,
    /// The checker's: publishes made by readers, each with the cycles of garbage collection left at the time.
    pub helped: Vec<(usize, Token, u8)>,
    /// The first promise broken, if any.
    pub fault: Option<Fault>,
}

/// One step. Numbers name clients, documents, toranas, times and states of ZooKeeper's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One more entry reaches a majority.
    Commit,
    /// A new primary, whose log ends at `keep`.
    Failover {
        keep: u8,
    },
    /// A client's write reaches the primary. `shows` is the version that a replay answers with, 0 otherwise.
    Begin {
        client: usize,
        op: Op,
        shows: u8,
    },
    /// The reply is there, its time `time`: publish, acknowledge.
    Acknowledge {
        client: usize,
        time: u8,
    },
    /// The reply is there: read the znode for the compare-and-set.
    ReadZnode {
        client: usize,
    },
    /// The conditional set arrives.
    SetZnode {
        client: usize,
        time: u8,
    },
    /// The client is told that the outcome is unknown, or that its transaction was aborted.
    GiveUp {
        client: usize,
    },
    /// A client's read is answered by a member, and by ZooKeeper unless that is late.
    Ask {
        client: usize,
        op: Op,
        view: Option<u8>,
        snapshot: u8,
        operation_time: u8,
    },
    /// ZooKeeper's late answer.
    Registers {
        client: usize,
        view: u8,
    },
    /// The read did not pass: once more at a larger floor.
    AskAgain {
        client: usize,
        snapshot: u8,
        operation_time: u8,
    },
    /// The read passed: help, then return.
    Return {
        client: usize,
    },
    /// A snapshot is opened for a transaction.
    Open {
        client: usize,
        op: Op,
        view: u8,
        snapshot: u8,
    },
    Move {
        client: usize,
    },
    Crash {
        torana: usize,
    },
    /// Another server takes over the session, and may be behind.
    Reconnect {
        torana: usize,
    },
    /// Garbage: a document's floor goes into `base`.
    Fold {
        doc: usize,
    },
    /// Garbage: its znode goes.
    Delete {
        folded: usize,
    },
}

impl Config {
    pub fn role_allows(&self, state: &State, client: usize) -> &'static [Op] {
        match state.clients[client] {
            Client { left: 0, .. } => &[],
            Client { phase: Phase::Idle, .. } => self.clients[client].ops,
            _ => &[],
        }
    }
}

impl State {
    fn first(config: &Config) -> State {
        let client = |role: &super::config::Role| Client {
            home: role.home,
            unproven: true,
            left: role.count,
            ..Client::default()
        };
        State {
            log: Log { existed: config.existed, ..Log::default() },
            zookeeper: Ensemble { history: vec![Registers::default()] },
            toranas: [Torana::new(0), Torana::new(1)],
            next_epoch: 2,
            clients: config.clients.iter().map(client).collect(),
            folded: Vec::new(),
            helped: Vec::new(),
            left: config.budget,
            fault: None,
        }
    }

    /// Forgets what no session can read any more, so that states that differ in nothing else become one.
    fn forget(&mut self, config: &Config) {
        if !config.lagging {
            for torana in &mut self.toranas {
                torana.view = self.zookeeper.newest();
            }
        }
        let oldest = self.toranas.iter().map(|torana| torana.view).min().unwrap_or(0);
        self.zookeeper.history.drain(..oldest as usize);
        for torana in &mut self.toranas {
            torana.view -= oldest;
        }
    }
}

impl Model for Config {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.fault.is_some() {
            return;
        }
        self.fault_actions(state, actions);
        self.garbage_actions(state, actions);
        for client in 0..state.clients.len() {
            self.write_actions(state, client, actions);
            self.read_actions(state, client, actions);
            self.transaction_actions(state, client, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Commit => state.log.commit += 1,
            Action::Failover { keep } => self.fail_over(&mut state, keep),
            Action::Begin { client, op, shows } => self.begin_write(&mut state, client, op, shows),
            Action::Acknowledge { client, time } => self.acknowledge(&mut state, client, time),
            Action::ReadZnode { client } => self.read_znode(&mut state, client),
            Action::SetZnode { client, time } => self.set_znode(&mut state, client, time),
            Action::GiveUp { client } => self.give_up(&mut state, client),
            Action::Ask { client, op, view, snapshot, operation_time } => {
                self.ask(&mut state, client, op, view, snapshot, operation_time);
            }
            Action::Registers { client, view } => self.registers(&mut state, client, view),
            Action::AskAgain { client, snapshot, operation_time } => {
                self.ask_again(&mut state, client, snapshot, operation_time);
            }
            Action::Return { client } => self.return_read(&mut state, client),
            Action::Open { client, op, view, snapshot } => self.open(&mut state, client, op, view, snapshot),
            Action::Move { client } => self.move_client(&mut state, client),
            Action::Crash { torana } => self.crash(&mut state, torana),
            Action::Reconnect { torana } => self.reconnect(&mut state, torana),
            Action::Fold { doc } => self.fold(&mut state, doc),
            Action::Delete { folded } => self.delete(&mut state, folded),
        }
        state.forget(self);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        check::properties()
    }
}
