//! Documents of the profiler as commands: those of MongoDB 3.6 and later hold them whole, or one statement of a write; those
//! before, and flashback's, hold the parts of a legacy message.

use super::input::name;
use super::tally::Skip;
use crate::capture::facts::Facts;
use crate::doc::{BsonType, DocWriter, Element, Value, elements, find};

/// What the profiler has in place of a command that was too long for it.
const TRUNCATED: &str = "$truncated";

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// When it began, nanoseconds since 1970.
    pub start: i64,
    /// When it had ended.
    pub end: i64,
    /// Whose it was.
    pub client: String,
    /// The client's application.
    pub application: String,
    /// The command, a document.
    pub command: Vec<u8>,
    /// What is known of its reply, and its length in bytes; `None` if the document does not tell.
    pub reply: Option<(Facts, u32)>,
}

/// When the operation of a document had ended, nanoseconds since 1970.
pub fn time(document: &[u8]) -> Option<i64> {
    let time = find(document, "ts")?.value;
    match time.kind {
        BsonType::DateTime => time.as_date_millis()?.checked_mul(1_000_000),
        // The oplog's, which flashback has in its inserts.
        BsonType::Timestamp => i64::try_from(time.as_timestamp()? >> 32).ok()?.checked_mul(1_000_000_000),
        _ => None,
    }
}

/// The operation of a document.
pub fn read(document: &[u8]) -> Result<Op, Skip> {
    let document = Document(document);
    let kind = document.text("op").ok_or(Skip::NoOperation)?;
    let (database, collection) =
        document.text("ns").and_then(|ns| ns.split_once('.')).ok_or(Skip::NoOperation)?;
    let end = time(document.0).ok_or(Skip::NoTime)?;
    if collection == "system.profile" {
        return Err(Skip::ProfileItself);
    }
    let millis = document.number("millis");
    let client = document.text("client").filter(|client| !client.is_empty());
    // The server's own have none; flashback's have neither this nor a duration.
    let client = match (client, millis) {
        (Some(client), _) => client,
        (None, None) => "unknown",
        (None, Some(_)) => return Err(Skip::NoClient),
    };
    let command = document.command(kind, database, collection)?;
    let start = end.saturating_sub(millis.unwrap_or(0).max(0).saturating_mul(1_000_000));
    Ok(Op {
        start,
        end,
        client: name(client).to_owned(),
        application: name(document.text("appName").unwrap_or_default()).to_owned(),
        reply: millis.and_then(|_| document.reply(kind, &command)),
        command,
    })
}

/// A document of the profiler.
struct Document<'a>(&'a [u8]);

