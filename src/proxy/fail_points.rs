//! Fail points of commands that never reach a pooled connection.
//!
//! Drivers' tests make a server fail on purpose (`configureFailPoint: "failCommand"`, for servers that were started with
//! `enableTestCommands`). The commands that torana answers itself, hello and authentication, are struck from the fail
//! point on its way to the server, where they would hit torana's own monitors and handshakes, and fail here as they
//! would there. A fail point for one application (`appName`) gives that application connections under its own name, by
//! which the server matches it.
//!
//! What torana keeps must be what the server has. So they are configured one after the other, each to its end whether
//! its client waits or not, and forgotten with the process that had them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant, sleep, timeout};

use super::client::Client;
use super::context::{Checkout, Listener, Pool};
use super::end::End;
use super::exchange::{self, Lane, acquire};
use super::fail_command::{Configuration, Effect, FailCommand};
use super::local;
use super::notice;
use super::own_command;
use super::registry::Phase;
use super::request::{Request, unwrapped};
use super::unasked;
use crate::command::Command;
use crate::doc::find;
use crate::metrics::{EndReason, Outcome};
use crate::rewrite::{CommandError, ErrorCode};

/// How long a server may take to configure one, for which others wait.
const CONFIGURED_WITHIN: Duration = Duration::from_secs(10);

/// The fail point `failCommand` of one member, as far as it is torana's.
#[derive(Debug, Default)]
pub struct FailPoints {
    is_armed: AtomicBool,
    fail_command: Mutex<Option<FailCommand>>,
    /// Held from a request to the server's answer: the server's order is then that of what is kept here.
    turn: tokio::sync::Mutex<()>,
}

impl FailPoints {
    /// Whether there is any.
    #[inline]
    pub fn is_armed(&self) -> bool {
        self.is_armed.load(Ordering::Acquire)
    }

    /// The server has none any more: its process is another one.
    pub fn disarm(&self) {
        self.set(None);
    }

    /// Whether a command called `name`, sent by `application`, fails, and how.
    fn strike(&self, name: &str, application: Option<&str>) -> Option<Effect> {
        if !self.is_armed() {
            return None;
        }
        let mut armed = self.fail_command.lock().unwrap_or_else(PoisonError::into_inner);
        let effect = armed.as_mut()?.strike(name, application);
        if armed.as_ref().is_some_and(FailCommand::is_spent) {
            *armed = None;
            self.is_armed.store(false, Ordering::Release);
        }
        effect
    }

    fn set(&self, fail_command: Option<FailCommand>) {
        let mut armed = self.fail_command.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_armed.store(fail_command.is_some(), Ordering::Release);
        *armed = fail_command;
    }
}

/// Fails a command that torana answers itself, if a fail point says so: the error to answer, or the end of the session.
/// `Ok(None)` lets it go its way. `application` is the one that this very command brings, if it does.
pub async fn evaluate(
    at: &Listener,
    client: &mut Client,
    name: &str,
    application: Option<&str>,
) -> Result<Option<CommandError>, End> {
    let application = application.or(client.application());
    let Some(effect) = at.member.fail_points.strike(name, application) else { return Ok(None) };
    if !effect.blocks.is_zero() {
        client.entry.enter(Phase::Queueing);
        let mut draining = at.shared.registry.draining();
        tokio::select! {
            biased;
            () = std::future::poll_fn(|cx| client.poll_gone(cx)) => return Err(End::clean()),
            _ = draining.wait_for(|draining| *draining) => {}
            () = sleep(effect.blocks) => {}
        }
    }
    match effect.closes {
        true => Err(End::because(EndReason::Refused, format!("fail point failCommand closes on {name}"))),
        false => Ok(effect.error),
    }
}

/// Serves `configureFailPoint`.
pub async fn configure(at: &Listener, client: &mut Client, request: &Request) -> Result<(), End> {
    let body = client.message().get(request.body_at..request.header.length).unwrap_or_default();
    // What is not understood is the server's to refuse, and other fail points are its own affair.
    let Some(configuration) = Configuration::read(unwrapped(body)) else {
        return match request.has_reply() {
            true => exchange::forward_as(at, client, request, Lane::Relief).await,
            false => unasked::run(at, client, request).await,
        };
    };
    let Some(server) = acquire(at, client, request, Lane::Relief).await? else { return Ok(()) };
    client.entry.enter(Phase::Awaiting);
    let pool = client.pool.pool.clone();
    let configuring = run(client.listener.clone(), pool, server, configuration, request.command);
    match tokio::spawn(configuring).await {
        Ok(Ok(reply)) => local::respond(client, request, &reply).await,
        Ok(Err(end)) => Err(end),
        Err(error) => Err(End::server(format!("{}: configureFailPoint: {error}", at.member.name))),
    }
}

/// Runs to its end, so that what the server has is known. On an error nothing is changed here; it may be at the server.
async fn run(
    at: Arc<Listener>,
    pool: Pool,
    mut server: Checkout,
    configuration: Configuration,
    command: Command,
) -> Result<Vec<u8>, End> {
    let member = &at.member;
    let _turn = member.fail_points.turn.lock().await;
    let sent = Instant::now();
    let answering = own_command::run(&at.shared, &mut server, &configuration.for_server);
    let reply = match timeout(CONFIGURED_WITHIN, answering).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => {
            notice::connection_failed(&at, &pool, server.generation(), error.io());
            return Err(End::server(format!("{}: {error}", member.name)));
        }
        Err(_) => return Err(End::server(format!("{}: no answer to configureFailPoint", member.name))),
    };
    server.finish();
    let is_ok = find(&reply, "ok").and_then(|ok| ok.value.as_bool()) == Some(true);
    let outcome = if is_ok { Outcome::Ok } else { Outcome::Error };
    member.metrics.traffic.operations.inc((command, outcome));
    member.metrics.traffic.server_latency.observe(command, sent.elapsed());
    let code = find(&reply, "code").and_then(|code| code.value.as_i64());
    // A server without this command has no fail points, either: it was started anew without them.
    if is_ok || code == Some(i64::from(ErrorCode::COMMAND_NOT_FOUND.0)) {
        let Configuration { local, application, .. } = configuration;
        member.fail_points.set(local.filter(|_| is_ok));
        member.pools.keep_apart(application.filter(|_| is_ok));
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn one_that_is_spent_or_forgotten_strikes_no_more() {
        let command = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 },
        "data": { "failCommands": ["hello"], "closeConnection": true } };
        let read = Configuration::read(&bson::serialize_to_vec(&command).unwrap()).unwrap();
        let fail_points = FailPoints::default();
        fail_points.set(read.local.clone());
        assert!(fail_points.strike("hello", None).is_some());
        assert!(!fail_points.is_armed() && fail_points.strike("hello", None).is_none());
        fail_points.set(read.local);
        fail_points.disarm();
        assert!(!fail_points.is_armed() && fail_points.strike("hello", None).is_none());
    }
}
