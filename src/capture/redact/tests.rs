use super::*;
use crate::wire::checksum_matches;
use bson::{Binary, Bson, Document, doc, oid::ObjectId, spec::BinarySubtype};
use proptest::prelude::*;

const SECRET: &str = "r:5ecr3t-5ecr3t-5ecr3t";

fn bytes(document: &Document) -> Vec<u8> {
    bson::serialize_to_vec(document).unwrap()
}

fn msg(document: &Document) -> Vec<u8> {
    OpMsgBuilder::message(1, 0, MsgFlags(0), &bytes(document))
}

/// A message whose documents stand in a sequence behind the command.
fn with_sequence(command: &Document, field: &str, documents: &[Document]) -> Vec<u8> {
    let mut message = msg(command);
    let documents: Vec<u8> = documents.iter().flat_map(bytes).collect();
    message.push(1);
    message.extend((4 + field.len() as i32 + 1 + documents.len() as i32).to_le_bytes());
    message.extend(field.as_bytes());
    message.push(0);
    message.extend(documents);
    let length = message.len() as i32;
    message[..4].copy_from_slice(&length.to_le_bytes());
    message
}

fn fields() -> Redactor {
    Redactor::new([7; 32], &["pin".to_owned()], false)
}

fn values() -> Redactor {
    Redactor::new([7; 32], &[], true)
}

fn holds(message: &[u8], secret: &[u8]) -> bool {
    message.windows(secret.len()).any(|part| part == secret)
}

fn body(message: &[u8]) -> Document {
    let parsed = OpMsg::parse(message, Side::Client).unwrap();
    Document::from_reader(parsed.body).unwrap()
}

/// The message as a request, redacted.
fn request(redactor: &mut Redactor, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    assert_ne!(redactor.request(&mut message), Redacted::NotUnderstood);
    message
}

/// Places where a secret may stand in what clients send.
fn requests(secret: &str) -> Vec<Vec<u8>> {
    let at = |command: Document| msg(&command);
    let user = doc! { "_id": "x", "_hashed_password": secret, "name": "bob", "_auth_data_facebook": { "id": secret } };
    vec![
        at(doc! { "find": "_User", "filter": { "_session_token": secret }, "$db": "app" }),
        at(doc! { "find": "_User", "filter": { "_session_token": { "$in": [secret, "y"] } }, "$db": "app" }),
        at(doc! { "find": "_User", "filter": { "_session_token": { "$regex": secret, "$options": "i" } } }),
        at(doc! { "find": "_User", "filter": { "authData.facebook.id": { "$eq": secret } }, "$db": "app" }),
        at(
            doc! { "find": "_User", "filter": { "$or": [{ "a": 1 }, { "$and": [{ "pin": { "$ne": secret } }] }] } },
        ),
        at(
            doc! { "find": "_User", "filter": { "$expr": { "$eq": ["$_session_token", secret] } }, "$db": "app" },
        ),
        at(
            doc! { "find": "_User", "filter": { "$expr": { "$eq": [{ "$toLower": "$_session_token" }, secret] } } },
        ),
        at(doc! { "find": "_User", "filter": { "$where": format!("this._session_token == '{secret}'") } }),
        at(doc! { "insert": "_User", "documents": [user.clone()], "$db": "app" }),
        at(doc! { "insert": "x", "documents": [{ "a": [{ "b": { "password": { "new": [secret] } } }] }] }),
        at(doc! { "update": "_User", "updates": [{ "q": { "_email_verify_token": secret }, "u": { "$set": {
        "_perishable_token": secret, "sessionToken": secret } } }] }),
        at(
            doc! { "update": "_User", "updates": [{ "q": {}, "u": [{ "$set": { "_password_history": [secret] } }] }] },
        ),
        at(doc! { "update": "x", "updates": [{ "q": {}, "u": { "$push": { "a.$[e].pwd": secret } },
        "arrayFilters": [{ "e.pwd": secret }] }] }),
        at(
            doc! { "findAndModify": "x", "query": { "deviceToken": secret }, "update": { "authData": { "x": secret } } },
        ),
        at(
            doc! { "aggregate": "x", "pipeline": [{ "$match": { "_session_token": secret } }, { "$limit": 1 }] },
        ),
        at(doc! { "aggregate": "x", "pipeline": [{ "$addFields": { "is": { "$regexMatch": {
        "input": "$_session_token", "regex": secret } } } }] }),
        at(
            doc! { "aggregate": "x", "pipeline": [{ "$project": { "is": { "$let": { "vars": { "t": "$sessionToken" },
            "in": { "$eq": ["$$t", secret] } } } } }] },
        ),
        at(doc! { "explain": { "find": "x", "filter": { "_session_token": secret } }, "$db": "app" }),
        at(doc! { "count": "x", "query": { "password": Binary { subtype: BinarySubtype::Generic,
        bytes: secret.into() } } }),
        at(doc! { "find": "x", "filter": { "pwd": Bson::Symbol(secret.into()) } }),
        at(doc! { "find": "x", "filter": { "pwd": Bson::JavaScriptCode(secret.into()) } }),
        at(doc! { "find": "x", "filter": { "pwd": bson::JavaScriptCodeWithScope { code: secret.into(),
        scope: doc! { "a": secret } } } }),
        at(
            doc! { "hello": 1, "speculativeAuthenticate": { "saslStart": 1, "mechanism": "PLAIN", "payload": secret } },
        ),
        with_sequence(&doc! { "insert": "_User", "$db": "app" }, "documents", &[user.clone(), user]),
        with_sequence(
            &doc! { "update": "x" },
            "updates",
            &[doc! { "q": { "pin": secret }, "u": { "$set": {
            "authData.apple": { "token": secret } } } }],
        ),
    ]
}