impl<'a> Document<'a> {
    fn value(&self, name: &str) -> Option<Value<'a>> {
        find(self.0, name).map(|field| field.value)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.value(name)?.as_str()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.value(name)?.as_i64()
    }

    fn document(&self, name: &str) -> Option<&'a [u8]> {
        let value = self.value(name)?;
        if value.kind == BsonType::Document { value.as_document() } else { None }
    }

    /// What was asked, as it would be asked today.
    fn command(&self, kind: &str, database: &str, collection: &str) -> Result<Vec<u8>, Skip> {
        let body = self.document("command").or_else(|| self.document("query"));
        let is_cut = |name: &str| self.value(name).is_some_and(|value| is_truncated(&value));
        if ["command", "query", "updateobj", "o"].into_iter().any(is_cut) {
            return Err(Skip::Truncated);
        }
        let first = body.and_then(|body| elements(body).next()).and_then(Result::ok);
        let is = |name: &str| {
            first.is_some_and(|first| {
                first.key == name.as_bytes()
                    && (name == "getMore" || first.value.as_str() == Some(collection))
            })
        };
        let is_statement = first.is_some_and(|first| first.key == b"q");
        let has = |name: &str| body.is_some_and(|body| find(body, name).is_some());
        let to = Target { database, collection };
        match (kind, body) {
            ("command", Some(body)) if first.is_some() => whole(body, to),
            ("query", Some(body)) if is("find") => whole(body, to),
            ("query", Some(body)) => Ok(self.find(body, to)),
            ("insert", Some(body)) if is("insert") && has("documents") => whole(body, to),
            ("insert", _) => match self.document("o") {
                Some(document) => Ok(to.statements("insert", "documents", |list| {
                    list.value(b"0", nested(document));
                })),
                None => Err(Skip::NoDocuments),
            },
            ("update", Some(body)) if is_statement => Ok(to.statement("update", "updates", body)),
            ("update", Some(body)) if is("update") && has("updates") => whole(body, to),
            ("update", Some(body)) => self.update(body, to),
            ("remove", Some(body)) if is_statement => Ok(to.statement("delete", "deletes", body)),
            ("remove", Some(body)) if is("delete") && has("deletes") => whole(body, to),
            ("remove", Some(body)) => Ok(self.remove(body, to)),
            ("getmore", Some(body)) if is("getMore") => whole(body, to),
            ("getmore", _) => self.get_more(to),
            ("command", _) => Err(Skip::NoOperation),
            _ => Err(Skip::Operation),
        }
    }

    /// A legacy query: a filter, or one in `$query` with what else is asked.
    fn find(&self, body: &[u8], to: Target<'_>) -> Vec<u8> {
        let field = |name: &str| find(body, name).map(|field| field.value);
        let wrapped = ["$query", "query"].into_iter().find_map(|name| {
            elements(body)
                .next()
                .and_then(Result::ok)
                .filter(|first| first.key == name.as_bytes())?
                .value
                .as_document()
        });
        let (skip, limit) = (self.number("ntoskip"), self.number("ntoreturn").filter(|limit| *limit != 0));
        to.document("find", |command| {
            command.value(b"filter", nested(wrapped.unwrap_or(body)));
            if wrapped.is_some() {
                for (name, legacy) in [("sort", "$orderby"), ("sort", "orderby"), ("hint", "$hint")] {
                    if let Some(value) = field(legacy) {
                        command.value(name.as_bytes(), value);
                    }
                }
            }
            if let Some(skip) = skip {
                command.i64(b"skip", skip.max(0));
            }
            if let Some(limit) = limit {
                command.i64(b"limit", limit.saturating_abs());
            }
            // Below zero: so many, and no cursor.
            if limit.is_some_and(|limit| limit < 0) {
                command.bool(b"singleBatch", true);
            }
        })
    }

    fn update(&self, filter: &[u8], to: Target<'_>) -> Result<Vec<u8>, Skip> {
        let change = self
            .value("updateobj")
            .filter(|change| change.as_document().is_some())
            .ok_or(Skip::NoDocuments)?;
        let flag = |name: &str| self.value(name).filter(|flag| flag.kind == BsonType::Boolean);
        Ok(to.statements("update", "updates", |list| {
            list.document(b"0", |statement| {
                statement.value(b"q", nested(filter)).value(b"u", change);
                for name in ["multi", "upsert"] {
                    if let Some(flag) = flag(name) {
                        statement.value(name.as_bytes(), flag);
                    }
                }
            });
        }))
    }

    /// How many it was to remove is not told: one, as flashback plays it, unless more were.
    fn remove(&self, filter: &[u8], to: Target<'_>) -> Vec<u8> {
        let limit = i32::from(self.number("ndeleted").unwrap_or(0) <= 1);
        to.statements("delete", "deletes", |list| {
            list.document(b"0", |statement| {
                statement.value(b"q", nested(filter)).i32(b"limit", limit);
            });
        })
    }

    fn get_more(&self, to: Target<'_>) -> Result<Vec<u8>, Skip> {
        let cursor = self.number("cursorid").ok_or(Skip::Operation)?;
        let batch = self.number("ntoreturn").filter(|batch| *batch > 0);
        let mut out = Vec::new();
        let mut command = DocWriter::begin(&mut out);
        command.i64(b"getMore", cursor).string(b"collection", to.collection);
        if let Some(batch) = batch {
            command.i64(b"batchSize", batch);
        }
        command.string(b"$db", to.database);
        command.finish();
        Ok(out)
    }

    /// What the profile says of the reply: as much as a capture keeps of every reply.
    fn reply(&self, kind: &str, command: &[u8]) -> Option<(Facts, u32)> {
        let length = self.number("responseLength").and_then(|length| u32::try_from(length).ok()).unwrap_or(0);
        // Errors of a statement are within a reply that is no error.
        if matches!(kind, "update" | "remove" | "insert") {
            return Some((Facts::default(), length));
        }
        let code = ["errCode", "exceptionCode"].into_iter().find_map(|name| self.number(name));
        let failed = self.value("ok").and_then(|ok| ok.as_bool()) == Some(false) || code.is_some();
        let code = code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
        if failed {
            return Some((Facts { code, cursor: 0, documents: 0 }, length));
        }
        let is_done = self.value("cursorExhausted").and_then(|done| done.as_bool()) == Some(true);
        let cursor = self.number("cursorid").filter(|_| !is_done).unwrap_or(0);
        let name = elements(command).next().and_then(Result::ok).map_or(b"".as_slice(), |first| first.key);
        let returned = self.number("nreturned").and_then(|count| u32::try_from(count).ok());
        let documents = match name {
            b"find" | b"getMore" | b"aggregate" => returned.unwrap_or(0),
            // How many there were is not told, and 0 would be a difference.
            b"distinct" | b"listCollections" | b"listIndexes" => return None,
            _ => 0,
        };
        Some((Facts { code: 0, cursor, documents }, length))
    }
}

