//! Ids that the server made: those of upserted documents, in a reply to `update` or `findAndModify`.

use super::touch::Resources;
use crate::doc::{Value, elements, find, find_path};
use crate::wire::{OpMsg, Side};

/// The ids in a reply, in the order of its updates.
pub fn ids(reply: &[u8]) -> Vec<Value<'_>> {
    let Ok(msg) = OpMsg::parse(reply, Side::Server) else { return Vec::new() };
    if let Some(one) = find_path(msg.body, &["lastErrorObject", "upserted"]) {
        return vec![one];
    }
    let list = find(msg.body, "upserted").and_then(|element| element.value.as_document());
    let each = elements(list.unwrap_or_default()).map_while(Result::ok);
    each.filter_map(|entry| Some(find(entry.value.as_document()?, "_id")?.value)).collect()
}

/// The documents that they name.
pub fn resources(resources: &Resources, reply: &[u8], database: &[u8], collection: &[u8]) -> Vec<u64> {
    ids(reply).iter().map(|id| resources.document(database, collection, id)).collect()
}
