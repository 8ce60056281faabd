//! The tap on a client's connection: what it asks and what it is told goes to the capture that is being recorded.
//!
//! Requests are taken as they were read, before anything is edited; replies as they are written to the socket, byte for
//! byte, so that what the capture has is what the client saw. Replies are put together again here by their lengths. While
//! nothing is recorded all this is one relaxed load a message. Nothing here waits: a connection whose record finds no
//! room is dropped from the capture, and served as before.

use std::sync::Arc;

use super::client::Client;
use super::request::{Request as Asked, Route, unwrapped};
use crate::capture::facts::{Facts, Passing};
use crate::capture::{
    Asked as About, Form, Kind, MESSAGE_MAX, Opened, Policy, Record, Recorder, Refused, Reply, Request, Role,
    policy,
};
use crate::doc::{elements, find_path};
use crate::topology::MemberKind;
use crate::wire::{HEADER_LEN, Header, MESSAGE_MAX as WIRE_MAX, Opcode, Side};

/// The longest reply that is kept whole, bytes.
const REPLY_MAX: usize = 4 << 20;

/// Why the rest of a connection is not in the capture: the disk was behind.
const BEHIND: u8 = 1;

/// A request that is longer than what is kept.
const TOO_LONG: u8 = 2;

/// A client's tap, if it has one.
#[derive(Debug, Default)]
pub struct Tapping {
    tap: Option<Box<Tap>>,
    /// The recording for which was decided whether it has one; 0 is none.
    decided: u32,
}

impl Tapping {
    /// Whether a request has to be looked at while the recording is `number`, 0 if there is none.
    #[inline]
    pub fn is_due(&self, number: u32) -> bool {
        number != self.decided || self.tap.is_some()
    }

    /// Takes note of what was written to the client.
    #[inline]
    pub fn written(&mut self, bytes: &[u8]) {
        if let Some(tap) = &mut self.tap
            && tap.written(bytes).is_err()
        {
            self.tap = None;
        }
    }

    /// The connection is closed, in order or otherwise.
    pub fn closed(&mut self, in_order: bool) {
        if let Some(mut tap) = self.tap.take()
            && tap.is_opened
        {
            let _ = tap.append(Policy::Open, Kind::Closed(in_order), tap.now(), 0);
        }
    }
}

/// Takes note of `request`, which stands in `client`'s buffer as it was read.
#[cold]
pub fn request(client: &mut Client, request: &Asked) {
    let mut tapping = std::mem::take(&mut client.tapping);
    if client.listener.shared.capturing.number() != tapping.decided {
        decide(&mut tapping, client, request);
    }
    if let Some(tap) = &mut tapping.tap
        && tap.request(client, request).is_err()
    {
        tapping.tap = None;
    }
    client.tapping = tapping;
}

/// Whether the recording takes this connection.
fn decide(tapping: &mut Tapping, client: &Client, request: &Asked) {
    *tapping = Tapping::default();
    let Some((number, recorder)) = client.listener.shared.capturing.current() else { return };
    tapping.decided = number;
    if recorder.options().set != client.listener.member.set.name {
        return;
    }
    let selection = &recorder.options().selection;
    let application = application(client, request);
    if application.is_none() && !selection.applications.is_empty() && request.route == Route::Hello {
        // It may say later who it is.
        tapping.decided = 0;
        return;
    }
    let address = client.peer().ok().map(|peer| peer.ip());
    if selection.takes_connection(
        u64::from(client.entry.id.unsigned_abs()),
        address,
        &application.unwrap_or_default(),
    ) {
        tapping.tap = Some(Box::new(Tap::new(recorder)));
    }
}

/// The name of the client's application, which this request may be the first to say.
fn application(client: &Client, request: &Asked) -> Option<String> {
    if let Some(known) = client.application() {
        return Some(known.to_owned());
    }
    let body =
        client.request_bytes(request).get(request.body_at..).filter(|_| request.route == Route::Hello)?;
    let name = find_path(unwrapped(body), &["client", "application", "name"])?;
    name.as_str().map(str::to_owned)
}

/// The connection is not in the capture any more.
#[derive(Debug)]
struct Dropped;

