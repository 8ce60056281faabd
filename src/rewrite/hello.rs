//! A client's hello reply, made from the monitor's copy of the member's own.
//!
//! A copy serves every client of a listener group until the next one arrives, so names are rewritten once for each
//! copy and group, for either spelling; what is left for each client is one copy of some 800 bytes and a connection
//! id.

use super::RewriteError;
use crate::doc::{BsonType, DocWriter, Element, Value, elements, find};
use crate::topology::GroupNames;

/// How the client called the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spelling {
    /// `hello`: the reply has `isWritablePrimary`.
    #[default]
    Modern,
    /// `isMaster` or `ismaster`: the reply has `ismaster` in that place, and `slaveDelay` for `secondaryDelaySecs`.
    Legacy,
}

/// What one client's reply differs in from another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HelloAsked {
    /// The spelling of the request.
    pub spelling: Spelling,
    /// Whether the client sent `helloOk`. mongod answers `helloOk: true` to `helloOk: false` too.
    pub hello_ok: bool,
    /// The id of the client's own connection: `connectionId` of the reply.
    pub connection_id: i32,
}

/// A hello reply ready for any client of one listener group. Immutable; a new copy makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloTemplate {
    modern: Rendered,
    legacy: Rendered,
}

/// One spelling's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rendered {
    document: Vec<u8>,
    /// Where the four bytes of `connectionId` are; servers before 4.2 send none.
    connection_id_at: Option<usize>,
}

/// `helloOk: true` as an element; mongod sends it first.
const HELLO_OK: &[u8] = b"\x08helloOk\0\x01";

impl HelloTemplate {
    /// Rewrites `copy`, a member's whole hello reply, for the clients of the group that knows members by `names`.
    ///
    /// A name that the group does not know is left out: of a list that is left empty the field goes too, as mongod
    /// sends none. What belongs to the hop between torana and the member is dropped: `helloOk`, `compression`,
    /// `saslSupportedMechs`, `speculativeAuthenticate`.
    pub fn new(copy: &[u8], names: &GroupNames) -> Result<HelloTemplate, RewriteError> {
        let modern = Rendered::new(copy, names, Spelling::Modern)?;
        let legacy = Rendered::new(copy, names, Spelling::Legacy)?;
        Ok(HelloTemplate { modern, legacy })
    }

    /// Appends the reply to one client to `out`, which is all that this allocates.
    #[inline]
    pub fn write(&self, asked: &HelloAsked, out: &mut Vec<u8>) {
        let rendered = match asked.spelling {
            Spelling::Modern => &self.modern,
            Spelling::Legacy => &self.legacy,
        };
        let added = if asked.hello_ok { HELLO_OK } else { &[] };
        let length = rendered.document.len() + added.len();
        let start = out.len();
        out.reserve(length);
        out.extend_from_slice(&(length as i32).to_le_bytes());
        out.extend_from_slice(added);
        out.extend_from_slice(rendered.document.get(4..).unwrap_or_default());
        let id_at = rendered.connection_id_at.map(|at| start + added.len() + at);
        if let Some(field) = id_at.and_then(|at| out.get_mut(at..at + 4)) {
            field.copy_from_slice(&asked.connection_id.to_le_bytes());
        }
    }

    /// Bytes of the longest reply that [`HelloTemplate::write`] appends.
    pub fn length_max(&self) -> usize {
        self.modern.document.len().max(self.legacy.document.len()) + HELLO_OK.len()
    }
}

impl Rendered {
    fn new(copy: &[u8], names: &GroupNames, spelling: Spelling) -> Result<Rendered, RewriteError> {
        let mut document = Vec::with_capacity(copy.len() + 64);
        let mut writer = DocWriter::begin(&mut document);
        for element in elements(copy) {
            let element = element?;
            let value = element.value;
            match element.key {
                b"helloOk" | b"compression" | b"saslSupportedMechs" | b"speculativeAuthenticate" => {}
                b"isWritablePrimary" | b"ismaster" => {
                    writer.value(spelled(spelling, b"isWritablePrimary", b"ismaster"), value);
                }
                b"secondaryDelaySecs" | b"slaveDelay" => {
                    writer.value(spelled(spelling, b"secondaryDelaySecs", b"slaveDelay"), value);
                }
                b"hosts" | b"passives" | b"arbiters" => list(&mut writer, &element, names)?,
                b"primary" | b"me" => {
                    if let Some(name) = client_name(&value, names) {
                        writer.string(element.key, name);
                    }
                }
                b"connectionId" => {
                    writer.i32(element.key, 0);
                }
                _ => {
                    writer.raw(&element);
                }
            }
        }
        writer.finish();
        let element = find(&document, "connectionId").filter(|id| id.value.kind == BsonType::Int32);
        let connection_id_at = element.map(|id| id.at + id.raw.len() - id.value.bytes.len());
        Ok(Rendered { document, connection_id_at })
    }
}

