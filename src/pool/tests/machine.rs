//! Random courses of events, each compared with the model after every step: who is served by which connection, who
//! waits, who was refused, how many connects are under way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::fake::settle;
use super::model::{Caller, Fate, MAX, Model, QUEUE_MAX};
use crate::pool::{
    Checkout, CheckoutError, Class, Connect, ConnectError, Connection, NoEvents, Pool, PoolOptions,
};

const HOUR: Duration = Duration::from_secs(3600);
/// Backoffs last between half of this and all of it; the reaper comes before.
const BACKOFF: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum Event {
    CheckOut(Class),
    Finish { caller: Caller, broken: bool },
    Drop(Caller),
    Cancel(Caller),
    BreakIdle(usize),
    Clear,
    Pause,
    Resume,
    EndConnect { works: bool },
    PassTime,
}

struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Model;
    type Transition = Event;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::new()).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Event> {
        let class = prop_oneof![3 => Just(Class::Ordinary), 1 => Just(Class::Relief)];
        let mut events = vec![
            (10, class.prop_map(Event::CheckOut).boxed()),
            (1, Just(Event::Clear).boxed()),
            (1, Just(Event::Pause).boxed()),
            (1, Just(Event::Resume).boxed()),
            (1, Just(Event::PassTime).boxed()),
        ];
        let out: Vec<_> = model.out.keys().copied().collect();
        if !out.is_empty() {
            let finish = (select(out.clone()), proptest::bool::weighted(0.1));
            events.push((8, finish.prop_map(|(caller, broken)| Event::Finish { caller, broken }).boxed()));
            events.push((2, select(out).prop_map(Event::Drop).boxed()));
        }
        if !model.waiting().is_empty() {
            events.push((2, select(model.waiting()).prop_map(Event::Cancel).boxed()));
        }
        if !model.idle.is_empty() {
            let ids: Vec<_> = model.idle.iter().map(|conn| conn.id).collect();
            events.push((1, select(ids).prop_map(Event::BreakIdle).boxed()));
        }
        if !model.connecting.is_empty() {
            let works = proptest::bool::weighted(0.8);
            events.push((8, works.prop_map(|works| Event::EndConnect { works }).boxed()));
        }
        proptest::strategy::Union::new_weighted(events).boxed()
    }

    fn preconditions(model: &Model, event: &Event) -> bool {
        match event {
            Event::Finish { caller, .. } | Event::Drop(caller) => model.out.contains_key(caller),
            Event::Cancel(caller) => model.waiting().contains(caller),
            Event::BreakIdle(id) => model.idle.iter().any(|conn| conn.id == *id),
            Event::EndConnect { .. } => !model.connecting.is_empty(),
            _ => true,
        }
    }

    fn apply(mut model: Model, event: &Event) -> Model {
        match *event {
            Event::CheckOut(class) => model.check_out(class),
            Event::Finish { caller, broken } => model.finish(caller, broken),
            Event::Drop(caller) => model.drop_checkout(caller),
            Event::Cancel(caller) => model.cancel(caller),
            Event::BreakIdle(id) => model.break_idle(id),
            Event::Clear => model.clear(),
            Event::Pause => model.pause(),
            Event::Resume => model.resume(),
            Event::EndConnect { works } => model.end_connect(works),
            Event::PassTime => model.pass_time(),
        }
        model
    }
}

/// A member whose connects end when the test says so.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<GateState>>);

#[derive(Default)]
struct GateState {
    attempts: usize,
    under_way: VecDeque<oneshot::Sender<bool>>,
    broken: BTreeMap<usize, Arc<AtomicBool>>,
}

struct GatedConnection {
    id: usize,
    broken: Arc<AtomicBool>,
    gate: Gate,
}

impl Connect for Gate {
    type Connection = GatedConnection;

    async fn connect(&self) -> Result<GatedConnection, ConnectError> {
        let (end, ended) = oneshot::channel();
        let id = {
            let mut state = self.0.lock().unwrap();
            state.under_way.push_back(end);
            state.attempts += 1;
            state.attempts - 1
        };
        if !ended.await.unwrap_or(false) {
            return Err(ConnectError::new("connection refused"));
        }
        let broken = Arc::new(AtomicBool::new(false));
        self.0.lock().unwrap().broken.insert(id, broken.clone());
        Ok(GatedConnection { id, broken, gate: self.clone() })
    }
}