#[test]
fn a_secret_is_nowhere_in_what_is_kept_and_no_length_changes() {
    for secret in [SECRET, "$2y$10$JqKcT4XkU1Q1i8a0y9mFxu"] {
        for (place, message) in requests(secret).iter().enumerate() {
            assert!(holds(message, secret.as_bytes()), "{place}");
            for redactor in [&mut fields(), &mut Redactor::new([9; 32], &["pin".to_owned()], true)] {
                let kept = request(redactor, message);
                assert!(!holds(&kept, secret.as_bytes()), "{place}: {}", body(message));
                assert_eq!(kept.len(), message.len());
                let (mut before, mut after) = (Vec::new(), Vec::new());
                keys(&body(message), &mut before);
                keys(&body(&kept), &mut after);
                assert_eq!(before, after);
            }
        }
    }
}

/// All keys and types, in order.
fn keys(document: &Document, found: &mut Vec<(String, u8)>) {
    for (key, value) in document {
        found.push((key.clone(), value.element_type() as u8));
        match value {
            Bson::Document(inside) => keys(inside, found),
            Bson::Array(list) => {
                let places = list.iter().enumerate().map(|(place, value)| (place.to_string(), value.clone()));
                keys(&places.collect(), found);
            }
            _ => {}
        }
    }
}

#[test]
fn what_is_no_secret_stays_as_it_is() {
    let command = doc! { "find": "_User", "filter": { "name": "bob", "age": { "$gt": 30 }, "authData": { "$exists": true },
    "_session_token": { "$type": "string" } }, "projection": { "_hashed_password": 0 }, "sort": { "password": -1 },
    "limit": 5, "comment": "of bob", "$db": "app" };
    let message = msg(&command);
    assert_eq!(request(&mut fields(), &message), message);
    let index = msg(
        &doc! { "createIndexes": "x", "indexes": [{ "key": { "sessionToken": 1, "pwd": "text" }, "name": "i" }] },
    );
    assert_eq!(request(&mut fields(), &index), index);
    let apart = doc! { "aggregate": "x", "pipeline": [{ "$match": { "$expr": { "$and": [
    { "$eq": ["$sessionToken", SECRET] }, { "$eq": ["$name", "bob"] }] } } }] };
    assert!(holds(&request(&mut fields(), &msg(&apart)), b"bob"));
}

#[test]
fn equal_stays_equal_wherever_it_stands() {
    let redactor = &mut fields();
    let one = body(&request(redactor, &msg(&doc! { "find": "x", "filter": { "_session_token": SECRET } })));
    let two =
        body(&request(redactor, &msg(&doc! { "insert": "y", "documents": [{ "sessionToken": SECRET }] })));
    let one = one.get_document("filter").unwrap().get_str("_session_token").unwrap();
    let two = two.get_array("documents").unwrap()[0].as_document().unwrap().get_str("sessionToken").unwrap();
    assert_eq!(one, two);
    let other =
        body(&request(&mut Redactor::new([8; 32], &[], false), &msg(&doc! { "x": 1, "pwd": SECRET })));
    assert_ne!(other.get_str("pwd").unwrap(), one, "another capture has another key");
}

