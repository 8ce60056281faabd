//! What the threads of a run share: where toranas are, what the time is, and whether to go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

/// Shared by clients and faults.
#[derive(Debug)]
pub struct Book {
    began: Instant,
    /// Of each torana, its listeners in the order of the members.
    listeners: RwLock<Vec<Vec<String>>>,
    is_over: Mutex<bool>,
    over: Condvar,
    /// Progress.
    pub done: AtomicU64,
    /// Whether the faults are to be said as they come.
    pub is_loud: AtomicBool,
}

impl Book {
    /// Of toranas with these listeners.
    pub fn new(listeners: Vec<Vec<String>>) -> Book {
        Book {
            began: Instant::now(),
            listeners: RwLock::new(listeners),
            is_over: Mutex::new(false),
            over: Condvar::new(),
            done: AtomicU64::new(0),
            is_loud: AtomicBool::new(true),
        }
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// How many toranas there are.
    pub fn toranas(&self) -> usize {
        self.listeners.read().unwrap().len()
    }

    /// Where a torana listens for a member.
    pub fn listener(&self, torana: usize, member: usize) -> String {
        self.listeners.read().unwrap()[torana][member].clone()
    }

    /// The run is over: whoever sleeps wakes.
    pub fn end(&self) {
        *self.is_over.lock().unwrap() = true;
        self.over.notify_all();
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        *self.is_over.lock().unwrap()
    }

    /// Sleeps, or less if the run ends meanwhile.
    pub fn rest(&self, pause: Duration) {
        let is_over = self.is_over.lock().unwrap();
        drop(self.over.wait_timeout_while(is_over, pause, |is_over| !*is_over).unwrap());
    }

    /// One line of the run's story.
    pub fn say(&self, what: &str) {
        if self.is_loud.load(Ordering::Relaxed) {
            eprintln!("{:7.2} s  {what}", self.began.elapsed().as_secs_f64());
        }
    }
}

/// Ends the run when it is dropped, so that a fault that panics does not leave clients at work for ever.
#[derive(Debug)]
pub struct EndsRun<'a>(pub &'a Book);

impl Drop for EndsRun<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
