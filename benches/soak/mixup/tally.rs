//! What has happened so far, counted by all threads, and the word to stop.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything that is counted.
        #[derive(Debug, Default)]
        pub struct Tally {
            $($(#[$doc])* pub $name: Count,)*
            stopped: AtomicBool,
            found: Mutex<Vec<String>>,
            arrived: Mutex<HashSet<i64>>,
        }

        impl Tally {
            /// All counts by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counts! {
    /// Requests sent, or begun to be sent.
    operations,
    /// Those whose reply was checked.
    checked,
    /// Those that the client left: in mid-request, before the reply, in mid-reply.
    cut,
    /// Of these, the ones that the client left when the server had them and had not answered.
    cut_on_server,
    /// Requests that were written ahead of a reply.
    pipelined,
    /// Batches that came unasked.
    exhaust_batches,
    /// Writes without a reply.
    unacknowledged,
    /// Requests with a checksum, all under one number.
    checksummed,
    /// Errors in place of an answer.
    refused,
    /// Connections that torana closed.
    closed,
    /// Replies that did not come within the client's patience.
    timed_out,
    /// Replies that the server side repeated ahead of the right one.
    late_before,
    /// Replies that it repeated when nobody waited for one.
    late_after,
    /// Replies that it held back for longer than torana waits.
    held_back,
    /// Replies that it wrote in two pieces or after a short while.
    delayed,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    /// Something reached somebody that was not meant to. Ends the hunt.
    pub fn found(&self, what: String) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        self.stop();
    }

    /// The first thing found, if any.
    pub fn first_found(&self) -> Option<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }

    /// A request that its client waits to see arrive is with the server.
    pub fn arrived(&self, nonce: i64) {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).insert(nonce);
    }

    /// Whether it is; forgets it.
    pub fn take_arrived(&self, nonce: i64) -> bool {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).remove(&nonce)
    }

    /// Asks all threads to end.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether they should.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}
