//! Read and write concerns, raised to what a level needs and never below what the client asked for.

use crate::doc::{BsonType, DocWriter, Element, Value, elements, find};

/// How long a write waits for a majority if its client did not ask for one, milliseconds.
pub(super) const WTIMEOUT_MS: i64 = 10_000;

/// Writes `readConcern` with level majority and a floor, from the client's own if there is one. One that is stronger, or
/// unknown, stays. The first statement of a transaction (`starts`) keeps its level, which is that of all the others:
/// with another one some commands are not allowed in it (6.0), and it would not see what it wrote itself.
pub(super) fn read_concern(own: Option<Value<'_>>, floor: u64, starts: bool, writer: &mut DocWriter<'_>) {
    let own_fields = own.and_then(|own| own.as_document());
    let field = |key| own_fields.and_then(|own| find(own, key)).map(|element| element.value);
    let said = |key| field(key).filter(|value| !matches!(value.kind, BsonType::Null | BsonType::Undefined));
    let level = said("level").and_then(|level| level.as_str());
    let is_raised = match level {
        Some("local" | "available" | "majority" | "snapshot") => true,
        None => said("level").is_none(),
        // Stronger, or the server's to refuse.
        Some(_) => false,
    };
    let is_raised = is_raised && said("afterClusterTime").is_none_or(|time| time.as_timestamp().is_some());
    if let Some(own) =
        own.filter(|own| !is_raised || own.as_document().is_none() || field("atClusterTime").is_some())
    {
        writer.value(b"readConcern", own);
        return;
    }
    let level = match level {
        own if starts => own,
        Some("snapshot") => Some("snapshot"),
        _ => Some("majority"),
    };
    let after = field("afterClusterTime").and_then(|time| time.as_timestamp()).unwrap_or(0).max(floor);
    writer.document(b"readConcern", |concern| {
        for element in others(own_fields, &[b"level", b"afterClusterTime"]) {
            concern.raw(&element);
        }
        if let Some(level) = level {
            concern.string(b"level", level);
        }
        if after > 0 {
            let value = Value { kind: BsonType::Timestamp, bytes: &after.to_le_bytes() };
            concern.value(b"afterClusterTime", value);
        }
    });
}

/// Whether `command` can be read as of `time`: nothing that its client asks for is later or stronger.
pub fn takes_snapshot(command: &[u8], time: u64) -> bool {
    let Some(own) = find(command, "readConcern") else { return true };
    let Some(own) = own.value.as_document() else { return false };
    elements(own).all(|element| {
        let Ok(Element { key, value, .. }) = element else { return false };
        match key {
            b"level" => matches!(value.as_str(), Some("local" | "available" | "majority" | "snapshot")),
            b"afterClusterTime" => value.as_timestamp().is_some_and(|after| after <= time),
            b"provenance" => true,
            _ => false,
        }
    })
}

/// Writes `readConcern` with level snapshot as of `time`.
pub(super) fn snapshot(own: Option<Value<'_>>, time: u64, writer: &mut DocWriter<'_>) {
    let own_fields = own.and_then(|own| own.as_document());
    writer.document(b"readConcern", |concern| {
        for element in others(own_fields, &[b"level", b"afterClusterTime"]) {
            concern.raw(&element);
        }
        concern.string(b"level", "snapshot");
        concern.value(b"atClusterTime", Value { kind: BsonType::Timestamp, bytes: &time.to_le_bytes() });
    });
}

/// Writes `writeConcern` with a majority, from the client's own if there is one. One that asks for more members than a
/// majority of `members`, or for a mode of the set's own or tags, stays: what that is worth is its author's to know.
pub(super) fn write_concern(own: Option<Value<'_>>, members: usize, writer: &mut DocWriter<'_>) {
    let own_fields = own.and_then(|own| own.as_document());
    let w = own_fields.and_then(|own| find(own, "w")).map(|element| element.value);
    // With fewer than three members known, others may not have been found yet.
    let more_than_majority = |w: i64| members >= 3 && w > (members / 2 + 1) as i64;
    let is_enough = match w {
        Some(w) if w.kind == BsonType::String => true,
        Some(w) if w.kind == BsonType::Document => true,
        Some(w) => w.as_i64().is_some_and(more_than_majority),
        None => false,
    };
    if let Some(own) = own.filter(|own| is_enough || own.as_document().is_none()) {
        writer.value(b"writeConcern", own);
        return;
    }
    writer.document(b"writeConcern", |concern| {
        concern.string(b"w", "majority");
        let mut has_timeout = false;
        for element in others(own_fields, &[b"w"]) {
            // 0 is none, and would be for ever.
            let is_timeout = element.key == b"wtimeout";
            if is_timeout && element.value.as_i64() == Some(0) {
                continue;
            }
            has_timeout |= is_timeout;
            concern.raw(&element);
        }
        if !has_timeout {
            concern.i64(b"wtimeout", WTIMEOUT_MS);
        }
    });
}

fn others<'a>(own: Option<&'a [u8]>, but: &'static [&'static [u8]]) -> impl Iterator<Item = Element<'a>> {
    let all = elements(own.unwrap_or_default()).map_while(Result::ok);
    all.filter(move |element| !but.contains(&element.key))
}
