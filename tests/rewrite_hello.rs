//! What torana says to a client's hello, against what mongod 6.0.5 said to the same one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bson::{Bson, Decimal128, Document, doc, oid::ObjectId};
use torana::rewrite::{HelloRequest, Spelling};

fn version() -> Document {
    doc! { "processId": ObjectId::from_bytes([7; 12]), "counter": 1i64 }
}

fn metadata() -> Document {
    doc! { "driver": { "name": "x", "version": "1" }, "os": { "type": "Linux" } }
}

/// The code and text that answer `request`, the first of its connection; `None` for an answer that is no error.
fn refusal(request: Document, exhaust: bool) -> Option<(i32, String)> {
    let bytes = bson::serialize_to_vec(&request).unwrap();
    let error = HelloRequest::read(&bytes, exhaust, &mut false).err()?;
    Some((error.code.0, error.errmsg.into_owned()))
}

#[track_caller]
fn refused(request: Document, code: i32, text: &str) {
    assert_eq!(refusal(request, false), Some((code, text.to_owned())));
}

#[track_caller]
fn answered(request: Document) {
    assert_eq!(refusal(request, false), None);
}

#[test]
fn topology_version_and_max_await_time_go_together() {
    let must_both = "A request with a 'topologyVersion' must include 'maxAwaitTimeMS'";
    refused(doc! { "hello": 1, "topologyVersion": version() }, 31368, must_both);
    refused(doc! { "hello": 1, "topologyVersion": version(), "maxAwaitTimeMS": null }, 31368, must_both);
    let other = "A request with 'maxAwaitTimeMS' must include a 'topologyVersion'";
    refused(doc! { "isMaster": 1, "maxAwaitTimeMS": 10 }, 31368, other);
    refused(doc! { "hello": 1, "topologyVersion": null, "maxAwaitTimeMS": 10 }, 31368, other);
    answered(doc! { "hello": 1, "maxAwaitTimeMS": null });
    answered(doc! { "hello": 1, "topologyVersion": version(), "maxAwaitTimeMS": 2.5 });
}

#[test]
fn a_negative_time_or_counter_is_out_of_range() {
    let await_of = |time: Bson| doc! { "hello": 1, "maxAwaitTimeMS": time, "topologyVersion": version() };
    let text = |n| format!("BSON field 'maxAwaitTimeMS' value must be >= 0, actual value '{n}'");
    refused(await_of(Bson::Int32(-1)), 51024, &text(-1));
    refused(await_of(Bson::Double(-2.5)), 51024, &text(-2));
    refused(await_of(Bson::Decimal128("-3.5".parse::<Decimal128>().unwrap())), 51024, &text(-4));
    answered(await_of(Bson::Double(-0.5)));
    answered(await_of(Bson::Double(f64::NAN)));
    refused(doc! { "hello": 1, "maxAwaitTimeMS": -1 }, 51024, &text(-1));
    let mut negative = version();
    negative.insert("counter", -1i64);
    let request = doc! { "hello": 1, "topologyVersion": negative, "maxAwaitTimeMS": 10 };
    refused(request, 31372, "topologyVersion must have a non-negative counter");
}

