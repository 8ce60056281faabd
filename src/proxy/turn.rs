//! Sends that go out together when many messages come at once.
//!
//! A send wakes whoever waits for it, mostly on another core, and that costs a quarter of the send. A session that
//! reads and sends at once wakes a peer for one message, which has handled it and sleeps again when the next one
//! comes. So a busy thread reads from all sockets that have something first, and then sends: a peer woken by the first
//! message finds the others. A thread with little to do sends at once.
//!
//! Only where one thread serves all: among several, a session that lets others go first would be woken on another one.

use std::cell::Cell;
use std::task::Poll;

/// Messages that a thread passes on at once after it slept. What comes beyond that came faster than it was served.
const AT_ONCE: u32 = 8;

/// Of threads that do not gather.
const NEVER: u32 = u32::MAX;

thread_local! {
    /// Messages since this thread last slept.
    static MESSAGES: Cell<u32> = const { Cell::new(NEVER) };
}

/// To be called before the only thread of a runtime sleeps. From its first call on, the thread gathers.
pub fn thread_sleeps() {
    MESSAGES.set(0);
}

/// Ready at once, or, if the thread is busy, when the tasks that are ready now had their turn. Cancel safe.
pub fn to_send() -> impl Future<Output = ()> {
    let mut waits = is_busy();
    std::future::poll_fn(move |cx| {
        if !std::mem::take(&mut waits) {
            return Poll::Ready(());
        }
        // To the end of the queue; tokio's own yield would look for events first, with a system call.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Counts a message.
fn is_busy() -> bool {
    match MESSAGES.get() {
        NEVER => false,
        AT_ONCE => true,
        messages => {
            MESSAGES.set(messages + 1);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    async fn read_and_send(events: Arc<Mutex<Vec<&'static str>>>) {
        events.lock().unwrap().push("read");
        to_send().await;
        events.lock().unwrap().push("sent");
    }

    fn order_of(sessions: usize) -> Vec<&'static str> {
        let events = Arc::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> =
                (0..sessions).map(|_| tokio::spawn(read_and_send(Arc::clone(&events)))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        Arc::into_inner(events).unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_busy_thread_reads_all_before_it_sends() {
        thread_sleeps();
        let first = AT_ONCE as usize;
        let order = order_of(first + 3);
        let (at_once, gathered) = order.split_at(2 * first);
        assert!(at_once.chunks(2).all(|pair| pair == ["read", "sent"]), "{order:?}");
        assert_eq!(gathered, ["read", "read", "read", "sent", "sent", "sent"]);
        thread_sleeps();
        assert_eq!(order_of(1), ["read", "sent"]);
    }

    #[test]
    fn a_thread_beside_others_sends_at_once() {
        assert_eq!(order_of(20), ["read", "sent"].repeat(20));
    }
}