#[test]
fn words_of_the_server_that_name_a_secret_field_are_cut() {
    let text = |field: &str| {
        format!(
            "E11000 duplicate key error collection: app.x index: {field}_1 dup key: {{ {field}: \"{SECRET}\" }}"
        )
    };
    let reply = |field: &str| {
        let error = doc! { "index": 0, "code": 11000, "keyValue": { field: SECRET }, "errmsg": text(field) };
        msg(&doc! { "n": 0, "writeErrors": [error], "ok": 1.0 })
    };
    let mut secret = reply("_email_verify_token");
    assert_eq!(fields().reply(&mut secret, false), Redacted::Done);
    assert!(!holds(&secret, SECRET.as_bytes()));
    assert!(holds(&secret, b"E11000 duplicate key error") && holds(&secret, b"dup key:"));
    let mut open = reply("name");
    assert_eq!(fields().reply(&mut open, false), Redacted::Done);
    assert_eq!(open, reply("name"));
    assert_eq!(values().reply(&mut open, false), Redacted::Done);
    assert!(!holds(&open, SECRET.as_bytes()));
}

#[test]
fn replies_are_searched_as_requests_are() {
    let batch =
        doc! { "_id": "u", "name": "bob", "_hashed_password": SECRET, "authData": { "x": { "id": SECRET } } };
    let mut message =
        msg(&doc! { "cursor": { "firstBatch": [batch.clone()], "id": 5i64, "ns": "app._User" }, "ok": 1.0 });
    let length = message.len();
    assert_eq!(fields().reply(&mut message, false), Redacted::Done);
    assert!(!holds(&message, SECRET.as_bytes()) && holds(&message, b"bob"));
    assert_eq!(message.len(), length);
    let mut legacy = Vec::new();
    crate::wire::write_op_reply(&mut legacy, 1, 2, &bytes(&batch));
    assert_eq!(fields().reply(&mut legacy, false), Redacted::Done);
    assert!(!holds(&legacy, SECRET.as_bytes()));
}

#[test]
fn who_asks_for_a_secret_under_another_name_is_noticed() {
    for command in [
        doc! { "distinct": "_Session", "key": "_session_token", "$db": "app" },
        doc! { "aggregate": "x", "pipeline": [{ "$group": { "_id": "$authData.facebook.id" } }] },
        doc! { "aggregate": "x", "pipeline": [{ "$project": { "t": { "$getField": "password" } } }] },
        doc! { "aggregate": "x", "pipeline": [{ "$project": { "all": { "$objectToArray": "$$ROOT" } } }] },
        doc! { "find": "x", "projection": { "t": "$sessionToken" } },
    ] {
        assert_eq!(fields().request(&mut msg(&command)), Redacted::LooksAtSecrets, "{command}");
    }
    let plain = doc! { "find": "x", "filter": { "sessionToken": "a" }, "projection": { "password": 1 } };
    assert_eq!(fields().request(&mut msg(&plain)), Redacted::Done);
}

#[test]
fn of_values_only_what_a_command_needs_is_left() {
    let id = ObjectId::new();
    let command = doc! { "find": "people", "filter": { "name": "Roberta", "_id": id, "age": { "$gt": 37 } }, "limit": 50,
    "sort": { "age": -1 }, "$db": "app", "lsid": { "id": 5 }, "comment": "Roberta" };
    let kept = request(&mut values(), &msg(&command));
    assert!(!holds(&kept, b"Roberta") && !holds(&kept, &id.bytes()));
    let kept = body(&kept);
    assert_eq!(kept.get_str("find").unwrap(), "people");
    for same in ["limit", "sort", "$db", "lsid"] {
        assert_eq!(kept.get(same), command.get(same), "{same}");
    }
    let aggregate = doc! { "aggregate": "people", "pipeline": [{ "$match": { "name": "Roberta" } }, { "$lookup": {
    "from": "towns", "localField": "town", "foreignField": "_id", "as": "t" } }, { "$group": { "_id": "$name",
    "n": { "$sum": 1 } } }, { "$limit": 7 }], "cursor": {}, "$db": "app" };
    let kept = request(&mut values(), &msg(&aggregate));
    assert!(!holds(&kept, b"Roberta"));
    let (kept, same) = (body(&kept), |place: usize| aggregate.get_array("pipeline").unwrap()[place].clone());
    (1..4).for_each(|place| assert_eq!(kept.get_array("pipeline").unwrap()[place], same(place)));
    let update = with_sequence(
        &doc! { "update": "people", "ordered": true },
        "updates",
        &[
            doc! { "q": { "name": "Roberta" }, "u": { "$set": { "town": "Roberta" } }, "multi": true, "upsert": false },
        ],
    );
    let kept = request(&mut values(), &update);
    assert!(!holds(&kept, b"Roberta") && kept.len() == update.len());
}

