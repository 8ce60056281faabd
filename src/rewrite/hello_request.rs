//! A client's hello request: what it asks for, or what mongod would say against it.
//!
//! Rules, codes and texts are those of mongod 6.0.5, asked case by case (`tests/rewrite_real.rs` asks again). mongod
//! first reads the API parameters, then the client metadata, then each field in the order sent, then how
//! `topologyVersion`, `maxAwaitTimeMS` and exhaust go together; the first thing wrong is what it answers.

use std::time::Duration;

use super::client_metadata;
use super::error_code::ErrorCode;
use super::errors::CommandError;
use super::hello::Spelling;
use super::hello_api::ApiParameters;
use super::hello_fields::{Wanted, duplicate, exactly, given, missing, text, unknown, whole_number};
use crate::doc::{Value, elements, find};
use crate::topology::TopologyVersion;

/// The longest time that a hello waits, however much it asks for: above it, a sum with the clock could overflow.
const AWAIT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// A hello request that may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloRequest<'a> {
    /// How the command was called.
    pub spelling: Spelling,
    /// Whether `helloOk` was sent; false counts too, as in mongod.
    pub hello_ok: bool,
    /// What the client knows and how long it waits for news; `None` for an answer at once.
    pub awaits: Option<(TopologyVersion, Duration)>,
    /// The `client` document, if this hello brought it.
    pub metadata: Option<&'a [u8]>,
}

/// The fields of a hello whose types were checked, before the rules between them.
#[derive(Debug, Default)]
struct Raw {
    hello_ok: bool,
    topology_version: Option<TopologyVersion>,
    max_await_ms: Option<i64>,
    load_balanced: bool,
}

impl<'a> HelloRequest<'a> {
    /// Reads the command in `body`. `exhaust_allowed` is the request's flag; `metadata_settled` belongs to the
    /// connection, false at its beginning: mongod takes a `client` document in the first hello that gets so far only.
    pub fn read(
        body: &'a [u8],
        exhaust_allowed: bool,
        metadata_settled: &mut bool,
    ) -> Result<HelloRequest<'a>, CommandError> {
        // The length of the whole is this item's error; what reads the other fields skips it.
        let first = elements(body).next().transpose().map_err(|error| malformed(&error))?;
        let name = first.map(|first| first.key).unwrap_or_default();
        let spelling = if name == b"hello" { Spelling::Modern } else { Spelling::Legacy };
        ApiParameters::read(body)?.check(spelling)?;
        let metadata = match find(body, "client").map(|client| client.value) {
            Some(_) if *metadata_settled => return Err(metadata_twice()),
            Some(client) => Some(client_metadata::check(&client)?),
            None => None,
        };
        let raw = Raw::read(body)?;
        *metadata_settled = true;
        if raw.load_balanced {
            let next = "connect without loadBalanced=true";
            let what = "loadBalanced: true is not supported";
            return Err(CommandError::of_torana(ErrorCode::INVALID_OPTIONS, what, next));
        }
        let awaits = raw.awaits(exhaust_allowed)?;
        authentication(body)?;
        Ok(HelloRequest { spelling, hello_ok: raw.hello_ok, awaits, metadata })
    }
}

impl Raw {
    fn read(body: &[u8]) -> Result<Raw, CommandError> {
        let mut raw = Raw::default();
        for element in elements(body).skip(1) {
            let element = element.map_err(|error| malformed(&error))?;
            let value = element.value;
            match element.key {
                b"helloOk" => raw.hello_ok = given("hello.helloOk", &value, Wanted::BOOL_OR_NUMBER)?,
                b"loadBalanced" => {
                    let sent = given("hello.loadBalanced", &value, Wanted::BOOL)?;
                    raw.load_balanced = sent && value.as_bool() == Some(true);
                }
                b"maxAwaitTimeMS" => raw.max_await_ms = max_await(&value)?,
                b"topologyVersion" => raw.topology_version = topology_version(&value)?,
                b"compression" => compression(&value)?,
                b"hostInfo" => drop(given("hello.hostInfo", &value, Wanted::STRING)?),
                b"internalClient" => drop(given("hello.internalClient", &value, Wanted::OBJECT)?),
                b"saslSupportedMechs" => {
                    exactly("hello.saslSupportedMechs", &value, Wanted::STRING_OR_OBJECT)?;
                }
                b"speculativeAuthenticate" => {
                    given("hello.speculativeAuthenticate", &value, Wanted::OBJECT)?;
                }
                _ => {}
            }
        }
        Ok(raw)
    }

    fn awaits(&self, exhaust: bool) -> Result<Option<(TopologyVersion, Duration)>, CommandError> {
        let refuse = |code, text: &'static str| Err(CommandError::of_mongod(code, text));
        match (self.topology_version, self.max_await_ms) {
            (Some(version), Some(_)) if version.counter < 0 => {
                refuse(ErrorCode::HELLO_COUNTER_NEGATIVE, "topologyVersion must have a non-negative counter")
            }
            (Some(version), Some(millis)) => {
                let wait = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
                Ok(Some((version, wait.min(AWAIT_MAX))))
            }
            (Some(_), None) => refuse(
                ErrorCode::HELLO_AWAIT_INCOMPLETE,
                "A request with a 'topologyVersion' must include 'maxAwaitTimeMS'",
            ),
            (None, Some(_)) => refuse(
                ErrorCode::HELLO_AWAIT_INCOMPLETE,
                "A request with 'maxAwaitTimeMS' must include a 'topologyVersion'",
            ),
            (None, None) if exhaust => refuse(
                ErrorCode::HELLO_EXHAUST_WITHOUT_AWAIT,
                "An isMaster or hello request with exhaust must specify 'maxAwaitTimeMS'",
            ),
            (None, None) => Ok(None),
        }
    }
}

