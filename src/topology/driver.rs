//! The task that owns the set's state: takes the monitors' reports in order, stores hello copies, carries out what
//! the state asks for, and sends events.
//!
//! It waits for nobody but its inputs: events wait in a queue of its own while the receiver is slow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::address::HostPort;
use super::dial::Dial;
use super::event::TopologyEvent;
use super::hello_copy::HelloCopy;
use super::member::Member;
use super::monitor::{HelloReport, Monitor, MonitorOptions, Report};
use super::probe_error::ProbeError;
use super::set_state::{Action, SetState};
use super::shared::Shared;

/// Weight of the newest round trip in the smoothed one (server selection specification).
const ROUND_TRIP_ALPHA: f64 = 0.2;
/// Pause between two warnings about one server that stays away.
const WARN_PAUSE: Duration = Duration::from_secs(30);
/// Events that wait for a receiver that does not read. A set changes a few times a second at worst.
const WAITING_MAX: usize = 4096;
/// Next timeout of a state that has none.
const FAR: Duration = Duration::from_secs(3600);

/// The driver of one topology.
#[derive(Debug)]
pub(super) struct Driver<D> {
    dial: Arc<D>,
    state: SetState,
    servers: Vec<Monitored>,
    next_id: u64,
    options: Arc<MonitorOptions>,
    shared: Arc<Shared>,
    reports: mpsc::Receiver<(u64, Report)>,
    reports_in: mpsc::Sender<(u64, Report)>,
    events: mpsc::Sender<TopologyEvent>,
    waiting: VecDeque<TopologyEvent>,
}

/// A server with its monitor, which ends with this.
#[derive(Debug)]
struct Monitored {
    id: u64,
    member: Arc<Member>,
    task: JoinHandle<()>,
    round_trip: Option<Duration>,
    warned: Option<(Instant, String)>,
}

impl Drop for Monitored {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<D: Dial> Driver<D> {
    pub(super) fn new(
        state: SetState,
        dial: D,
        options: Arc<MonitorOptions>,
        shared: Arc<Shared>,
        events: mpsc::Sender<TopologyEvent>,
    ) -> Driver<D> {
        let (reports_in, reports) = mpsc::channel(64);
        let (servers, waiting) = (Vec::new(), VecDeque::new());
        let dial = Arc::new(dial);
        Driver { dial, state, servers, next_id: 0, options, shared, reports, reports_in, events, waiting }
    }

    /// Runs until it is dropped, and its monitors with it.
    pub(super) async fn run(mut self, first: Vec<Action>) {
        self.carry_out(first);
        let events = self.events.clone();
        loop {
            let now = Instant::now();
            let timeout = self.state.next_timeout(now).unwrap_or(now + FAR);
            tokio::select! {
                biased; // one seed, one course of events. The first branch ends with the queue, so none starves.
                permit = events.reserve(), if !self.waiting.is_empty() => match permit {
                    Ok(permit) => if let Some(event) = self.waiting.pop_front() { permit.send(event) },
                    Err(_) => self.waiting.clear(),
                },
                report = self.reports.recv() => {
                    let Some((id, report)) = report else { return };
                    self.on_report(id, report);
                }
                () = sleep_until(timeout) => {
                    let actions = self.state.on_time(Instant::now());
                    self.carry_out(actions);
                }
            }
        }
    }

    fn on_report(&mut self, id: u64, report: Report) {
        // A stopped monitor may have left reports in the channel.
        let Some(index) = self.servers.iter().position(|server| server.id == id) else { return };
        match report {
            Report::Hello(hello) => self.on_hello(index, *hello),
            Report::Doubtful => {
                if let Some(server) = self.servers.get(index) {
                    server.member.hello.note_failure();
                }
            }
            Report::Lost(error) => self.on_lost(index, &error),
            Report::Config(answer) => {
                let Some(server) = self.servers.get(index) else { return };
                let actions = self.state.on_config(&server.member.name, answer, Instant::now());
                self.carry_out(actions);
            }
        }
    }

    fn on_hello(&mut self, index: usize, hello: HelloReport) {
        let Some(server) = self.servers.get_mut(index) else { return };
        let member = server.member.clone();
        let HelloReport { document, description, legacy, received, asked } = hello;
        let round_trip = server.smooth(asked.map(|asked| received.saturating_duration_since(asked)));
        let copy = HelloCopy { document, description, legacy, asked, received, round_trip };
        if member.hello.latest().is_some_and(|old| !copy.may_replace(&old)) {
            return;
        }
        let actions = self.state.on_hello(&member.name, &copy.description, received);
        if self.state.is_up(&member.name) {
            member.saw_operation_time(copy.description.operation_time);
            member.hello.store(copy);
            self.recovered(index);
        } else {
            member.hello.lose();
            self.warn(index, self.state.error(&member.name).unwrap_or_default().to_owned());
        }
        self.carry_out(actions);
    }

