//! Fail points of commands that never reach a pooled connection.
//!
//! Drivers' tests make a server fail on purpose (`configureFailPoint: "failCommand"`, for servers that were started with
//! `enableTestCommands`). The commands that torana answers itself, hello and authentication, are struck from the fail
//! point on its way to the server, where they would hit torana's own monitors and handshakes, and fail here as they
//! would there. A fail point for one application (`appName`) gives that application connections under its own name, by
//! which the server matches it.
//!
//! What each field does, and in which order, is as in mongod 6.0's `evaluateFailCommandFailPoint`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bson::{Bson, Document};
use tokio::time::{Duration, sleep};

use super::client::Client;
use super::context::Listener;
use super::end::End;
use super::exchange::{self, Lane, acquire, send};
use super::orphan;
use super::registry::Phase;
use super::reply::{Arrival, receive};
use super::request::Request;
use crate::doc::{BsonType, elements};
use crate::metrics::EndReason;
use crate::rewrite::{CommandError, ErrorCode, Labels, body_range, reframe};
use crate::wire::Side;

/// What torana answers itself.
const LOCAL: [&str; 7] =
    ["hello", "isMaster", "ismaster", "saslStart", "saslContinue", "authenticate", "logout"];

/// The largest fail point that is looked into, bytes. Those of tests have some hundred.
const DECODED_MAX: usize = 4096;

/// How deep it may be nested. bson decodes nested documents recursively, any client may send this command, and some
/// hundred levels would exhaust the stack.
const NESTED_MAX: usize = 8;

/// The fail point `failCommand` of one member, as far as it is torana's.
#[derive(Debug, Default)]
pub struct FailPoints {
    is_armed: AtomicBool,
    fail_command: Mutex<Option<FailCommand>>,
}

#[derive(Debug, Clone, PartialEq)]
struct FailCommand {
    commands: Vec<String>,
    application: Option<String>,
    mode: Mode,
    effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    AlwaysOn,
    /// So many times more.
    Times(i64),
    /// Not so many times, then always.
    Skip(i64),
    /// With this probability.
    Probability(f64),
}

/// What a command suffers.
#[derive(Debug, Clone, PartialEq)]
struct Effect {
    /// It is held for so long first.
    blocks: Duration,
    closes: bool,
    error: Option<CommandError>,
}

impl FailPoints {
    /// Whether there is any.
    #[inline]
    pub fn is_armed(&self) -> bool {
        self.is_armed.load(Ordering::Acquire)
    }

    /// Whether a command called `name`, sent by `application`, fails, and how.
    fn strike(&self, name: &str, application: Option<&str>) -> Option<Effect> {
        if !self.is_armed() {
            return None;
        }
        let mut armed = self.fail_command.lock().unwrap_or_else(PoisonError::into_inner);
        armed.as_mut()?.strike(name, application)
    }

    fn set(&self, fail_command: Option<FailCommand>) {
        self.is_armed.store(fail_command.is_some(), Ordering::Release);
        *self.fail_command.lock().unwrap_or_else(PoisonError::into_inner) = fail_command;
    }
}