#[test]
fn with_values_numbers_keep_their_order() {
    let command = |age: i32| msg(&doc! { "find": "people", "filter": { "age": { "$gt": age } } });
    let redactor = &mut values();
    let mut age = |given: i32| {
        let kept = body(&request(redactor, &command(given)));
        kept.get_document("filter").unwrap().get_document("age").unwrap().get_i32("$gt").unwrap()
    };
    let ages: Vec<i32> = (0..200).map(&mut age).collect();
    assert!(ages.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn of_a_command_that_carries_secrets_the_name_is_left() {
    let create = msg(&doc! { "createUser": "bob", "pwd": SECRET, "roles": [], "$db": "admin" });
    let kept = body(&withheld(&create));
    assert_eq!(kept, doc! { "createUser": 1, "$db": "admin" });
    let mut query = Vec::new();
    write_op_query(&mut query, 9, "admin.$cmd", &bytes(&doc! { "saslStart": 1, "payload": SECRET }));
    let kept = withheld(&query);
    let parsed = OpQuery::parse(&kept, Side::Client).unwrap();
    assert_eq!(
        (parsed.database(), Document::from_reader(parsed.query).unwrap()),
        (b"admin".as_slice(), doc! { "saslStart": 1 })
    );
    assert!(OpMsg::parse(&withheld(b"nothing"), Side::Client).is_ok());
}

#[test]
fn a_message_with_a_checksum_has_a_right_one_afterwards() {
    let message = OpMsgBuilder::message(
        1,
        0,
        MsgFlags(MsgFlags::CHECKSUM_PRESENT),
        &bytes(&doc! { "x": 1, "pwd": SECRET }),
    );
    let kept = request(&mut fields(), &message);
    assert!(kept != message && checksum_matches(&kept));
}

#[test]
fn legacy_writes_and_queries_are_searched_too() {
    let legacy = |opcode: i32, before: &[u8], documents: &[Document]| {
        let mut message = [0i32, 1, 0, opcode].map(i32::to_le_bytes).concat();
        message.extend([0; 4]);
        message.extend(b"app._User\0");
        message.extend(before);
        documents.iter().for_each(|document| message.extend(bytes(document)));
        let length = message.len() as i32;
        message[..4].copy_from_slice(&length.to_le_bytes());
        message
    };
    let secret = doc! { "_session_token": SECRET };
    for message in [
        legacy(2002, &[], &[secret.clone(), secret.clone()]),
        legacy(2001, &[0; 4], &[secret.clone(), doc! { "$set": secret.clone() }]),
        legacy(2006, &[0; 4], std::slice::from_ref(&secret)),
        legacy(2004, &[0; 8], &[doc! { "$query": secret.clone() }, doc! { "a": 1 }]),
    ] {
        assert!(holds(&message, SECRET.as_bytes()));
        assert!(!holds(&request(&mut fields(), &message), SECRET.as_bytes()));
        assert!(!holds(&request(&mut values(), &message), SECRET.as_bytes()));
    }
}

#[test]
fn what_is_nested_too_deep_is_not_understood() {
    let deep = (0..300).fold(doc! { "pwd": SECRET }, |inside, _| doc! { "a": inside });
    assert_eq!(fields().request(&mut msg(&doc! { "find": "x", "filter": deep })), Redacted::NotUnderstood);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(opcode in prop_oneof![Just(1i32), Just(2001), Just(2002), Just(2004), Just(2006), Just(2013)],
        rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut message = [16 + rest.len() as i32, 1, 0, opcode].map(i32::to_le_bytes).concat();
        message.extend(&rest);
        for redactor in [&mut fields(), &mut values()] {
            let mut changed = message.clone();
            redactor.request(&mut changed);
            redactor.reply(&mut changed, false);
            prop_assert_eq!(changed.len(), message.len());
            let _ = withheld(&message);
        }
    }

    #[test]
    fn damage_makes_nothing_panic(place in 0usize..25, at in 16usize..400, with: u8) {
        let mut message = requests(SECRET)[place].clone();
        let at = at.min(message.len() - 1);
        message[at] = with;
        for redactor in [&mut fields(), &mut values()] {
            redactor.request(&mut message.clone());
            redactor.reply(&mut message.clone(), false);
        }
    }
}

mod ways_around {
    use super::*;

    fn left(message: Vec<u8>) -> bool {
        let mut r = fields();
        let mut kept = message.clone();
        let verdict = r.request(&mut kept);
        eprintln!("{verdict:?} {}", body(&kept));
        holds(&kept, SECRET.as_bytes())
    }

    #[test]
    fn a_secret_that_a_stage_before_has_renamed_is_hidden() {
        assert!(!left(msg(
            &doc! { "aggregate": "x", "pipeline": [{ "$addFields": { "t": "$_session_token" } }, { "$match": { "t": SECRET } }] }
        )));
    }

    #[test]
    fn a_secret_beside_get_field_is_hidden() {
        assert!(!left(msg(
            &doc! { "find": "x", "filter": { "$expr": { "$eq": [{ "$getField": "_session_token" }, SECRET] } } }
        )));
    }

    #[test]
    fn a_secret_in_set_field_is_hidden() {
        assert!(!left(msg(
            &doc! { "update": "x", "updates": [{ "q": {}, "u": [{ "$replaceWith": { "$setField": { "field": "_session_token", "input": "$$ROOT", "value": SECRET } } }] }] }
        )));
    }

    #[test]
    fn code_that_names_a_secret_field_is_hidden_whole() {
        assert!(!left(msg(
            &doc! { "find": "x", "filter": { "$where": format!("this._session_token == `{SECRET}` && this.a == 'b'") } }
        )));
    }

    #[test]
    fn a_comment_operator_that_names_one_is_cut() {
        assert!(!left(msg(
            &doc! { "find": "x", "filter": { "$comment": format!("_session_token={SECRET}") } }
        )));
    }

    #[test]
    fn the_profilers_error_texts_are_cut() {
        let profiled = doc! { "op": "insert", "errMsg": format!("E11000 duplicate key error collection: app._Session index: _session_token_1 dup key: {{ _session_token: \"{SECRET}\" }}") };
        let mut m = msg(
            &doc! { "cursor": { "firstBatch": [profiled], "id": 0i64, "ns": "app.system.profile" }, "ok": 1.0 },
        );
        fields().reply(&mut m, false);
        assert!(!holds(&m, SECRET.as_bytes()));
    }

    #[test]
    fn secrets_in_the_oplogs_diffs_are_hidden() {
        let entry = doc! { "op": "u", "ns": "app._User", "o": { "$v": 2, "diff": { "sauthData": { "sfacebook": { "u": { "access": SECRET } } } } } };
        let mut m =
            msg(&doc! { "cursor": { "firstBatch": [entry], "id": 0i64, "ns": "local.oplog.rs" }, "ok": 1.0 });
        fields().reply(&mut m, false);
        assert!(!holds(&m, SECRET.as_bytes()));
    }

    #[test]
    fn code_brings_values_back_under_other_names() {
        let command = doc! { "aggregate": "x", "pipeline": [{ "$project": { "t": { "$function": { "body": "function(d){return d._session_token}", "args": ["$$ROOT"], "lang": "js" } } } }] };
        assert_eq!(fields().request(&mut msg(&command)), Redacted::LooksAtSecrets, "{command}");
    }

    #[test]
    fn with_values_the_upserted_id_is_hidden() {
        let mut m = msg(
            &doc! { "lastErrorObject": { "n": 1, "updatedExisting": false, "upserted": SECRET }, "value": null, "ok": 1.0 },
        );
        values().reply(&mut m, false);
        assert!(!holds(&m, SECRET.as_bytes()));
    }

    #[test]
    fn with_values_resume_tokens_are_hidden() {
        let mut m = msg(
            &doc! { "cursor": { "nextBatch": [], "id": 5i64, "ns": "a.b", "postBatchResumeToken": { "_data": SECRET } }, "ok": 1.0 },
        );
        values().reply(&mut m, false);
        assert!(!holds(&m, SECRET.as_bytes()));
    }

    #[test]
    fn with_values_a_pipeline_stays_valid() {
        let pipeline = vec![
            doc! { "$unionWith": "towns" },
            doc! { "$unset": "a" },
            doc! { "$project": { "s": { "$meta": "textScore" }, "i": { "$convert": { "input": "$a", "to": "int" } } } },
        ];
        let command = doc! { "aggregate": "x", "pipeline": pipeline };
        let kept = body(&request(&mut values(), &msg(&command)));
        assert_eq!(kept, command);
    }

    #[test]
    fn what_is_explained_counts_as_looking_at_secrets() {
        let command = doc! { "aggregate": "x", "pipeline": [{ "$match": { "_session_token": SECRET } }], "explain": true };
        assert_eq!(fields().request(&mut msg(&command)), Redacted::LooksAtSecrets);
    }

    #[test]
    fn a_get_more_is_known_whatever_section_comes_first() {
        // see scribe::continues_hushed: the cursor is not at byte 34 then
        let mut m = msg(&doc! { "getMore": 77i64, "collection": "x" });
        let body = m.split_off(20);
        let mut seq = vec![1u8];
        seq.extend((4 + 2i32).to_le_bytes());
        seq.extend(b"x\0");
        m.extend(seq);
        m.extend(body);
        assert_ne!(crate::wire::read_i64(&m, 34), Some(77));
    }
}

/// Documents of keys and texts that matter, and of others.
fn any_document() -> impl Strategy<Value = Document> {
    let word = "password|pin|spin|_auth_data_x|name|field|\\$getField|errmsg|\\$where|\\$password|\\$\\$ROOT\\.pin|a\\.pin|explain|\\$objectToArray|\\$eq|[a-z]{1,6}|";
    let leaf = prop_oneof![
        word.prop_map(Bson::String),
        any::<i32>().prop_map(Bson::Int32),
        word.prop_map(Bson::JavaScriptCode),
        Just(Bson::Null)
    ];
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Bson::Array),
            proptest::collection::vec((word, inner), 0..4)
                .prop_map(|fields| Bson::Document(fields.into_iter().collect())),
        ]
    });
    proptest::collection::vec((word, value), 0..5).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn what_the_first_look_lets_pass_the_walk_leaves_as_it_is(
        body in any_document(),
        sequence in any_document(),
        identifier in "documents|password|pin",
        is_request: bool,
        cut in 0usize..40,
    ) {
        let mut message = with_sequence(&body, &identifier, &[sequence]);
        if cut < 5 {
            // Not a document to its end.
            let place = message.len() - 1 - cut;
            message[place] ^= 0x55;
        }
        let mut redactor = fields();
        let look = Look { listed: &redactor.listed, is_request };
        if look.finds_nothing(&message) {
            let before = message.clone();
            let redacted = redactor.change_walked(&mut message, is_request, |walk, message| match is_request {
                true => walk.request(message, Context::Keep),
                false => walk.reply(message, Context::Keep),
            });
            prop_assert_eq!((redacted, message), (Redacted::Done, before));
        }
    }
}

