//! A first look at two answers: most say the same, field by field, and are told so without more.

use crate::capture::digest::is_ignored;
use crate::doc::{DocError, Element, elements};
use crate::wire::{OpMsg, Opcode, Side, read_i32};

/// Whether they say the same in the same order. False may be wrong, true is not.
pub(super) fn say_the_same(recorded: &[u8], reply: &[u8]) -> bool {
    let body = |message| match read_i32(message, 12) {
        Some(opcode) if opcode == Opcode::Msg as i32 => Some(OpMsg::parse(message, Side::Server).ok()?.body),
        _ => None,
    };
    match (body(recorded), body(reply)) {
        (Some(recorded), Some(reply)) => fields(recorded, reply, field) == Ok(true),
        _ => false,
    }
}

fn fields(one: &[u8], other: &[u8], alike: fn(&Element<'_>, &Element<'_>) -> bool) -> Result<bool, DocError> {
    let (mut ones, mut others) = (elements(one), elements(other));
    loop {
        match (ones.try_next()?, others.try_next()?) {
            (None, None) => return Ok(true),
            (Some(one), Some(other)) if one.raw == other.raw => {}
            (Some(one), Some(other)) if one.key == other.key && alike(&one, &other) => {}
            _ => return Ok(false),
        }
    }
}

fn field(one: &Element<'_>, other: &Element<'_>) -> bool {
    if one.key != b"cursor" {
        return is_ignored(one.key);
    }
    match (one.value.as_document(), other.value.as_document()) {
        (Some(one), Some(other)) => fields(one, other, of_cursor) == Ok(true),
        _ => false,
    }
}

fn of_cursor(one: &Element<'_>, other: &Element<'_>) -> bool {
    let is_over = |id: &Element<'_>| id.value.as_i64() == Some(0);
    match one.key {
        b"id" => is_over(one) == is_over(other),
        key => matches!(key, b"atClusterTime" | b"postBatchResumeToken"),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::replay::compare::difference;
    use crate::wire::{MsgFlags, OpMsgBuilder};
    use bson::{Bson, Document, doc};
    use proptest::prelude::*;

    fn message(body: &Document) -> Vec<u8> {
        OpMsgBuilder::message(1, 0, MsgFlags(0), &bson::serialize_to_vec(body).unwrap())
    }

    fn any_reply() -> impl Strategy<Value = Document> {
        let number = || (0i32..2).prop_map(Bson::Int32);
        let cursor = (0i64..3, proptest::collection::vec(0i32..2, 0..3), 0i32..2).prop_map(|(id, batch, ns)| {
            let batch: Vec<Document> = batch.iter().map(|x| doc! { "x": x }).collect();
            Bson::Document(doc! { "firstBatch": batch, "id": id, "ns": format!("a.{ns}"), "atClusterTime": id as i32 })
        });
        let field = prop_oneof![
            ("n|ok|operationTime|localTime", number()),
            Just("cursor".to_owned()).prop_flat_map(move |key| (Just(key), cursor.clone())),
        ];
        proptest::collection::vec(field, 0..4).prop_map(|fields| fields.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn what_is_said_to_be_the_same_differs_nowhere(one in any_reply(), other in any_reply()) {
            let (one, other) = (message(&one), message(&other));
            if say_the_same(&one, &other) {
                prop_assert_eq!(difference(&one, &other, true, |document| Cow::Borrowed(document)), None);
            }
            prop_assert!(say_the_same(&one, &one));
        }
    }
}
