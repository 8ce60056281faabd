//! A captured request made into one that the target understands: cursor ids, sessions, cluster times and ids that the
//! server made are replaced by those of this run. Bytes are edited where they stand; nothing is decoded and encoded again.
//!
//! A request is edited when it is sent, because what it refers to is known only from the replies to those before it.

use std::cell::RefCell;

use super::job::{CursorUse, Job};
use super::recent::Recent;
use super::view::View;
use crate::doc::{BsonType, Element, elements, find};
use crate::wire::{
    HEADER_LEN, Header, MsgFlags, OpMsg, Opcode, Section, Side, read_i32, read_i64, write_checksum,
};

/// Open cursors, sessions and ids that are remembered, each.
const REMEMBERED_MAX: usize = 200_000;

/// Documents are looked through for ids to this depth; servers take none that are deeper.
const DEPTH_MAX: usize = 100;

/// A cursor of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Its id on the target.
    pub id: i64,
    /// The member that it is open on.
    pub member: usize,
}

/// What stands for what.
#[derive(Debug)]
pub struct Maps {
    cursors: Recent<(u32, i64), Cursor>,
    /// The newest operationTime of each session of this run.
    times: Recent<[u8; 16], u64>,
    ids: Recent<(u32, [u8; 12]), [u8; 12]>,
    key: [u8; 32],
    /// Sessions as they were made before.
    sessions: RefCell<Recent<Session, [u8; 16]>>,
    /// Room for the edits of one message.
    edits: RefCell<Vec<Edit>>,
}

/// What a request refers to does not exist on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmatched;

/// Bytes to be put over those at a place, or taken out there.
#[derive(Debug)]
enum Edit {
    Put { at: usize, bytes: [u8; 16], length: usize },
    TakeOut { at: usize, length: usize, lengths_at: [usize; 2] },
}

/// A captured session: its pass over the capture, and its id.
type Session = (u32, [u8; 16]);

impl Maps {
    /// For one run, whose sessions are derived from `key`.
    pub fn new(key: [u8; 32]) -> Maps {
        let (cursors, times, ids) =
            (Recent::new(REMEMBERED_MAX), Recent::new(REMEMBERED_MAX), Recent::new(REMEMBERED_MAX));
        let sessions = RefCell::new(Recent::new(REMEMBERED_MAX));
        Maps { cursors, times, ids, key, sessions, edits: RefCell::default() }
    }

    /// The session that stands for a captured one: another in each run and each pass, the same within one.
    pub fn session(&self, lap: u32, captured: &[u8; 16]) -> [u8; 16] {
        let known = self.sessions.borrow().get(&(lap, *captured)).copied();
        known.unwrap_or_else(|| {
            let session = self.new_session(lap, captured);
            self.sessions.borrow_mut().insert((lap, *captured), session);
            session
        })
    }

