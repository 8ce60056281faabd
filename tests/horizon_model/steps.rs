//! What can happen, and what must not.

use stateright::{Model, Property};

use super::rules::Config;
use super::state::{Application, Client, DOCS, Op, Phase, Register, Setting, State, Torana};

/// One step. Numbers name clients, toranas, applications and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client's write reaches the primary.
    Write {
        client: usize,
    },
    /// One more entry reaches a majority.
    Commit,
    /// The write's reply is here.
    Reply {
        client: usize,
    },
    /// The client is told that the outcome is in doubt, or unknown.
    GiveUp {
        client: usize,
    },
    /// A read is answered as of `at`, and by the reply's own word not later than `time`.
    Ask {
        client: usize,
        at: u8,
        time: u8,
    },
    /// The client is told.
    Tell {
        client: usize,
    },
    /// A torana sends a compare-and-set.
    Set {
        torana: usize,
    },
    /// It arrives and is answered.
    Answer {
        torana: usize,
    },
    /// It is not answered in time.
    Timeout {
        torana: usize,
    },
    /// One that nobody waits for arrives.
    Stray {
        target: u8,
        version: u8,
    },
    /// A torana looks at the register through a server that is late.
    Look {
        torana: usize,
        seen: usize,
    },
    Failover,
    Crash {
        torana: usize,
    },
    Move {
        application: usize,
    },
    Loss,
}

impl Config {
    fn op(&self, state: &State, client: usize) -> Option<Op> {
        self.clients[client].1.get(state.clients[client].done).copied()
    }

    fn may_begin(&self, state: &State, client: usize) -> bool {
        let client = &state.clients[client];
        client.phase == Phase::Idle && (client.is_proven || !self.rules.proves_horizon)
    }

    /// The time that reads of this torana are sent at: everything up to it is published.
    fn floor(&self, torana: &Torana) -> u8 {
        match self.rules.reads_as_of_published {
            // What was told is published, unless a rule was taken away.
            true => torana.published.max(torana.told),
            false => torana.proven,
        }
    }

    /// What a torana has to have in the register.
    fn wanted(state: &State, torana: usize) -> u8 {
        let of = |client: &Client| match client.phase {
            Phase::Publishing { time, .. } => time,
            _ => 0,
        };
        let mine = |index: &usize| state.torana_of(*index) == torana;
        (0..state.clients.len()).filter(mine).map(|index| of(&state.clients[index])).max().unwrap_or(0)
    }

    fn tell(&self, state: &mut State, client: usize, shown: [u8; DOCS], time: u8) {
        if !self.rules.publishes_writes || !self.rules.publishes_reads {
            let torana = state.torana_of(client);
            state.toranas[torana].told = state.toranas[torana].told.max(time);
        }
        let Client { application, began_with, .. } = state.clients[client];
        if (0..DOCS).any(|doc| shown[doc] < began_with[doc]) {
            state.fault = Some("a client was shown something older than what it had been told");
        }
        let told = &mut state.applications[application].told;
        (0..DOCS).for_each(|doc| told[doc] = told[doc].max(shown[doc]));
        Config::end(state, client);
    }

    fn end(state: &mut State, client: usize) {
        let client = &mut state.clients[client];
        client.phase = Phase::Idle;
        client.done += 1;
    }

    fn arrive(&self, state: &mut State, target: u8, version: u8) -> bool {
        if self.rules.compares && state.register.version != version {
            return false;
        }
        state.past.push(state.register.clone());
        state.register = Register { time: target, version: state.register.version + 1 };
        true
    }

    fn reads(&self, state: &State, client: usize, steps: &mut Vec<Step>) {
        let torana = &state.toranas[state.torana_of(client)];
        let op = self.op(state, client);
        let own = if op == Some(Op::Join) { torana.own } else { 0 };
        let floor = self.floor(torana).max(own);
        let is_snapshot =
            op == Some(Op::Snapshot) || (op == Some(Op::Join) && !self.rules.snapshots_are_published);
        match op {
            // A member that has not reached it lets the read wait.
            Some(Op::Snapshot | Op::Join) if is_snapshot => {
                let ask = Step::Ask { client, at: floor, time: floor };
                steps.extend(Some(ask).filter(|_| floor <= state.commit));
            }
            Some(Op::Majority | Op::Join) => {
                let answers =
                    (floor..=state.commit).flat_map(|at| (at..=state.commit).map(move |time| (at, time)));
                steps.extend(answers.map(|(at, time)| Step::Ask { client, at, time }));
            }
            _ => {}
        }
    }
}