#[derive(Debug)]
struct Tap {
    recorder: Arc<Recorder>,
    connection: u64,
    is_opened: bool,
    has_greeted: bool,
    next: u32,
    current: Option<Current>,
    coming: Option<Coming>,
}

/// The request whose reply is written.
#[derive(Debug, Clone, Copy)]
struct Current {
    number: u32,
    /// What the next reply must name.
    answers: i32,
    policy: Policy,
}

/// A reply of which a part has been written.
#[derive(Debug)]
enum Coming {
    /// Less than its header.
    Header(Vec<u8>),
    /// To be kept; so many bytes long.
    Kept { bytes: Vec<u8>, length: usize, _memory: Memory },
    /// Too large to be kept, or there is no memory for it; so many bytes are to come.
    Passing { passing: Box<Passing>, header: Header, left: usize },
    /// Of no interest.
    Skipped { left: usize },
}

/// A share of the recorder's memory.
#[derive(Debug)]
struct Memory {
    recorder: Arc<Recorder>,
    bytes: usize,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.recorder.let_go(self.bytes);
    }
}

impl Tap {
    fn new(recorder: Arc<Recorder>) -> Tap {
        let connection = recorder.connection();
        Tap {
            recorder,
            connection,
            is_opened: false,
            has_greeted: false,
            next: 0,
            current: None,
            coming: None,
        }
    }

    fn now(&self) -> u64 {
        self.recorder.time(std::time::Instant::now())
    }

    fn append(&mut self, policy: Policy, kind: Kind<'_>, time: u64, length: usize) -> Result<(), Dropped> {
        let record = Record { connection: self.connection, time, kind };
        match self.recorder.append(policy, &record, length) {
            Ok(()) => Ok(()),
            Err(Refused::Full) => Err(self.lose(BEHIND)),
            Err(Refused::Ended) => Err(Dropped),
        }
    }

    fn lose(&self, why: u8) -> Dropped {
        if self.is_opened {
            self.recorder.lose(self.connection, why);
        }
        Dropped
    }

    fn request(&mut self, client: &Client, request: &Asked) -> Result<(), Dropped> {
        (self.current, self.coming) = (None, None);
        let message = client.request_bytes(request);
        let recorder = self.recorder.clone();
        let selection = &recorder.options().selection;
        if selection.looks_at_requests() && !selection.takes_request(&About::of(message)) {
            return Ok(());
        }
        if !self.is_opened {
            self.open(client, request)?;
        }
        if message.len() > MESSAGE_MAX {
            return Err(self.lose(TOO_LONG));
        }
        let policy = match policy(name(request, message)) {
            Policy::Hello if std::mem::replace(&mut self.has_greeted, true) => Policy::HelloAgain,
            policy => policy,
        };
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let has_reply = request.has_reply();
        let kind = Kind::Request(Request { number, wants_none: !has_reply, withheld: false, message });
        let time = recorder.time(request.received.into_std());
        self.append(policy, kind, time, message.len())?;
        let answers = request.header.request_id;
        self.current = has_reply.then_some(Current { number, answers, policy });
        Ok(())
    }

    fn open(&mut self, client: &Client, request: &Asked) -> Result<(), Dropped> {
        let member = &client.listener.member;
        let role = match member.monitored.kind() {
            MemberKind::Primary => Role::Primary,
            MemberKind::Secondary => Role::Secondary,
            _ => Role::Other,
        };
        let peer = client.peer().map(|peer| peer.to_string()).unwrap_or_default();
        let application = application(client, request).unwrap_or_default();
        let length = member.name.len() + peer.len() + application.len();
        let opened = Opened { role, member: &member.name, client: &peer, application: &application };
        let time = self.recorder.time(request.received.into_std());
        self.append(Policy::Open, Kind::Opened(opened), time, length)?;
        self.is_opened = true;
        Ok(())
    }