impl Connection for GatedConnection {
    fn is_broken(&mut self, _idle: Duration) -> bool {
        self.broken.load(SeqCst)
    }
}

impl Drop for GatedConnection {
    fn drop(&mut self) {
        self.gate.0.lock().unwrap().broken.remove(&self.id);
    }
}

type Slot = Arc<Mutex<Option<Result<Checkout<Gate>, CheckoutError>>>>;

struct Real {
    runtime: Runtime,
    pool: Pool<Gate>,
    gate: Gate,
    callers: Vec<(Slot, JoinHandle<()>)>,
}

impl Real {
    fn check_out(&mut self, class: Class) {
        let (pool, slot) = (self.pool.clone(), Slot::default());
        let filled = slot.clone();
        let task = self.runtime.spawn(async move {
            let outcome = pool.check_out(class, None).await;
            *filled.lock().unwrap() = Some(outcome);
        });
        self.callers.push((slot, task));
    }

    fn take(&self, caller: Caller) -> Checkout<Gate> {
        self.callers[caller].0.lock().unwrap().take().unwrap().unwrap()
    }

    fn finish(&self, caller: Caller, broken: bool) {
        let checkout = self.take(caller);
        checkout.broken.store(broken, SeqCst);
        checkout.finish();
    }

    fn end_connect(&self, works: bool) {
        let end = {
            let mut state = self.gate.0.lock().unwrap();
            state.under_way.retain(|end| !end.is_closed());
            state.under_way.pop_front().unwrap()
        };
        end.send(works).unwrap();
    }

    fn fate(&self, caller: Caller) -> Fate {
        let (slot, task) = &self.callers[caller];
        match &*slot.lock().unwrap() {
            Some(Ok(checkout)) => {
                assert!(!checkout.broken.load(SeqCst));
                Fate::Holds(checkout.id)
            }
            Some(Err(CheckoutError::Unavailable { .. })) => Fate::Unavailable,
            Some(Err(CheckoutError::QueueFull { .. })) => Fate::QueueFull,
            Some(Err(error)) => panic!("{error}"),
            None if task.is_finished() => Fate::Gone,
            None => Fate::Waits,
        }
    }
}

impl StateMachineTest for Real {
    type SystemUnderTest = Real;
    type Reference = Reference;

    fn init_test(_: &Model) -> Real {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let gate = Gate::default();
        let options = PoolOptions {
            max: MAX,
            queue_max: QUEUE_MAX,
            wait_timeout: HOUR,
            connect_timeout: HOUR,
            backoff_min: BACKOFF,
            backoff_max: BACKOFF,
            idle_timeout: None,
            lifetime: None,
            ..PoolOptions::default()
        };
        let pool = runtime.block_on(async { Pool::new(options, gate.clone(), Arc::new(NoEvents)).unwrap() });
        Real { runtime, pool, gate, callers: Vec::new() }
    }

    fn apply(mut real: Real, _: &Model, event: Event) -> Real {
        match event {
            Event::CheckOut(class) => real.check_out(class),
            Event::Finish { caller, broken } => real.finish(caller, broken),
            Event::Drop(caller) => drop(real.take(caller)),
            Event::Cancel(caller) => real.callers[caller].1.abort(),
            Event::BreakIdle(id) => real.gate.0.lock().unwrap().broken[&id].store(true, SeqCst),
            Event::Clear => real.pool.clear("test"),
            Event::Pause => real.pool.pause("test"),
            Event::Resume => real.pool.resume(),
            Event::EndConnect { works } => real.end_connect(works),
            Event::PassTime => {
                real.runtime.block_on(async { tokio::time::sleep(BACKOFF + BACKOFF / 10).await })
            }
        }
        real.runtime.block_on(settle());
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        let fates: Vec<_> = (0..real.callers.len()).map(|caller| real.fate(caller)).collect();
        assert_eq!(fates, model.fates);
        let status = real.pool.status();
        let expected = (model.size(), model.idle.len(), model.out.len());
        assert_eq!((status.size, status.idle, status.out), expected);
        let expected = (model.connecting.len(), model.waiting().len(), model.generation);
        assert_eq!((status.connecting, status.waiting, real.pool.generation()), expected);
        assert_eq!(real.gate.0.lock().unwrap().broken.len(), model.size(), "connections open and counted");
        assert!(model.size() + model.connecting.len() <= MAX);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_pool_does_what_the_model_does(sequential 1..120 => Real);
}