    fn new_session(&self, lap: u32, captured: &[u8; 16]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&lap.to_le_bytes());
        hasher.update(captured);
        let mut id = [0; 16];
        id.iter_mut().zip(hasher.finalize().as_bytes()).for_each(|(mine, byte)| *mine = *byte);
        // A random UUID's version and variant.
        id[6] = (id[6] & 0x0f) | 0x40;
        id[8] = (id[8] & 0x3f) | 0x80;
        id
    }

    /// `new` stands for the cursor that was `captured`; 0 if there is none any more.
    pub fn set_cursor(&mut self, lap: u32, captured: i64, new: i64, member: usize) {
        match new {
            0 => drop(self.cursors.remove(&(lap, captured))),
            id => self.cursors.insert((lap, captured), Cursor { id, member }),
        }
    }

    /// The cursor that stands for a captured one.
    pub fn cursor(&self, lap: u32, captured: i64) -> Option<Cursor> {
        self.cursors.get(&(lap, captured)).copied()
    }

    /// A reply in a session has this operationTime.
    pub fn set_time(&mut self, session: [u8; 16], time: u64) {
        match self.times.get_mut(&session) {
            Some(newest) => *newest = time.max(*newest),
            None => self.times.insert(session, time),
        }
    }

    /// The id that the server made now stands for the one that it made when it was captured.
    pub fn set_id(&mut self, lap: u32, captured: [u8; 12], new: [u8; 12]) {
        if captured != new {
            self.ids.insert((lap, captured), new);
        }
    }

    /// Replaces the ids in `bytes`, a message, that the server made when it was captured.
    pub fn replace_ids(&self, lap: u32, message: &mut [u8]) {
        if self.ids.is_empty() {
            return;
        }
        let mut places = Vec::new();
        for at in documents_at(message) {
            self.ids_in(lap, message.get(at..).unwrap_or_default(), at, 0, &mut places);
        }
        for (at, id) in places {
            if let Some(field) = message.get_mut(at..at + 12) {
                field.copy_from_slice(&id);
            }
        }
    }

    fn ids_in(&self, lap: u32, document: &[u8], at: usize, depth: usize, out: &mut Vec<(usize, [u8; 12])>) {
        for element in elements(document).map_while(Result::ok) {
            let value_at = at + value_place(&element);
            match (element.value.as_object_id(), element.value.as_document()) {
                (Some(id), _) => out.extend(self.ids.get(&(lap, *id)).map(|new| (value_at, *new))),
                (_, Some(inner)) if depth < DEPTH_MAX => {
                    self.ids_in(lap, inner, value_at, depth + 1, out);
                }
                _ => {}
            }
        }
    }

    /// Edits the job's message for a connection to `member`.
    pub fn rewrite(&self, job: &mut Job, member: usize) -> Result<(), Unmatched> {
        let lap = job.connection.lap;
        let mut edits = self.edits.take();
        edits.clear();
        let edited = self.find_edits(job, member, &mut edits).and_then(|()| make(&edits, job));
        self.edits.replace(edits);
        edited?;
        Header::patch_length(&mut job.message);
        self.replace_ids(lap, &mut job.message);
        finish_flags(&mut job.message);
        Ok(())
    }

    /// The edits, in the order of their places.
    fn find_edits(&self, job: &Job, member: usize, edits: &mut Vec<Edit>) -> Result<(), Unmatched> {
        let lap = job.connection.lap;
        let body_at = body_at(&job.message).ok_or(Unmatched)?;
        let body = job.message.get(body_at..).unwrap_or_default();
        for (place, element) in elements(body).map_while(Result::ok).enumerate() {
            let at = body_at + value_place(&element);
            match element.key {
                _ if place == 0 => self.first_edit(job, member, &element, at, edits)?,
                b"cursors" if job.cursors == CursorUse::Kill => {
                    self.killed_edits(lap, &element, at, edits)?;
                }
                b"lsid" => self.session_edit(lap, element.value.as_document(), at, edits),
                b"$clusterTime" => edits.push(Edit::TakeOut {
                    at: body_at + element.at,
                    length: element.raw.len(),
                    lengths_at: [body_at, body_at],
                }),
                b"readConcern" => self.time_edits(job, element.value.as_document(), (body_at, at), edits),
                _ => {}
            }
        }
        Ok(())
    }

    fn first_edit(
        &self,
        job: &Job,
        member: usize,
        first: &Element<'_>,
        at: usize,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Unmatched> {
        match (job.cursors, first.key) {
            (CursorUse::More(captured), _) => {
                let cursor = self.cursor(job.connection.lap, captured).ok_or(Unmatched)?;
                if cursor.member != member || first.value.kind != BsonType::Int64 {
                    return Err(Unmatched);
                }
                edits.push(put(at, &cursor.id.to_le_bytes()));
            }
            (_, b"endSessions" | b"refreshSessions") => {
                for lsid in elements(first.value.as_document().unwrap_or_default()).map_while(Result::ok) {
                    let at = at + value_place(&lsid);
                    self.session_edit(job.connection.lap, lsid.value.as_document(), at, edits);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn killed_edits(
        &self,
        lap: u32,
        list: &Element<'_>,
        at: usize,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Unmatched> {
        let mut known = 0;
        for id in elements(list.value.as_document().unwrap_or_default()).map_while(Result::ok) {
            let captured = read_i64(id.value.bytes, 0).filter(|_| id.value.kind == BsonType::Int64);
            let cursor = captured.and_then(|captured| self.cursor(lap, captured));
            known += usize::from(cursor.is_some());
            // An id that stands for nothing must not hit a cursor of somebody else's.
            if let (Some(_), id_now) = (captured, cursor.map_or(0, |cursor| cursor.id)) {
                edits.push(put(at + value_place(&id), &id_now.to_le_bytes()));
            }
        }
        if known > 0 { Ok(()) } else { Err(Unmatched) }
    }

    fn session_edit(&self, lap: u32, lsid: Option<&[u8]>, at: usize, edits: &mut Vec<Edit>) {
        let Some(id) = lsid.and_then(|lsid| find(lsid, "id")) else { return };
        let Some(captured) = id.value.as_binary().and_then(|bytes| bytes.try_into().ok()) else { return };
        // Behind the length and the subtype of the binary.
        edits.push(put(at + value_place(&id) + 5, &self.session(lap, captured)));
    }

    /// The times of another set mean nothing here: those that this session has seen do.
    fn time_edits(
        &self,
        job: &Job,
        concern: Option<&[u8]>,
        (body_at, at): (usize, usize),
        edits: &mut Vec<Edit>,
    ) {
        let session = job.session.map(|captured| self.session(job.connection.lap, &captured));
        let time = session.and_then(|session| self.times.get(&session));
        for element in elements(concern.unwrap_or_default()).map_while(Result::ok) {
            if !matches!(element.key, b"afterClusterTime" | b"atClusterTime") {
                continue;
            }
            match time {
                Some(time) if element.value.kind == BsonType::Timestamp => {
                    edits.push(put(at + value_place(&element), &time.to_le_bytes()));
                }
                _ => edits.push(Edit::TakeOut {
                    at: at + element.at,
                    length: element.raw.len(),
                    lengths_at: [body_at, at],
                }),
            }
        }
    }
}

/// Where an element's value begins, bytes from its document's first.
fn value_place(element: &Element<'_>) -> usize {
    element.at + element.raw.len() - element.value.bytes.len()
}

fn put(at: usize, bytes: &[u8]) -> Edit {
    let mut held = [0; 16];
    held.iter_mut().zip(bytes).for_each(|(mine, byte)| *mine = *byte);
    Edit::Put { at, bytes: held, length: bytes.len().min(16) }
}

/// Makes the edits, which are in the order of their places.
fn make(edits: &[Edit], job: &mut Job) -> Result<(), Unmatched> {
    for edit in edits {
        if let Edit::Put { at, bytes, length } = edit {
            let field = job.message.get_mut(*at..at + length).ok_or(Unmatched)?;
            field.copy_from_slice(bytes.get(..*length).ok_or(Unmatched)?);
        }
    }
    // From the back, so that the places in front stay.
    for edit in edits.iter().rev() {
        if let Edit::TakeOut { at, length, lengths_at } = edit {
            take_out(&mut job.message, *at, *length, *lengths_at)?;
        }
    }
    Ok(())
}

/// Where the command document begins. Nearly always it is the first section.
fn body_at(message: &[u8]) -> Option<usize> {
    const FIRST: usize = HEADER_LEN + 5;
    let is_msg = read_i32(message, 12) == Some(Opcode::Msg as i32);
    match message.get(FIRST - 1) {
        Some(0) if is_msg => Some(FIRST),
        _ => View::of(message).ok().map(|view| view.body_at),
    }
}

fn take_out(
    message: &mut Vec<u8>,
    at: usize,
    length: usize,
    [outer, inner]: [usize; 2],
) -> Result<(), Unmatched> {
    // In the body itself, or in a document of it.
    let places = [outer, inner].into_iter().take(if outer == inner { 1 } else { 2 });
    for place in places {
        let shorter = read_i32(message, place).ok_or(Unmatched)? - length as i32;
        let field = message.get_mut(place..place + 4).ok_or(Unmatched)?;
        field.copy_from_slice(&shorter.to_le_bytes());
    }
    if at + length > message.len() {
        return Err(Unmatched);
    }
    message.drain(at..at + length);
    Ok(())
}

/// One reply to one request, whatever the client allowed; and a checksum of what is sent now.
fn finish_flags(message: &mut [u8]) {
    if read_i32(message, 12) != Some(Opcode::Msg as i32) {
        return;
    }
    let Some(flags) = OpMsg::peek_flags(message) else { return };
    let now = flags.0 & !MsgFlags::EXHAUST_ALLOWED;
    if let Some(field) = message.get_mut(HEADER_LEN..HEADER_LEN + 4) {
        field.copy_from_slice(&now.to_le_bytes());
    }
}

/// Gives the message its requestID; its checksum, if it has one, is that of the whole.
pub fn stamp(message: &mut [u8], request_id: i32) {
    Header::patch_request_id(message, request_id);
    Header::patch_response_to(message, 0);
    let is_msg = read_i32(message, 12) == Some(Opcode::Msg as i32);
    if is_msg && OpMsg::peek_flags(message).is_some_and(MsgFlags::checksum_present) {
        write_checksum(message);
    }
}

/// Where the documents of a message begin: the body, and those of its sequences.
fn documents_at(message: &[u8]) -> Vec<usize> {
    let place = |part: &[u8]| part.as_ptr() as usize - message.as_ptr() as usize;
    if let Ok(msg) = OpMsg::parse(message, Side::Client) {
        let mut places = Vec::new();
        for section in msg.sections().map_while(Result::ok) {
            match section {
                Section::Body(body) => places.push(place(body)),
                Section::Sequence { documents, .. } => {
                    places.extend(crate::capture::digest::documents(documents).map(place));
                }
            }
        }
        return places;
    }
    View::of(message).map(|view| vec![view.body_at]).unwrap_or_default()
}

#[cfg(test)]
#[path = "remap_tests.rs"]
mod tests;
