//! What a workload would do, in words and commands; nothing is sent.

use std::fmt::Write;

use super::engine::Source;
use super::source::{Documents, Operations};
use super::workload::Workload;
use crate::capture::decode;
use crate::replay::view::documents_of;

/// Commands that are shown.
const SHOWN: usize = 12;

/// Bytes of a command or a document that are shown.
const SHOWN_MAX: usize = 400;

/// What would be loaded, and the first commands that would be sent.
pub fn text(workload: &Workload, no_load: bool) -> String {
    let mut out = String::from("Dry run: nothing is sent\n");
    match &workload.load {
        Some(load) if !no_load => {
            let Workload { database, .. } = workload;
            let _ =
                writeln!(out, "\nLoads {} documents into {database}.{}:", load.documents, load.collection);
            let mut document = Vec::new();
            Documents::new(workload, load).document(&mut document);
            let _ = writeln!(out, "  {}", show(&document));
            for index in &load.indexes {
                let _ = writeln!(out, "  index {index}");
            }
        }
        _ => out.push_str("\nLoads nothing\n"),
    }
    let written = match workload.written() {
        names if names.is_empty() => "no collection".to_owned(),
        names => names.join(", "),
    };
    let _ = writeln!(out, "Writes into {written}");
    let _ = writeln!(out, "\nThe first {SHOWN} commands:");
    let next = workload.load.as_ref().map_or(0, |load| load.documents as i64);
    let mut source = Operations::new(workload, next);
    let mut message = Vec::new();
    for number in 0..SHOWN {
        message.clear();
        source.next(number as i32, &mut message);
        let body = documents_of(&message).first().map(|body| show(body));
        let _ = writeln!(out, "  {}", body.unwrap_or_default());
    }
    out
}

fn show(document: &[u8]) -> String {
    let mut text = decode::document(document).map_or_else(|error| error, |document| document.to_string());
    if text.len() > SHOWN_MAX {
        let mut end = SHOWN_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}