/// What a command is for.
#[derive(Clone, Copy)]
struct Target<'a> {
    database: &'a str,
    collection: &'a str,
}

impl Target<'_> {
    /// `{name: collection, ..., $db: database}`.
    fn document(self, name: &str, fill: impl FnOnce(&mut DocWriter<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        let mut command = DocWriter::begin(&mut out);
        command.string(name.as_bytes(), self.collection);
        fill(&mut command);
        command.string(b"$db", self.database);
        command.finish();
        out
    }

    /// A write of statements.
    fn statements(self, name: &str, list: &str, fill: impl FnOnce(&mut DocWriter<'_>)) -> Vec<u8> {
        self.document(name, |command| {
            command.array(list.as_bytes(), fill);
        })
    }

    /// A write of this one statement.
    fn statement(self, name: &str, list: &str, statement: &[u8]) -> Vec<u8> {
        self.statements(name, list, |list| {
            list.value(b"0", nested(statement));
        })
    }
}

/// A command as it was given, on its database.
fn whole(body: &[u8], to: Target<'_>) -> Result<Vec<u8>, Skip> {
    let fields: Result<Vec<Element<'_>>, _> = elements(body).collect();
    let fields = fields.map_err(|_| Skip::BadDocument)?;
    let is_no = |field: &Element<'_>| field.key == b"autocommit" && field.value.as_bool() == Some(false);
    if fields.iter().any(is_no) {
        return Err(Skip::Transaction);
    }
    let mut out = Vec::new();
    let mut command = DocWriter::begin(&mut out);
    for field in fields.iter().filter(|field| field.key != b"$db") {
        command.raw(field);
    }
    let named = fields.iter().find(|field| field.key == b"$db").and_then(|field| field.value.as_str());
    command.string(b"$db", named.unwrap_or(to.database));
    command.finish();
    Ok(out)
}

/// A document as a value.
fn nested(document: &[u8]) -> Value<'_> {
    Value { kind: BsonType::Document, bytes: document }
}

/// The profiler puts text in the place of what is longer than some 50 KB.
fn is_truncated(value: &Value<'_>) -> bool {
    value.kind == BsonType::String
        || value.as_document().is_some_and(|inner| find(inner, TRUNCATED).is_some())
}