impl Model for Config {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let client = |(application, _): &(usize, Vec<Op>)| Client {
            application: *application,
            done: 0,
            phase: Phase::Idle,
            began_with: [0; DOCS],
            is_proven: false,
        };
        vec![State {
            log: Vec::new(),
            commit: 0,
            names: 0,
            register: Register::default(),
            past: Vec::new(),
            strays: Vec::new(),
            toranas: Default::default(),
            applications: self
                .homes
                .iter()
                .map(|home| Application { torana: *home, told: [0; DOCS] })
                .collect(),
            clients: self.clients.iter().map(client).collect(),
            left: self.faults,
            fault: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.fault.is_some() {
            return;
        }
        for (index, client) in state.clients.iter().enumerate() {
            match client.phase {
                Phase::Idle if self.may_begin(state, index) => match self.op(state, index) {
                    Some(Op::Put(_) | Op::Own) => steps.push(Step::Write { client: index }),
                    _ => self.reads(state, index, steps),
                },
                Phase::Idle => {}
                Phase::Written { time, name } => {
                    let lives = state.log.get(usize::from(time) - 1).is_some_and(|entry| entry.1 == name);
                    if lives && (time <= state.commit || !self.rules.waits_for_majority) {
                        steps.push(Step::Reply { client: index });
                    }
                    if !lives || state.left.doubts > 0 {
                        steps.push(Step::GiveUp { client: index });
                    }
                }
                Phase::Publishing { time, .. } => {
                    let torana = &state.toranas[state.torana_of(index)];
                    if torana.published >= time {
                        steps.push(Step::Tell { client: index });
                    }
                }
                Phase::Read { .. } => steps.push(Step::Tell { client: index }),
            }
        }
        if usize::from(state.commit) < state.log.len() {
            steps.push(Step::Commit);
            if state.left.failovers > 0 {
                steps.push(Step::Failover);
            }
        }
        for (torana, known) in state.toranas.iter().enumerate() {
            let waits = |index: &usize| state.torana_of(*index) == torana && !state.clients[*index].is_proven;
            let proves = (0..state.clients.len()).any(|index| waits(&index));
            match &known.setting {
                None if proves || Config::wanted(state, torana) > known.published => {
                    steps.push(Step::Set { torana });
                }
                None => {}
                Some(_) => {
                    steps.push(Step::Answer { torana });
                    if state.left.timeouts > 0 {
                        steps.push(Step::Timeout { torana });
                    }
                }
            }
            if proves && !self.rules.proves_by_writing {
                steps.extend((0..=state.past.len()).map(|seen| Step::Look { torana, seen }));
            }
            if state.left.crashes > 0 {
                steps.push(Step::Crash { torana });
            }
        }
        steps.extend(
            state.strays.iter().map(|(target, version)| Step::Stray { target: *target, version: *version }),
        );
        for application in 0..state.applications.len() {
            let is_idle = |client: &Client| client.application != application || client.phase == Phase::Idle;
            if state.left.moves > 0 && state.clients.iter().all(is_idle) {
                steps.push(Step::Move { application });
            }
        }
        // With a torana that knows, and no other that does not, nothing is forgotten.
        if state.left.losses > 0 && state.register.time > 0 {
            steps.push(Step::Loss);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Write { client } => {
                let doc = match self.op(&state, client) {
                    Some(Op::Put(doc)) => doc,
                    Some(Op::Own) => DOCS,
                    _ => return None,
                };
                state.names += 1;
                state.log.push((doc, state.names));
                let (time, name) = (state.log.len() as u8, state.names);
                state.clients[client].began_with = state.applications[state.clients[client].application].told;
                state.clients[client].phase = Phase::Written { time, name };
            }
            Step::Commit => state.commit += 1,
            Step::Reply { client } => {
                let Phase::Written { time, .. } = state.clients[client].phase else { return None };
                if self.op(&state, client) == Some(Op::Own) {
                    let torana = state.torana_of(client);
                    state.toranas[torana].own = state.toranas[torana].own.max(time);
                    Config::end(&mut state, client);
                    return Some(state);
                }
                let Some(Op::Put(doc)) = self.op(&state, client) else { return None };
                // Of the other documents it says nothing.
                let mut shown = state.clients[client].began_with;
                shown[doc] = time;
                state.clients[client].phase = match self.rules.publishes_writes {
                    true => Phase::Publishing { time, shown },
                    false => Phase::Read { shown },
                };
                if !self.rules.raises_after_publishing {
                    let torana = state.torana_of(client);
                    state.toranas[torana].told = state.toranas[torana].told.max(time);
                }
            }
            Step::GiveUp { client } => {
                let Phase::Written { time, name } = state.clients[client].phase else { return None };
                let lives = state.log.get(usize::from(time) - 1).is_some_and(|entry| entry.1 == name);
                if lives {
                    state.left.doubts -= 1;
                }
                match self.rules.doubt_publishes_nothing {
                    true => Config::end(&mut state, client),
                    // The client is told nothing, but the time is published.
                    false => {
                        let shown = state.clients[client].began_with;
                        state.clients[client].phase = Phase::Publishing { time, shown };
                    }
                }
            }
            Step::Ask { client, at, time } => {
                let shown = state.versions(at);
                let is_snapshot = match self.op(&state, client) {
                    Some(Op::Join) => !self.rules.snapshots_are_published,
                    op => op == Some(Op::Snapshot),
                };
                state.clients[client].began_with = state.applications[state.clients[client].application].told;
                state.clients[client].phase = match is_snapshot || !self.rules.publishes_reads {
                    true => Phase::Read { shown },
                    false => Phase::Publishing { time, shown },
                };
            }
            Step::Tell { client } => {
                let (shown, time) = match state.clients[client].phase {
                    Phase::Publishing { time, shown } => (shown, time),
                    Phase::Read { shown } => (shown, shown.into_iter().max().unwrap_or(0)),
                    _ => return None,
                };
                self.tell(&mut state, client, shown, time);
            }
            Step::Set { torana } => {
                let wanted = Config::wanted(&state, torana);
                let known = &state.toranas[torana];
                let target = if self.rules.targets_all_known { wanted.max(known.published) } else { wanted };
                let mut proves = 0;
                for index in 0..state.clients.len() {
                    let waits = state.torana_of(index) == torana && !state.clients[index].is_proven;
                    proves |= u8::from(waits) << index;
                }
                let version = known.version;
                state.toranas[torana].setting = Some(Setting { target, version, proves });
            }
            Step::Answer { torana } => {
                let Setting { target, version, proves } = state.toranas[torana].setting.take()?;
                let done = self.arrive(&mut state, target, version);
                let register = state.register.clone();
                let known = &mut state.toranas[torana];
                known.version = register.version;
                if done {
                    known.published = known.published.max(target);
                    if !self.rules.reads_as_of_published {
                        known.proven = known.proven.max(target);
                    }
                    for index in 0..state.clients.len() {
                        state.clients[index].is_proven |= proves & 1 << index != 0;
                    }
                } else {
                    // What it looked at is published, but proves nothing.
                    known.published = known.published.max(register.time);
                }
            }
            Step::Timeout { torana } => {
                let Setting { target, version, .. } = state.toranas[torana].setting.take()?;
                state.left.timeouts -= 1;
                state.strays.push((target, version));
                state.toranas[torana].version = state.register.version;
                state.toranas[torana].published = state.toranas[torana].published.max(state.register.time);
            }
            Step::Stray { target, version } => {
                state.strays.retain(|stray| *stray != (target, version));
                self.arrive(&mut state, target, version);
            }
            Step::Look { torana, seen } => {
                let time = state.past.get(seen).unwrap_or(&state.register).time;
                state.toranas[torana].proven = state.toranas[torana].proven.max(time);
                for index in 0..state.clients.len() {
                    state.clients[index].is_proven |= state.torana_of(index) == torana;
                }
            }
            Step::Failover => {
                state.left.failovers -= 1;
                state.log.truncate(usize::from(state.commit));
            }
            Step::Crash { torana } => {
                state.left.crashes -= 1;
                if let Some(Setting { target, version, .. }) = state.toranas[torana].setting.take() {
                    state.strays.push((target, version));
                }
                // It knows no version: its first set fails, and shows it what stands there.
                state.toranas[torana] = Torana { version: u8::MAX, ..Torana::default() };
                for index in 0..state.clients.len() {
                    if state.torana_of(index) == torana {
                        state.clients[index].is_proven = false;
                        if state.clients[index].phase != Phase::Idle {
                            Config::end(&mut state, index);
                        }
                    }
                }
            }
            Step::Move { application } => {
                state.left.moves -= 1;
                state.applications[application].torana = 1 - state.applications[application].torana;
                for index in 0..state.clients.len() {
                    if state.clients[index].application == application {
                        // Its connections are new ones: what is on its way proves nothing to them.
                        state.clients[index].is_proven = false;
                        let settings = state.toranas.iter_mut().filter_map(|torana| torana.setting.as_mut());
                        settings.for_each(|setting| setting.proves &= !(1 << index));
                    }
                }
            }
            Step::Loss => {
                state.left.losses -= 1;
                // Its node is another one: sets that were meant for the old one fail.
                state.register = Register { time: 0, version: state.register.version + 1 };
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(super::run::TOLD, |_, state: &State| state.fault.is_none()),
            Property::always(super::run::COMMITTED, |_, state: &State| state.register.time <= state.commit),
            Property::always(super::run::COVERED, |_, state: &State| {
                let known = state.toranas.iter().map(|torana| torana.published).max().unwrap_or(0);
                let told = state.applications.iter().flat_map(|known| known.told).max().unwrap_or(0);
                told <= known.max(state.register.time)
            }),
        ]
    }
}