    /// Puts replies together from what was written.
    fn written(&mut self, mut bytes: &[u8]) -> Result<(), Dropped> {
        while !bytes.is_empty() && self.current.is_some() {
            bytes = match self.coming.take() {
                None => self.begin(bytes)?,
                Some(Coming::Header(mut front)) => {
                    let (more, behind) = bytes.split_at((HEADER_LEN - front.len()).min(bytes.len()));
                    front.extend_from_slice(more);
                    match front.len() == HEADER_LEN {
                        // All of it at once: what was waited for is its length.
                        true => {
                            let rest = self.begin(&front)?;
                            debug_assert!(rest.is_empty());
                        }
                        false => self.coming = Some(Coming::Header(front)),
                    }
                    behind
                }
                Some(coming) => self.go_on(coming, bytes)?,
            };
        }
        Ok(())
    }

    /// The first bytes of a reply. Returns what follows it.
    fn begin<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Dropped> {
        let header = match Header::peek(bytes, Side::Server, WIRE_MAX) {
            Ok(Some(header)) => header,
            Ok(None) => {
                self.coming = Some(Coming::Header(bytes.to_vec()));
                return Ok(&[]);
            }
            // Not what a client could read: nothing more is to be told apart.
            Err(_) => {
                self.current = None;
                return Ok(&[]);
            }
        };
        let is_answer = self.current.is_some_and(|current| current.answers == header.response_to);
        if let Some((message, behind)) = bytes.split_at_checked(header.length) {
            if is_answer {
                self.whole(header, message)?;
            }
            return Ok(behind);
        }
        let length = header.length;
        let coming = match is_answer {
            false => Coming::Skipped { left: length },
            true if length <= REPLY_MAX && self.recorder.hold(length) => {
                let _memory = Memory { recorder: self.recorder.clone(), bytes: length };
                Coming::Kept { bytes: Vec::with_capacity(length), length, _memory }
            }
            true => Coming::Passing { passing: Box::default(), header, left: length },
        };
        self.go_on(coming, bytes)
    }

    fn go_on<'b>(&mut self, coming: Coming, bytes: &'b [u8]) -> Result<&'b [u8], Dropped> {
        match coming {
            Coming::Kept { bytes: mut kept, length, _memory } => {
                let (more, behind) = bytes.split_at((length - kept.len()).min(bytes.len()));
                kept.extend_from_slice(more);
                match Header::peek(&kept, Side::Server, WIRE_MAX) {
                    Ok(Some(header)) if kept.len() == length => self.whole(header, &kept)?,
                    _ => self.coming = Some(Coming::Kept { bytes: kept, length, _memory }),
                }
                Ok(behind)
            }
            Coming::Passing { mut passing, header, left } => {
                let (more, behind) = bytes.split_at(left.min(bytes.len()));
                passing.pass(more);
                match left - more.len() {
                    0 => self.reply(header, passing.facts(), Form::TooLarge, 0)?,
                    left => self.coming = Some(Coming::Passing { passing, header, left }),
                }
                Ok(behind)
            }
            Coming::Skipped { left } => {
                let (more, behind) = bytes.split_at(left.min(bytes.len()));
                let left = left - more.len();
                self.coming = (left > 0).then_some(Coming::Skipped { left });
                Ok(behind)
            }
            Coming::Header(_) => Ok(bytes),
        }
    }

    /// A reply is here as a whole: the writer finds its facts.
    fn whole(&mut self, header: Header, message: &[u8]) -> Result<(), Dropped> {
        self.reply(header, Facts::default(), Form::Whole(message), message.len())
    }

    fn reply(&mut self, header: Header, facts: Facts, form: Form<'_>, kept: usize) -> Result<(), Dropped> {
        let Some(current) = &mut self.current else { return Ok(()) };
        // A further reply to the same request names the one before it.
        current.answers = header.request_id;
        let (number, policy) = (current.number, current.policy);
        let Facts { code, cursor, documents } = facts;
        let length = u32::try_from(header.length).unwrap_or(u32::MAX);
        let reply = Reply { number, code, cursor, documents, length, form };
        let time = self.now();
        self.append(policy, Kind::Reply(reply), time, kept)
    }
}

/// The name of the request's command, as the client spelled it.
fn name<'a>(request: &Asked, message: &'a [u8]) -> &'a [u8] {
    if !request.is_command {
        return request.command.name().as_bytes();
    }
    let body = message.get(request.body_at..).unwrap_or_default();
    let body = if request.header.opcode == Opcode::Query { unwrapped(body) } else { body };
    elements(body).next().and_then(Result::ok).map_or(b"", |first| first.key)
}