fn spelled(spelling: Spelling, modern: &'static [u8], legacy: &'static [u8]) -> &'static [u8] {
    match spelling {
        Spelling::Modern => modern,
        Spelling::Legacy => legacy,
    }
}

fn client_name<'n>(value: &Value<'_>, names: &'n GroupNames) -> Option<&'n str> {
    value.as_str().and_then(|own| names.to_client(own))
}

/// A list of members, by the names that clients know; without those that they do not.
fn list(writer: &mut DocWriter<'_>, element: &Element<'_>, names: &GroupNames) -> Result<(), RewriteError> {
    let Some(members) = element.value.as_document().filter(|_| element.value.kind == BsonType::Array) else {
        return Ok(());
    };
    let mut known = Vec::new();
    for member in elements(members) {
        known.extend(client_name(&member?.value, names));
    }
    if !known.is_empty() {
        writer.strings(element.key, known.into_iter());
    }
    Ok(())
}

/// A single reply, for those who do not keep the template.
pub fn render(
    copy: &[u8],
    names: &GroupNames,
    asked: &HelloAsked,
    out: &mut Vec<u8>,
) -> Result<(), RewriteError> {
    HelloTemplate::new(copy, names)?.write(asked, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Document, doc};

    fn names() -> GroupNames {
        let pairs = [("db1:27017", "Gate:1"), ("db2:27017", "gate:2"), ("arb:27017", "gate:3")];
        GroupNames::new(pairs.map(|(own, name)| (own.to_owned(), name.to_owned())))
    }

    fn copy() -> Document {
        doc! { "helloOk": true, "topologyVersion": { "counter": 6i64 }, "hosts": ["DB1:27017", "db2:27017", "db9:27017"],
        "passives": ["db9:27017"], "arbiters": ["arb:27017"], "setName": "rs0", "isWritablePrimary": true,
        "secondary": false, "primary": "db1:27017", "me": "db2:27017", "secondaryDelaySecs": 5, "tags": { "primary": "db1:27017" },
        "connectionId": 99, "compression": ["zlib"], "future": { "me": "x" }, "ok": 1.0, "operationTime": bson::Timestamp { time: 1, increment: 2 } }
    }

    fn reply(copy: &Document, asked: HelloAsked) -> Document {
        let mut out = vec![0xaa; 3];
        render(&bson::serialize_to_vec(copy).unwrap(), &names(), &asked, &mut out).unwrap();
        bson::deserialize_from_slice(&out[3..]).unwrap()
    }

    #[test]
    fn names_are_the_clients_and_all_else_is_the_members() {
        let asked = HelloAsked { connection_id: 7, ..HelloAsked::default() };
        let expected = doc! { "topologyVersion": { "counter": 6i64 }, "hosts": ["gate:1", "gate:2"],
        "arbiters": ["gate:3"], "setName": "rs0", "isWritablePrimary": true,
        "secondary": false, "primary": "gate:1", "me": "gate:2", "secondaryDelaySecs": 5, "tags": { "primary": "db1:27017" },
        "connectionId": 7, "future": { "me": "x" }, "ok": 1.0, "operationTime": bson::Timestamp { time: 1, increment: 2 } };
        assert_eq!(reply(&copy(), asked), expected);
    }

    #[test]
    fn a_legacy_reply_has_the_legacy_fields_in_the_same_places_and_hello_ok_first() {
        let asked = HelloAsked { spelling: Spelling::Legacy, hello_ok: true, connection_id: -1 };
        let legacy = reply(&copy(), asked);
        let keys: Vec<_> = legacy.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "helloOk",
                "topologyVersion",
                "hosts",
                "arbiters",
                "setName",
                "ismaster",
                "secondary",
                "primary",
                "me",
                "slaveDelay",
                "tags",
                "connectionId",
                "future",
                "ok",
                "operationTime"
            ]
        );
        assert_eq!(legacy.get_i32("connectionId").unwrap(), -1);
    }

    #[test]
    fn a_name_without_a_mapping_is_never_shown() {
        let unknown = doc! { "hosts": ["db8:27017"], "primary": "db9:27017", "me": "db8:27017", "ok": 1.0 };
        assert_eq!(reply(&unknown, HelloAsked::default()), doc! { "ok": 1.0 });
    }

    #[test]
    fn a_truncated_copy_is_an_error() {
        let bytes = bson::serialize_to_vec(&copy()).unwrap();
        assert!((0..bytes.len()).all(|end| HelloTemplate::new(&bytes[..end], &names()).is_err()));
    }
}
