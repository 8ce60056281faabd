//! What a driver does for an application: connections to the members through one torana, writes sent again until their
//! outcome is known, another torana when one does not answer.

use std::time::Duration;

use bson::{Document, Uuid, doc};

use super::book::Book;
use super::dice::Dice;
use crate::support::RawClient;
use crate::support::raw::is_ok;

/// Longer than any member or torana stands still here; most connections end sooner, as torana gives members up.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// Three members.
const MEMBERS: usize = 3;

/// The database of all that is written here.
pub const DATABASE: &str = "app";

/// Connections of one application, all to one torana at a time.
pub struct Session<'a> {
    /// Where toranas are.
    pub book: &'a Book,
    torana: usize,
    connections: [Option<RawClient>; MEMBERS],
    /// Who took a write last.
    primary: usize,
    /// How often it went to another torana.
    pub moves: u64,
    /// How often it connected anew to the one where it was.
    pub returns: u64,
}

/// The session of client `number`, as the oplog has it too.
pub fn session_id(number: u32) -> Uuid {
    let mut bytes = *b"history client..";
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    Uuid::from_bytes(bytes)
}

/// The number of the client whose session it is.
pub fn client_of(session: &Uuid) -> Option<u32> {
    let bytes = session.bytes();
    let number = bytes.strip_prefix(b"history clie")?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

impl<'a> Session<'a> {
    /// With no connection yet, at torana `torana`.
    pub fn new(book: &'a Book, torana: usize) -> Session<'a> {
        Session { book, torana, connections: [const { None }; MEMBERS], primary: 0, moves: 0, returns: 0 }
    }

    /// Goes to any torana, with new connections, as a driver does that a load balancer sends elsewhere.
    pub fn go(&mut self, dice: &mut Dice) {
        self.connections = [const { None }; MEMBERS];
        let torana = dice.below(self.book.toranas() as u64) as usize;
        if torana == self.torana {
            self.returns += 1
        } else {
            self.moves += 1
        }
        self.torana = torana;
    }

    /// A command on a member; `None` if the connection broke or never was.
    fn ask(&mut self, member: usize, command: &Document) -> Option<Document> {
        let connection = match &mut self.connections[member] {
            Some(connection) => connection,
            none => {
                let address = self.book.listener(self.torana, member);
                let mut new = RawClient::try_connect(address.as_str()).ok()?;
                new.set_timeout(SILENCE_MAX);
                none.insert(new)
            }
        };
        let database = if command.contains_key("commitTransaction") { "admin" } else { DATABASE };
        let reply = connection.try_command(database, command.clone());
        if reply.is_err() {
            self.connections[member] = None;
        }
        reply.ok()
    }

    /// A read on a member of chance, to its cursor's end; or the code of its error, 0 if there was no answer.
    pub fn read(&mut self, dice: &mut Dice, mut command: Document) -> Result<Vec<Document>, i32> {
        let member = dice.below(MEMBERS as u64) as usize;
        command.insert("$readPreference", doc! { "mode": "nearest" });
        let mut replies = Vec::new();
        loop {
            let reply = self.ask(member, &command).ok_or(0)?;
            if !is_ok(&reply) {
                return Err(reply.get_i32("code").unwrap_or(-1));
            }
            let cursor = reply.get_document("cursor").ok();
            let next = cursor.and_then(|cursor| {
                let (id, ns) = (cursor.get_i64("id").ok()?, cursor.get_str("ns").ok()?);
                let collection = ns.split_once('.')?.1;
                (id != 0).then(|| doc! { "getMore": id, "collection": collection })
            });
            replies.push(reply);
            match next {
                Some(next) => command = next,
                None => return Ok(replies),
            }
        }
    }

    /// A write on whoever took the last; what is no success has the next one asked.
    pub fn write(&mut self, command: &Document) -> Option<Document> {
        self.ask(self.primary, command)
    }

    /// The member that was asked to write did not.
    pub fn was_no_primary(&mut self) {
        self.primary = (self.primary + 1) % MEMBERS;
    }
}
