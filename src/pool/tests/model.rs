//! The pool as it should be, in fifty lines of rules: who waits, who holds what, which connects are under way.

use std::collections::{BTreeMap, VecDeque};

use crate::pool::Class;

pub(super) const MAX: usize = 4;
pub(super) const RESERVE: usize = 1;
pub(super) const QUEUE_MAX: usize = 6;
const CONNECTING_MAX: usize = 2;

/// Those who hold something find as much room again.
fn queue_max(class: Class) -> usize {
    if class == Class::Relief { 2 * QUEUE_MAX } else { QUEUE_MAX }
}

/// One who asked for a connection.
pub(super) type Caller = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conn {
    pub id: usize,
    pub generation: u64,
    pub broken: bool,
}

/// What has become of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Waits,
    Holds(usize),
    Unavailable,
    QueueFull,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Open,
    Failing,
    Paused,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub fates: Vec<Fate>,
    classes: Vec<Class>,
    pub out: BTreeMap<Caller, Conn>,
    /// The last is the first to go out.
    pub idle: Vec<Conn>,
    for_place: VecDeque<Caller>,
    for_connection: VecDeque<Caller>,
    places: usize,
    pub connecting: VecDeque<usize>,
    attempts: usize,
    pub generation: u64,
    backoff: bool,
    member: Member,
}

impl Model {
    pub(super) fn new() -> Self {
        Model {
            fates: Vec::new(),
            classes: Vec::new(),
            out: BTreeMap::new(),
            idle: Vec::new(),
            for_place: VecDeque::new(),
            for_connection: VecDeque::new(),
            places: MAX - RESERVE,
            connecting: VecDeque::new(),
            attempts: 0,
            generation: 0,
            backoff: false,
            member: Member::Open,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.idle.len() + self.out.len()
    }

    pub(super) fn waiting(&self) -> Vec<Caller> {
        self.for_place.iter().chain(&self.for_connection).copied().collect()
    }

    pub(super) fn check_out(&mut self, class: Class) {
        let caller = self.fates.len();
        self.classes.push(class);
        self.fates.push(Fate::Waits);
        if (class == Class::Relief || self.places > 0)
            && let Some(conn) = self.pop_usable()
        {
            self.places -= usize::from(class == Class::Ordinary);
            self.hold(caller, conn);
        } else if self.member != Member::Open {
            self.fates[caller] = Fate::Unavailable;
        } else if self.waiting().len() >= queue_max(class) {
            self.fates[caller] = Fate::QueueFull;
        } else if class == Class::Relief {
            self.want_connection(caller);
        } else {
            self.for_place.push_back(caller);
            self.give_places();
        }
        self.connect();
    }

    pub(super) fn finish(&mut self, caller: Caller, broken: bool) {
        let conn = self.let_go(caller);
        if conn.generation == self.generation {
            self.give(Conn { broken, ..conn });
        }
        self.leave_place(caller);
        self.connect();
    }

    pub(super) fn drop_checkout(&mut self, caller: Caller) {
        self.let_go(caller);
        self.leave_place(caller);
        self.connect();
    }

    pub(super) fn cancel(&mut self, caller: Caller) {
        self.fates[caller] = Fate::Gone;
        self.for_place.retain(|waiting| *waiting != caller);
        if self.for_connection.contains(&caller) {
            self.for_connection.retain(|waiting| *waiting != caller);
            self.leave_place(caller);
        }
        self.connect();
    }

    pub(super) fn break_idle(&mut self, id: usize) {
        self.idle.iter_mut().filter(|conn| conn.id == id).for_each(|conn| conn.broken = true);
    }

    pub(super) fn clear(&mut self) {
        self.generation += 1;
        self.idle.clear();
        self.connecting.clear();
        self.backoff |= self.member == Member::Paused;
        self.connect();
    }

    pub(super) fn pause(&mut self) {
        self.member = Member::Paused;
        self.fail_waiters();
        self.clear();
    }

    pub(super) fn resume(&mut self) {
        self.member = Member::Open;
        self.backoff = false;
        self.connect();
    }

    pub(super) fn end_connect(&mut self, works: bool) {
        let id = self.connecting.pop_front().unwrap();
        self.backoff = !works;
        if works {
            self.member = Member::Open;
            self.give(Conn { id, generation: self.generation, broken: false });
        }
        self.connect();
    }

    /// Long enough for the reaper and then for the end of a backoff.
    pub(super) fn pass_time(&mut self) {
        self.idle.retain(|conn| !conn.broken);
        self.connect();
        self.backoff = false;
        if self.member == Member::Failing {
            self.member = Member::Open;
        }
        self.connect();
    }

    fn live(&self) -> usize {
        let conns = self.idle.iter().chain(self.out.values());
        conns.filter(|conn| conn.generation == self.generation).count()
    }

    fn pop_usable(&mut self) -> Option<Conn> {
        while let Some(conn) = self.idle.pop() {
            if !conn.broken {
                return Some(conn);
            }
        }
        None
    }

    fn hold(&mut self, caller: Caller, conn: Conn) {
        self.fates[caller] = Fate::Holds(conn.id);
        self.out.insert(caller, conn);
    }

    fn let_go(&mut self, caller: Caller) -> Conn {
        self.fates[caller] = Fate::Gone;
        self.out.remove(&caller).unwrap()
    }

    fn give(&mut self, conn: Conn) {
        match self.for_connection.pop_front() {
            Some(caller) if conn.broken => self.for_connection.push_back(caller),
            Some(caller) => self.hold(caller, conn),
            None => self.idle.push(conn),
        }
    }

    fn want_connection(&mut self, caller: Caller) {
        match self.pop_usable() {
            Some(conn) => self.hold(caller, conn),
            None => self.for_connection.push_back(caller),
        }
    }

    fn leave_place(&mut self, caller: Caller) {
        self.places += usize::from(self.classes[caller] == Class::Ordinary);
        self.give_places();
    }

    fn give_places(&mut self) {
        while self.places > 0
            && let Some(caller) = self.for_place.pop_front()
        {
            self.places -= 1;
            self.want_connection(caller);
        }
    }

    fn fail_waiters(&mut self) {
        for caller in self.for_connection.drain(..) {
            self.fates[caller] = Fate::Unavailable;
            self.places += usize::from(self.classes[caller] == Class::Ordinary);
        }
        for caller in self.for_place.drain(..) {
            self.fates[caller] = Fate::Unavailable;
        }
    }

    fn connect(&mut self) {
        if self.member == Member::Open && self.backoff && self.connecting.is_empty() && self.live() == 0 {
            self.member = Member::Failing;
            self.fail_waiters();
        }
        let wanted = match self.member {
            _ if self.backoff => 0,
            Member::Paused => usize::from(self.connecting.is_empty()),
            _ => self.for_connection.len().saturating_sub(self.connecting.len()),
        };
        let room = MAX.saturating_sub(self.size() + self.connecting.len());
        for _ in 0..wanted.min(room).min(CONNECTING_MAX - self.connecting.len()) {
            self.connecting.push_back(self.attempts);
            self.attempts += 1;
        }
    }
}
