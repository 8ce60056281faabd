//! Which database and collections a request names, read from its bytes.

use super::request::{Request, unwrapped};
use crate::doc::{Element, document_length, elements, find};
use crate::wire::{LegacyRequest, OpMsg, OpQuery, Opcode, Section, Side};

/// The database and the collection that a request is about.
pub fn namespace<'m>(message: &'m [u8], request: &Request) -> Option<(&'m [u8], &'m [u8])> {
    let opcode = request.header.opcode;
    let legacy = match opcode {
        Opcode::Msg => None,
        Opcode::Query => Some(OpQuery::parse(message, Side::Client).ok()?.namespace),
        _ => Some(LegacyRequest::parse(message, opcode, Side::Client).ok()?.namespace),
    };
    let (database, collection) = legacy.map_or((None, None), |namespace| {
        let (database, collection) = split(namespace);
        (Some(database), (!request.is_command).then_some(collection))
    });
    let command = || unwrapped(message.get(request.body_at..).unwrap_or_default());
    let text = |element: Element<'m>| element.value.as_string_bytes();
    let database = database.or_else(|| find(command(), "$db").and_then(text))?;
    let named = || match request.command.name() {
        "getMore" => find(command(), "collection"),
        _ => elements(command()).next()?.ok(),
    };
    // A command on the database as a whole names no collection.
    Some((database, collection.or_else(|| named().and_then(text)).unwrap_or_default()))
}

/// Calls `each` with every namespace of a `bulkWrite` (8.0), whose `nsInfo` stands in its body or in a section.
pub fn namespaces_of_bulk<'m>(message: &'m [u8], body: &'m [u8], mut each: impl FnMut(&'m [u8])) {
    let mut listed = |document: &'m [u8]| {
        let name = find(document, "ns").and_then(|name| name.value.as_string_bytes());
        name.into_iter().for_each(&mut each);
    };
    let list = find(body, "nsInfo").and_then(|list| list.value.as_document()).unwrap_or_default();
    elements(list).map_while(Result::ok).filter_map(|entry| entry.value.as_document()).for_each(&mut listed);
    let Ok(parsed) = OpMsg::parse(message, Side::Client) else { return };
    for section in parsed.sections().map_while(Result::ok) {
        if let Section::Sequence { identifier: b"nsInfo", mut documents } = section {
            while let Ok(length) = document_length(documents) {
                let (document, rest) = documents.split_at(length);
                listed(document);
                documents = rest;
            }
        }
    }
}

/// `database.collection`, apart.
pub fn split(namespace: &[u8]) -> (&[u8], &[u8]) {
    let dot = namespace.iter().position(|byte| *byte == b'.').unwrap_or(namespace.len());
    let (database, collection) = namespace.split_at(dot);
    (database, collection.get(1..).unwrap_or_default())
}