impl FailCommand {
    fn strike(&mut self, name: &str, application: Option<&str>) -> Option<Effect> {
        // Commands are matched by their aliases, too.
        let is_meant = self.commands.iter().any(|command| match name {
            "isMaster" | "ismaster" => command.eq_ignore_ascii_case(name),
            _ => command == name,
        });
        if !is_meant || self.application.as_deref().is_some_and(|meant| Some(meant) != application) {
            return None;
        }
        let strikes = match &mut self.mode {
            Mode::AlwaysOn => true,
            Mode::Times(left) => {
                *left -= 1;
                *left >= 0
            }
            Mode::Skip(left) => {
                *left -= 1;
                *left < 0
            }
            Mode::Probability(probability) => rand::random::<f64>() < *probability,
        };
        strikes.then(|| self.effect.clone())
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
        tokio::select! {
            biased;
            () = std::future::poll_fn(|cx| client.poll_gone(cx)) => return Err(End::clean()),
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
    let mut request = *request;
    let message = client.message().get(..request.header.length).unwrap_or_default();
    let read = body_range(message, Side::Client).ok().and_then(|body| message.get(body));
    let bounded = read.filter(|body| body.len() <= DECODED_MAX && nests_at_most(body, NESTED_MAX));
    let command = bounded.and_then(|body| bson::deserialize_from_slice::<Document>(body).ok());
    // What is not understood is the server's to refuse.
    let Some(mut command) = command
        .filter(|command| command.get_str("configureFailPoint").is_ok_and(|name| name == "failCommand"))
    else {
        return exchange::forward_as(at, client, &request, Lane::Relief).await;
    };
    let local = take_local(&mut command);
    let application = application(&command);
    if local.is_some() {
        edit(client, &mut request, &command)?;
    }
    let Some(mut server) = acquire(at, client, &request, Lane::Relief).await? else { return Ok(()) };
    let id = send(at, client, &mut server, &request).await?;
    client.entry.enter(Phase::Awaiting);
    match receive(client, &mut server, id, None).await {
        Ok(Arrival::Reply(reply)) => {
            if reply.verdict().ok {
                at.member.fail_points.set(local);
                application.iter().for_each(|name| at.member.pools.keep_apart(name));
            }
            exchange::deliver(at, client, server, &request, reply, true).await
        }
        Ok(Arrival::ClientGone(partial)) => {
            orphan::adopt(at, server, &request, id, partial);
            Err(exchange::abandoned(at, &request))
        }
        Err(error) => Err(exchange::server_failed(at, client, server, &request, &error)),
    }
}

fn nests_at_most(document: &[u8], levels: usize) -> bool {
    elements(document).all(|element| match element.map(|element| element.value) {
        // Code with a scope nests, too.
        Ok(value) if value.kind == BsonType::CodeWithScope => false,
        Ok(value) => value.as_document().is_none_or(|inner| levels > 0 && nests_at_most(inner, levels - 1)),
        Err(_) => false,
    })
}

fn edit(client: &mut Client, request: &mut Request, command: &Document) -> Result<(), End> {
    let body = bson::serialize_to_vec(command).map_err(|error| End::server(error.to_string()))?;
    let message = client.message().get(..request.header.length).unwrap_or_default();
    let mut edited = Vec::with_capacity(message.len());
    reframe(message, Side::Client, &body, &mut edited)
        .map_err(|error| End::because(EndReason::ProtocolError, error.to_string()))?;
    client.replace_message(request.header.length, &edited);
    request.header.length = edited.len();
    Ok(())
}

/// The application that a fail point is for, unless it is switched off.
fn application(command: &Document) -> Option<String> {
    let data = command.get_document("data").ok()?;
    data.get_str("appName").ok().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Takes what is torana's out of a command, and leaves the rest to the server.
fn take_local(command: &mut Document) -> Option<FailCommand> {
    let mode = mode(command.get("mode")?)?;
    let data = command.get_document_mut("data").ok()?;
    let Ok(commands) = data.get_array_mut("failCommands") else { return None };
    let is_local = |command: &Bson| command.as_str().is_some_and(|name| LOCAL.contains(&name));
    let (local, others): (Vec<_>, Vec<_>) = std::mem::take(commands).into_iter().partition(is_local);
    *commands = others;
    let commands: Vec<String> = local.iter().filter_map(Bson::as_str).map(str::to_owned).collect();
    if commands.is_empty() {
        return None;
    }
    let application = data.get_str("appName").ok().filter(|name| !name.is_empty()).map(str::to_owned);
    Some(FailCommand { commands, application, mode, effect: effect(data) })
}

fn mode(mode: &Bson) -> Option<Mode> {
    match mode {
        Bson::String(mode) if mode == "alwaysOn" => Some(Mode::AlwaysOn),
        Bson::Document(mode) => {
            let (kind, value) = mode.iter().next()?;
            match kind.as_str() {
                "times" => whole(value).map(Mode::Times),
                "skip" => whole(value).map(Mode::Skip),
                "activationProbability" => value.as_f64().map(Mode::Probability),
                _ => None,
            }
        }
        _ => None,
    }
}

fn effect(data: &Document) -> Effect {
    let is_set = |key| data.get_bool(key).unwrap_or(false);
    let millis = data.get("blockTimeMS").filter(|_| is_set("blockConnection")).and_then(whole);
    let blocks = Duration::from_millis(millis.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0));
    let code = data.get("errorCode").and_then(whole).and_then(|code| i32::try_from(code).ok());
    let labels = data.get_array("errorLabels").map(|labels| {
        labels.iter().filter_map(Bson::as_str).filter_map(Labels::named).fold(Labels::NONE, Labels::and)
    });
    let error = code.map(|code| {
        CommandError::of_mongod(ErrorCode(code), "Failing command via 'failCommand' failpoint")
            .labelled(labels.unwrap_or(Labels::NONE))
    });
    Effect { blocks, closes: is_set("closeConnection"), error }
}

fn whole(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(value) => Some(i64::from(*value)),
        Bson::Int64(value) => Some(*value),
        Bson::Double(value) => Some(*value as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    fn configured(mode: impl Into<Bson>, data: Document) -> (Document, FailPoints) {
        let mut command =
            doc! { "configureFailPoint": "failCommand", "mode": mode.into(), "data": data, "$db": "admin" };
        let fail_points = FailPoints::default();
        fail_points.set(take_local(&mut command));
        (command, fail_points)
    }

    fn strikes(fail_points: &FailPoints, name: &str, application: Option<&str>) -> bool {
        fail_points.strike(name, application).is_some()
    }

    #[test]
    fn what_torana_answers_fails_here_and_the_rest_on_the_server() {
        let data = doc! { "failCommands": ["find", "hello", "ismaster"], "errorCode": 91, "appName": "app" };
        let (left, fail_points) = configured(doc! { "times": 2 }, data);
        assert_eq!(
            left.get_document("data").unwrap(),
            &doc! { "failCommands": ["find"], "errorCode": 91, "appName": "app" }
        );
        assert!(!strikes(&fail_points, "hello", None) && !strikes(&fail_points, "hello", Some("other")));
        assert!(!strikes(&fail_points, "saslStart", Some("app")));
        assert_eq!(
            fail_points.strike("isMaster", Some("app")).unwrap().error.unwrap().code,
            ErrorCode::SHUTDOWN_IN_PROGRESS
        );
        assert!(strikes(&fail_points, "hello", Some("app")));
        assert!(!strikes(&fail_points, "hello", Some("app")), "twice");
    }

    #[test]
    fn modes_count_as_the_servers_do() {
        let data = doc! { "failCommands": ["hello"], "closeConnection": true, "blockConnection": true, "blockTimeMS": 5 };
        let (_, skips) = configured(doc! { "skip": 1 }, data.clone());
        assert_eq!([(); 3].map(|()| strikes(&skips, "hello", None)), [false, true, true]);
        let (_, always) = configured("alwaysOn", data.clone());
        let effect = always.strike("hello", Some("any")).unwrap();
        assert_eq!(effect, Effect { blocks: Duration::from_millis(5), closes: true, error: None });
        let (_, off) = configured("off", data);
        assert!(!strikes(&off, "hello", None));
    }

    #[test]
    fn a_fail_point_without_anything_of_toranas_goes_as_it_is() {
        let (left, fail_points) = configured("alwaysOn", doc! { "failCommands": ["find"], "errorCode": 2 });
        assert_eq!(left.get_document("data").unwrap().get_array("failCommands").unwrap().len(), 1);
        assert!(!strikes(&fail_points, "find", None));
    }
}
