//! A client's reads, for the second set that is asked a sample of them: taken where they are read, with their answers as they
//! are written to the socket. Without `[shadow]` all this is one look for each request. Nothing here waits.

use std::sync::Arc;

use tokio::time::{Duration, sleep, timeout};

use super::client::Client;
use super::context::{Set, Shared};
use super::own_command;
use super::request::{Request, Route};
use crate::capture::Role;
use crate::command::Kind;
use crate::config::SHADOWED;
use crate::shadow::{Live, Pending, Shadow};
use crate::topology::MemberKind;
use crate::wire::Opcode;

/// How often the set is asked for its id, and how long it has: without one, sets are told apart by their members' names.
const ID_ATTEMPTS: usize = 3;
const ID_WITHIN: Duration = Duration::from_secs(3);
const ID_PAUSE: Duration = Duration::from_secs(1);

/// The client's current read, if it is of the sample.
#[derive(Debug, Default)]
pub struct Shadowing(Option<Box<Pending>>);

impl Shadowing {
    /// Takes note of what was written to the client.
    #[inline]
    pub fn written(&mut self, bytes: &[u8]) {
        if let Some(pending) = &mut self.0
            && !pending.written(bytes)
        {
            self.0 = None;
        }
    }

    /// The client is told something of torana's own in the place of the server's answer.
    pub fn refused(&mut self) {
        self.0 = None;
    }

    /// The server took so long for its answer.
    #[inline]
    pub fn took(&mut self, took: Duration) {
        if let Some(pending) = &mut self.0 {
            pending.took(took);
        }
    }
}

/// Takes `request`, which stands in `client`'s buffer as it was read, if it is of the sample; takes note of it if it writes.
#[cold]
pub fn request(client: &mut Client, request: &Request) {
    let Some(shadow) = &client.listener.member.set.shadow else { return };
    let message = client.request_bytes(request);
    let pending = match request.is_read {
        true if may_be_sent(request) => {
            let role = match client.listener.member.monitored.kind() {
                MemberKind::Secondary => Role::Secondary,
                _ => Role::Primary,
            };
            shadow.take(message, request.header.request_id, role)
        }
        true => None,
        false => {
            note_write(shadow, request, message);
            None
        }
    };
    client.shadowing = Shadowing(pending);
}

/// As far as is known without another look at its bytes.
fn may_be_sent(request: &Request) -> bool {
    request.route == Route::Forward
        && request.header.opcode == Opcode::Msg
        && !request.in_transaction
        && SHADOWED.contains(&request.command.name())
}

/// A difference on a collection that was just written to may be one of the moment.
fn note_write(shadow: &Shadow, request: &Request, message: &[u8]) {
    match request.names_one(message) {
        Some(named) => shadow.written(Some(named)),
        // Where it writes to is not known, or not looked for. A commit is none: its statements were, a moment ago.
        None if matches!(request.command.kind(), Kind::Write | Kind::Read) => shadow.written(None),
        None => {}
    }
}

/// Begins the shadow traffic of `set`, if it is to have any, once it is known which set that is.
pub async fn begin(shared: Arc<Shared>, set: Arc<Set>) {
    let Some(shadow) = &set.shadow else { return };
    let mut replica_set_id = None;
    for attempt in 0..ID_ATTEMPTS {
        if attempt > 0 {
            sleep(ID_PAUSE).await;
        }
        replica_set_id = timeout(ID_WITHIN, own_command::replica_set_id(&shared, &set)).await.ok().flatten();
        if replica_set_id.is_some() {
            break;
        }
    }
    let members = set.topology.members();
    let members = members.iter().map(|member| member.name.to_string().to_ascii_lowercase()).collect();
    if let Err(error) = shadow.begin(Live { replica_set_id, members }) {
        tracing::error!(set = %set.name, "no reads are sent to the shadow: {error}");
    }
}