    fn on_lost(&mut self, index: usize, error: &ProbeError) {
        let Some(server) = self.servers.get_mut(index) else { return };
        server.round_trip = None;
        let member = server.member.clone();
        member.monitor_failed();
        member.hello.lose();
        let actions = self.state.on_lost(&member.name, error.into(), Instant::now());
        self.warn(index, error.to_string());
        self.carry_out(actions);
    }

    /// Monitors first, then what others can see, then the events that tell of it.
    fn carry_out(&mut self, actions: Vec<Action>) {
        let gone = self.change_monitors(&actions);
        for server in &self.servers {
            server.member.set_kind(self.state.kind(&server.member.name));
        }
        let configured = self.state.members().iter();
        let members: Vec<Arc<Member>> = configured
            .filter_map(|member| {
                let found = self.find(&member.address)?;
                found.set_config_id(member.id);
                Some(found.clone())
            })
            .collect();
        self.shared.publish(members, &self.state);
        for action in actions {
            self.notify(action, &gone);
        }
    }

    fn change_monitors(&mut self, actions: &[Action]) -> Vec<Arc<Member>> {
        let mut gone = Vec::new();
        for action in actions {
            match action {
                Action::Start(address) => self.start(address.clone()),
                Action::Stop(address) => self.servers.retain(|server| {
                    let stop = server.member.name == *address;
                    if stop {
                        server.member.hello.lose();
                        gone.push(server.member.clone());
                    }
                    !stop
                }),
                _ => {}
            }
        }
        gone
    }

    fn start(&mut self, address: HostPort) {
        self.next_id += 1;
        let id = self.next_id;
        let member = Arc::new(Member::new(address.clone(), self.options.connect_timeout));
        let requests = member.requests().clone();
        let (dial, options, reports) = (self.dial.clone(), self.options.clone(), self.reports_in.clone());
        let monitor = Monitor { dial, address, id, options, requests, reports };
        let task = tokio::spawn(monitor.run());
        self.servers.push(Monitored { id, member, task, round_trip: None, warned: None });
    }

    fn notify(&mut self, action: Action, gone: &[Arc<Member>]) {
        let member = |address: &HostPort| {
            self.find(address).or_else(|| gone.iter().find(|member| member.name == *address)).cloned()
        };
        let event = match action {
            Action::Start(_) | Action::Stop(_) => None,
            Action::AskConfig(address) => return self.request(&address, |member| member.requests().config()),
            Action::Check(address) => return self.request(&address, |member| member.request_check()),
            Action::Added(address) => member(&address).map(TopologyEvent::MemberAdded),
            Action::Removed(address) => member(&address).map(TopologyEvent::MemberRemoved),
            Action::Lost(address, loss) => {
                member(&address).map(|member| TopologyEvent::MemberLost { member, loss })
            }
            Action::Recovered(address) => member(&address).map(TopologyEvent::MemberRecovered),
            Action::Restarted(address) => member(&address).map(TopologyEvent::ServerRestarted),
            Action::PrimaryChanged(change) => Some(TopologyEvent::PrimaryChanged(change)),
        };
        if let Some(event) = event {
            tracing::debug!(?event, "topology");
            if self.waiting.len() == WAITING_MAX {
                tracing::error!("nobody takes topology events: the oldest is dropped");
                self.waiting.pop_front();
            }
            self.waiting.push_back(event);
        }
    }

    fn request(&self, address: &HostPort, ask: impl Fn(&Member)) {
        if let Some(member) = self.find(address) {
            ask(member);
        }
    }

    fn find(&self, address: &HostPort) -> Option<&Arc<Member>> {
        self.servers.iter().map(|server| &server.member).find(|member| member.name == *address)
    }

    fn recovered(&mut self, index: usize) {
        if let Some(server) = self.servers.get_mut(index)
            && server.warned.take().is_some()
        {
            tracing::info!(member = %server.member.name, "answers again");
        }
    }

    /// Warns when a cause is new, and again after a while.
    fn warn(&mut self, index: usize, cause: String) {
        let Some(server) = self.servers.get_mut(index) else { return };
        let quiet = |(at, text): &(Instant, String)| *text == cause && at.elapsed() < WARN_PAUSE;
        if !server.warned.as_ref().is_some_and(quiet) {
            tracing::warn!(member = %server.member.name, "{}: {cause}", server.member.name);
            server.warned = Some((Instant::now(), cause));
        }
    }
}

impl Monitored {
    fn smooth(&mut self, sample: Option<Duration>) -> Duration {
        if let Some(sample) = sample {
            let smoothed = self
                .round_trip
                .map(|old| old.mul_f64(1.0 - ROUND_TRIP_ALPHA) + sample.mul_f64(ROUND_TRIP_ALPHA));
            self.round_trip = Some(smoothed.unwrap_or(sample));
        }
        self.round_trip.unwrap_or_default()
    }
}