fn max_await(value: &Value<'_>) -> Result<Option<i64>, CommandError> {
    if !given("hello.maxAwaitTimeMS", value, Wanted::NUMBER)? {
        return Ok(None);
    }
    let millis = whole_number(value);
    if millis < 0 {
        let text = format!("BSON field 'maxAwaitTimeMS' value must be >= 0, actual value '{millis}'");
        return Err(CommandError::of_mongod(ErrorCode::FIELD_OUT_OF_RANGE, text));
    }
    Ok(Some(millis))
}

fn topology_version(value: &Value<'_>) -> Result<Option<TopologyVersion>, CommandError> {
    const PROCESS_ID: &str = "hello.topologyVersion.processId";
    const COUNTER: &str = "hello.topologyVersion.counter";
    if !given("hello.topologyVersion", value, Wanted::OBJECT)? {
        return Ok(None);
    }
    let (mut process_id, mut counter) = (None, None);
    let (mut ids, mut counters) = (0u8, 0u8);
    for element in elements(value.bytes) {
        let element = element.map_err(|error| malformed(&error))?;
        match element.key {
            b"processId" => {
                given(PROCESS_ID, &element.value, Wanted::OBJECT_ID)?;
                process_id = element.value.as_object_id().copied();
                ids = ids.saturating_add(1);
            }
            b"counter" => {
                given(COUNTER, &element.value, Wanted::LONG)?;
                counter = element.value.as_i64();
                counters = counters.saturating_add(1);
            }
            other => return Err(unknown(&format!("hello.topologyVersion.{}", text(other)))),
        }
        if ids > 1 || counters > 1 {
            return Err(duplicate(if ids > 1 { PROCESS_ID } else { COUNTER }));
        }
    }
    let process_id = process_id.ok_or_else(|| missing(PROCESS_ID))?;
    let counter = counter.ok_or_else(|| missing(COUNTER))?;
    Ok(Some(TopologyVersion { process_id, counter }))
}

fn compression(value: &Value<'_>) -> Result<(), CommandError> {
    if !given("hello.compression", value, Wanted::ARRAY)? {
        let text = "invalid parameter: expected an object (compression)";
        return Err(CommandError::of_mongod(ErrorCode::NOT_AN_OBJECT, text));
    }
    for element in elements(value.bytes) {
        let element = element.map_err(|error| malformed(&error))?;
        let path = format!("hello.compression.{}", text(element.key));
        given(&path, &element.value, Wanted::STRING)?;
    }
    Ok(())
}

/// What mongod looks at last: whose mechanisms are asked for, and an authentication that is tried in advance.
fn authentication(body: &[u8]) -> Result<(), CommandError> {
    let user = find(body, "saslSupportedMechs").and_then(|field| field.value.as_str());
    if user.is_some_and(|user| !user.contains('.')) {
        let text = "UserName must contain a '.' separated database.user pair";
        return Err(CommandError::of_mongod(ErrorCode::BAD_VALUE, text));
    }
    let Some(sent) = find(body, "speculativeAuthenticate").and_then(|field| field.value.as_document()) else {
        return Ok(());
    };
    let Some(command) = elements(sent).next().and_then(Result::ok) else {
        let text = "hello.speculativeAuthenticate must be a non-empty Object";
        return Err(CommandError::of_mongod(ErrorCode::BAD_VALUE, text));
    };
    if matches!(command.key, b"saslStart" | b"authenticate") {
        return Ok(());
    }
    let text = format!("hello.speculativeAuthenticate unknown command: {}", text(command.key));
    Err(CommandError::of_mongod(ErrorCode::SPECULATION_UNKNOWN, text))
}

/// The error for a client whose counter is above the member's own: it heard of a future. A standalone has another
/// code for it than a member of a replica set.
pub fn counter_ahead(asked: i64, ours: i64, standalone: bool) -> CommandError {
    let text = format!(
        "Received a topology version with counter: {asked} which is greater than the server topology version counter: {ours}"
    );
    let code =
        if standalone { ErrorCode::HELLO_COUNTER_AHEAD_STANDALONE } else { ErrorCode::HELLO_COUNTER_AHEAD };
    CommandError::of_mongod(code, text)
}

fn metadata_twice() -> CommandError {
    let text = "The client metadata document may only be sent in the first hello";
    CommandError::of_mongod(ErrorCode::CLIENT_METADATA_CANNOT_BE_MUTATED, text)
}

pub(super) fn malformed(error: &crate::doc::DocError) -> CommandError {
    CommandError::of_torana(ErrorCode::INVALID_BSON, error, "send well-formed BSON")
}