#[test]
fn a_malformed_topology_version_is_refused_field_by_field() {
    let with = |version: Bson| doc! { "hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 10 };
    let id = ObjectId::from_bytes([7; 12]);
    let field = "BSON field 'hello.topologyVersion";
    let wrong = |tail: &str| format!("{field}{tail}");
    refused(with("x".into()), 14, &wrong("' is the wrong type 'string', expected type 'object'"));
    refused(with(bson::bson!([1])), 14, &wrong("' is the wrong type 'array', expected type 'object'"));
    refused(with(doc! {}.into()), 40414, &wrong(".processId' is missing but a required field"));
    refused(
        with(doc! { "processId": id }.into()),
        40414,
        &wrong(".counter' is missing but a required field"),
    );
    refused(
        with(doc! { "processId": id, "counter": 1 }.into()),
        14,
        &wrong(".counter' is the wrong type 'int', expected type 'long'"),
    );
    refused(
        with(doc! { "processId": "x", "counter": 1i64 }.into()),
        14,
        &wrong(".processId' is the wrong type 'string', expected type 'objectId'"),
    );
    refused(
        with(doc! { "processId": id, "counter": 1i64, "foo": 1 }.into()),
        40415,
        &wrong(".foo' is an unknown field."),
    );
}

#[test]
fn fields_of_wrong_types_are_refused_in_mongods_words() {
    let wrong = |field: &str, got: &str, expected: &str| {
        format!("BSON field 'hello.{field}' is the wrong type '{got}', expected {expected}")
    };
    refused(
        doc! { "isMaster": 1, "helloOk": "x" },
        14,
        &wrong("helloOk", "string", "types '[bool, long, int, decimal, double']"),
    );
    refused(doc! { "hello": 1, "loadBalanced": 1 }, 14, &wrong("loadBalanced", "int", "type 'bool'"));
    refused(doc! { "hello": 1, "compression": "zlib" }, 14, &wrong("compression", "string", "type 'array'"));
    refused(doc! { "hello": 1, "compression": [1] }, 14, &wrong("compression.0", "int", "type 'string'"));
    refused(
        doc! { "hello": 1, "saslSupportedMechs": 1 },
        14,
        &wrong("saslSupportedMechs", "int", "types '[string, object']"),
    );
    answered(doc! { "hello": "x", "foo": 1, "helloOk": null, "loadBalanced": false });
}

#[test]
fn an_exhaust_hello_must_await() {
    let text = "An isMaster or hello request with exhaust must specify 'maxAwaitTimeMS'";
    assert_eq!(refusal(doc! { "hello": 1 }, true), Some((51756, text.to_owned())));
    let text = "A request with 'maxAwaitTimeMS' must include a 'topologyVersion'";
    assert_eq!(refusal(doc! { "hello": 1, "maxAwaitTimeMS": 1 }, true), Some((31368, text.to_owned())));
}

#[test]
fn client_metadata_is_taken_once_and_only_in_the_first_hello_that_gets_so_far() {
    let read = |request: Document, settled: &mut bool| {
        let bytes = bson::serialize_to_vec(&request).unwrap();
        HelloRequest::read(&bytes, false, settled).map(|hello| hello.metadata.is_some()).map_err(|e| e.code.0)
    };
    let with = doc! { "hello": 1, "client": metadata() };
    let mut settled = false;
    assert_eq!(read(doc! { "hello": 1, "client": {} }, &mut settled), Err(183));
    assert_eq!(
        read(doc! { "hello": 1, "client": metadata(), "maxAwaitTimeMS": 1 }, &mut settled),
        Err(31368)
    );
    assert_eq!(read(with.clone(), &mut settled), Err(186));
    assert_eq!(read(doc! { "hello": 1 }, &mut settled), Ok(false));
    let mut settled = false;
    assert_eq!(read(doc! { "hello": 1 }, &mut settled), Ok(false));
    assert_eq!(read(with.clone(), &mut settled), Err(186));
    assert_eq!(read(with, &mut false), Ok(true));
}

#[test]
fn client_metadata_is_checked_in_its_own_order() {
    let client = |client: Bson| doc! { "hello": 1, "client": client };
    let tail = "in the client metadata document";
    let of = |key: &str, value: Bson| {
        let mut document = metadata();
        document.insert(key, value);
        client(document.into())
    };
    refused(client(Bson::Null), 14, "The client metadata document must be a document");
    refused(client(bson::bson!([1])), 183, &format!("Missing required sub-document 'driver' {tail}"));
    refused(
        client(doc! { "driver": { "name": "x", "version": "1" } }.into()),
        183,
        &format!("Missing required sub-document 'os' {tail}"),
    );
    refused(
        client(doc! { "os": 1, "driver": 1 }.into()),
        14,
        &format!("The 'os' field is required to be a BSON document {tail}"),
    );
    refused(of("driver", doc! {}.into()), 183, &format!("Missing required field 'driver.name' {tail}"));
    refused(
        of("driver", doc! { "name": "x" }.into()),
        183,
        &format!("Missing required field 'driver.version' {tail}"),
    );
    refused(of("os", doc! { "type": 1 }.into()), 14, &format!("The 'os.type' field must be a string {tail}"));
    answered(of("application", doc! { "name": "a".repeat(128) }.into()));
    refused(
        of("application", doc! { "name": "a".repeat(129) }.into()),
        184,
        &format!("The 'application.name' field must be less then or equal to 128 bytes {tail}"),
    );
    let filled = |length: usize| {
        let empty = bson::serialize_to_vec(&{
            let mut document = metadata();
            document.insert("platform", "");
            document
        });
        of("platform", "p".repeat(length - empty.unwrap().len()).into())
    };
    answered(filled(1024));
    refused(filled(1025), 185, "The client metadata document must be less then or equal to 1024bytes");
}

#[test]
fn api_parameters_are_read_before_all_else() {
    let both = doc! { "hello": 1, "client": {}, "helloOk": "x", "apiVersion": "2" };
    refused(both, 322, "Cannot accept API version 2");
    answered(doc! { "hello": 1, "apiVersion": "1", "apiStrict": true });
    let request = doc! { "isMaster": 1, "apiVersion": "1", "apiStrict": true };
    assert_eq!(refusal(request, false).map(|(code, _)| code), Some(323));
    let text = "Provided apiStrict and/or apiDeprecationErrors without passing apiVersion";
    refused(doc! { "hello": 1, "apiStrict": false }, 4886600, text);
    let mut twice = bson::serialize_to_vec(&doc! { "hello": 1, "helloOk": true, "hellpOk": true }).unwrap();
    let at = twice.windows(7).position(|window| window == b"hellpOk").unwrap();
    twice[at + 4] = b'o';
    let error = HelloRequest::read(&twice, false, &mut false).unwrap_err();
    assert_eq!(error.errmsg, "BSON field 'APIParametersFromClient.helloOk' is a duplicate field");
}

#[test]
fn load_balanced_mode_is_refused_with_a_way_out() {
    let (code, text) = refusal(doc! { "hello": 1, "loadBalanced": true }, false).unwrap();
    assert_eq!(code, 72);
    assert!(text.starts_with("torana: ") && text.contains("without loadBalanced=true"));
}

#[test]
fn spelling_and_hello_ok_are_read() {
    let read = |request: Document| {
        let bytes = bson::serialize_to_vec(&request).unwrap();
        HelloRequest::read(&bytes, false, &mut false).map(|hello| (hello.spelling, hello.hello_ok)).unwrap()
    };
    assert_eq!(read(doc! { "hello": 1 }), (Spelling::Modern, false));
    assert_eq!(read(doc! { "isMaster": 1, "helloOk": true }), (Spelling::Legacy, true));
    assert_eq!(read(doc! { "ismaster": 1, "helloOk": false }), (Spelling::Legacy, true));
}

#[test]
fn every_truncation_is_refused() {
    let request =
        doc! { "hello": 1, "client": metadata(), "topologyVersion": version(), "maxAwaitTimeMS": 1 };
    let bytes = bson::serialize_to_vec(&request).unwrap();
    assert!((0..bytes.len()).all(|end| HelloRequest::read(&bytes[..end], false, &mut false).is_err()));
}