#[test]
fn what_drivers_send_and_servers_answer_is_passed_at_first_sight() {
    let time = bson::Timestamp { time: 1, increment: 2 };
    let clock = doc! { "clusterTime": time, "signature": { "hash": Binary { subtype: BinarySubtype::Generic, bytes: vec![0; 20] }, "keyId": 0i64 } };
    let id = Binary { subtype: BinarySubtype::Uuid, bytes: vec![1; 16] };
    let request = doc! { "find": "scores", "filter": { "player": { "$in": ["a", "b"] }, "score": { "$gt": 5 } }, "sort": { "createdAt": -1 },
    "limit": 1, "singleBatch": true, "lsid": { "id": id }, "txnNumber": 1i64, "$clusterTime": clock.clone(), "$db": "app",
    "readConcern": { "level": "majority", "afterClusterTime": time }, "$readPreference": { "mode": "secondaryPreferred" } };
    let reply = doc! { "cursor": { "firstBatch": [{ "_id": "x", "_created_at": 1, "_rperm": ["*"], "score": 5, "payloads": "a.b" }], "id": 0i64, "ns": "app.scores" },
    "ok": 1.0, "$clusterTime": clock, "operationTime": time, "electionId": 1, "opTime": { "ts": time, "t": 1i64 } };
    let redactor = fields();
    for (document, is_request) in [(request, true), (reply, false)] {
        let look = Look { listed: &redactor.listed, is_request };
        assert!(look.finds_nothing(&msg(&document)), "{document}");
    }
}
