//! The wait queue: first come first served, for a place and then for a connection, in finite time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::sync::{AcquireError, SemaphorePermit};
use tokio::time::{Instant, Sleep};

use super::permits::Counted;
use super::shared::Shared;
use super::{AwaitingPermit, Checkout, CheckoutError, Class, Connect};

/// An idle connection at once, else waits for one, without allocating.
///
/// A connection that proves unusable when it is picked up is closed, and its waiter queues again, behind the others:
/// it was cleared or broke within the moment since its check-in, so this is rare.
///
/// Cancel safe: a dropped waiter leaves the queue, and what was meant for it goes to the next.
///
/// One flat function, since each further `async fn` would keep a second copy of its arguments in every waiting
/// session.
pub(super) async fn check_out<C: Connect>(
    shared: &Arc<Shared<C>>,
    class: Class,
    awaiting: Option<AwaitingPermit<C>>,
    deadline: Option<Instant>,
) -> Result<Checkout<C>, CheckoutError> {
    if let Some(object) = shared.take_idle(class, Instant::now()) {
        return Ok(Checkout::begin(shared, object, class, awaiting, Duration::ZERO));
    }
    let _queued = Counted::new(&shared.waiting);
    let verdict = pin!(shared.verdict.notified());
    let (started, expiry) = shared.time_to_wait(deadline);
    let mut patience = Patience { shared, started, verdict, expiry: pin!(expiry) };
    shared.admit(class)?;
    let permit = match class {
        Class::Ordinary => {
            let _waits = shared.ordinary.wait();
            let mut acquire = pin!(shared.ordinary.acquire());
            Some(poll_fn(|cx| patience.poll(acquire.as_mut(), cx)).await?)
        }
        Class::Relief => None,
    };
    let object = loop {
        if let Some(object) = shared.pop_usable(Instant::now()) {
            break object;
        }
        let _starved = shared.available.wait();
        shared.wake_connector.notify_one();
        let mut acquire = pin!(shared.available.acquire());
        poll_fn(|cx| patience.poll(acquire.as_mut(), cx)).await?.forget();
        if let Some(object) = shared.pop_assigned().and_then(|object| shared.usable(object, Instant::now())) {
            break object;
        }
    };
    if let Some(permit) = permit {
        permit.forget(); // the checkout's own end gives it back
    }
    // Finding it usable has just read the clock.
    let waited = object.since.saturating_duration_since(patience.started);
    Ok(Checkout::begin(shared, object, class, awaiting, waited))
}

/// What ends a wait before its time, or at it.
struct Patience<'s, 'p, C: Connect> {
    shared: &'s Shared<C>,
    started: Instant,
    verdict: Pin<&'p mut Notified<'s>>,
    expiry: Pin<&'p mut Sleep>,
}

impl<'s, C: Connect> Patience<'s, '_, C> {
    /// The permit, or why the wait for it is over.
    fn poll<A>(
        &mut self,
        acquire: Pin<&mut A>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SemaphorePermit<'s>, CheckoutError>>
    where
        A: Future<Output = Result<SemaphorePermit<'s>, AcquireError>>,
    {
        match acquire.poll(cx) {
            Poll::Ready(Ok(permit)) => Poll::Ready(Ok(permit)),
            Poll::Ready(Err(_)) => Poll::Ready(Err(self.shared.refuse(CheckoutError::Closed))),
            Poll::Pending => self.poll_end(cx).map(Err),
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<CheckoutError> {
        while self.verdict.as_mut().poll(cx).is_ready() {
            // Listen again before looking: a verdict between the two must not pass unheard.
            self.verdict.set(self.shared.verdict.notified());
            if let Some(refusal) = self.shared.verdict() {
                return Poll::Ready(self.shared.refuse(refusal));
            }
        }
        self.expiry
            .as_mut()
            .poll(cx)
            .map(|()| self.shared.refuse(self.shared.expired(self.started.elapsed())))
    }
}
