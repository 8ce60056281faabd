//! `torana capture cat` and `export`: records as JSON, one a line.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::filter::{Filter, for_each};
use crate::capture::decode;
use crate::capture::digest::documents;
use crate::capture::{Asked, Form, Kind, Record, Reply, Request, Role};
use crate::wire::{LegacyRequest, OpMsg, OpQuery, OpReply, Opcode, Section, Side, read_i32};

/// Print a capture's records, one JSON document a line
///
/// Bodies are relaxed extended JSON, as mongosh and jq read it. Damage is told on standard error.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder, or one file of it
    capture: PathBuf,

    /// Without the bodies of messages
    #[arg(long)]
    brief: bool,

    #[command(flatten)]
    filter: Filter,
}

/// Write a capture's records to a file, one JSON document a line
#[derive(Debug, clap::Args)]
pub(super) struct ExportArguments {
    #[command(flatten)]
    cat: Arguments,

    /// The file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Prints them. Whoever reads may stop reading.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match write(arguments, &mut BufWriter::new(io::stdout().lock())) {
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// Writes them to the file.
pub(super) fn run_export(arguments: &ExportArguments) -> anyhow::Result<()> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(&arguments.out);
    let file = file.with_context(|| arguments.out.display().to_string())?;
    write(&arguments.cat, &mut BufWriter::new(file))
}

fn write(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<()> {
    let mut chosen = arguments.filter.chosen();
    let damage = for_each(&arguments.capture, |record| {
        if chosen.takes(record) {
            serde_json::to_writer(&mut *out, &shown(record, arguments.brief)).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        Ok(true)
    })?;
    out.flush()?;
    damage.iter().for_each(|what| eprintln!("damage: {what}"));
    Ok(())
}

/// A record in JSON.
fn shown(record: &Record<'_>, brief: bool) -> Value {
    let mut line = Map::new();
    let mut put = |key: &str, value: Value| drop(line.insert(key.to_owned(), value));
    put("connection", record.connection.into());
    put("time", json!(record.time as f64 / 1e9));
    let (kind, rest) = match &record.kind {
        Kind::Opened(opened) => {
            let role = match opened.role {
                Role::Primary => "primary",
                Role::Secondary => "secondary",
                Role::Other => "other",
            };
            let facts = json!({ "role": role, "member": opened.member, "client": opened.client,
                "application": opened.application });
            ("opened", facts)
        }
        Kind::Request(request) => ("request", request_facts(request, brief)),
        Kind::Reply(reply) => ("reply", reply_facts(reply, brief)),
        Kind::Closed(in_order) => ("closed", json!({ "inOrder": in_order })),
        Kind::Lost(why) => ("lost", json!({ "why": why })),
        Kind::Other(number) => ("other", json!({ "number": number })),
    };
    put("kind", kind.into());
    if let Value::Object(rest) = rest {
        line.extend(rest);
    }
    Value::Object(line)
}

fn request_facts(request: &Request<'_>, brief: bool) -> Value {
    let asked = Asked::of(request.message);
    let mut facts = json!({
        "number": request.number,
        "command": String::from_utf8_lossy(asked.command),
        "namespace": asked.namespace(),
        "length": request.message.len(),
    });
    if request.wants_none {
        facts["wantsNone"] = true.into();
    }
    if request.withheld {
        facts["withheld"] = true.into();
    }
    if !brief {
        facts["body"] = body(request.message, Side::Client);
    }
    facts
}

fn reply_facts(reply: &Reply<'_>, brief: bool) -> Value {
    let mut facts = json!({ "number": reply.number, "code": reply.code, "cursor": reply.cursor,
        "documents": reply.documents, "length": reply.length });
    match reply.form {
        Form::Whole(message) if !brief => facts["body"] = body(message, Side::Server),
        Form::Digest(digest) => {
            facts["digest"] = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        }
        Form::TooLarge => facts["tooLarge"] = true.into(),
        Form::Whole(_) | Form::None => {}
    }
    facts
}

/// The documents of a message; those of sequences under the fields that they stand for.
fn body(message: &[u8], side: Side) -> Value {
    let unreadable = || json!({ "$unreadable": message.len() });
    match read_i32(message, 12).and_then(Opcode::from_i32) {
        Some(Opcode::Msg) => {
            let Ok(msg) = OpMsg::parse(message, side) else { return unreadable() };
            let mut body = document(msg.body);
            for section in msg.sections().map_while(Result::ok) {
                if let Section::Sequence { identifier, documents } = section {
                    body[String::from_utf8_lossy(identifier).into_owned()] = all(documents);
                }
            }
            body
        }
        Some(Opcode::Query) => match OpQuery::parse(message, side) {
            Ok(query) => document(query.query),
            Err(_) => unreadable(),
        },
        Some(Opcode::Reply) => match message.get(OpReply::DOCUMENTS_AT..) {
            Some(documents) => all(documents),
            None => unreadable(),
        },
        Some(opcode @ (Opcode::Insert | Opcode::Update | Opcode::Delete)) => {
            let Ok(request) = LegacyRequest::parse(message, opcode, side) else { return unreadable() };
            let flags = if opcode == Opcode::Insert { 0 } else { 4 };
            all(request.rest.get(flags..).unwrap_or_default())
        }
        _ => Value::Null,
    }
}

fn all(bytes: &[u8]) -> Value {
    documents(bytes).map(document).collect::<Vec<Value>>().into()
}

fn document(bytes: &[u8]) -> Value {
    match decode::document(bytes) {
        Ok(document) => bson::Bson::Document(document).into_relaxed_extjson(),
        Err(error) => json!({ "$unreadable": error }),
    }
}
