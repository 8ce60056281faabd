//! The first message on every connection that torana makes to a server, pooled or monitoring.
//!
//! It is the legacy hello over OP_QUERY, the one form that servers of every age understand before their version is
//! known (Handshake specification, "Connection handshake"), and says who torana is. Called by `server` and
//! `topology`; knows no socket.

use crate::doc::DocWriter;
use crate::wire::write_op_query;

/// Bytes of an application name that a server accepts (Handshake specification, "application.name").
const APPLICATION_NAME_MAX: usize = 128;

/// The whole message. `application` goes into the metadata, unless it is too long for a server.
pub fn first_message(request_id: i32, application: Option<&str>) -> Vec<u8> {
    let mut document = Vec::with_capacity(400);
    let mut hello = DocWriter::begin(&mut document);
    hello.i32(b"isMaster", 1).bool(b"helloOk", true);
    client_metadata(&mut hello, application);
    hello.finish();
    let mut message = Vec::with_capacity(512);
    write_op_query(&mut message, request_id, "admin.$cmd", &document);
    message
}

/// The `client` document: what `$currentOp` and the server's log show of the connection.
fn client_metadata(hello: &mut DocWriter<'_>, application: Option<&str>) {
    hello.document(b"client", |client| {
        if let Some(name) = application.filter(|name| name.len() <= APPLICATION_NAME_MAX) {
            client.document(b"application", |inner| {
                inner.string(b"name", name);
            });
        }
        client.document(b"driver", |driver| {
            driver.string(b"name", "torana").string(b"version", env!("CARGO_PKG_VERSION"));
        });
        client.document(b"os", |os| {
            os.string(b"type", os_type()).string(b"architecture", std::env::consts::ARCH);
        });
        client.string(b"platform", "Rust");
    });
}

/// As `uname` spells it (Handshake specification, "os.type").
fn os_type() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doc::find_path;

    /// Where the command begins: behind header, flags, namespace and two numbers.
    const DOCUMENT_AT: usize = 16 + 4 + "admin.$cmd\0".len() + 8;

    #[test]
    fn a_name_that_a_server_would_refuse_is_left_out() {
        for (length, sent) in [(APPLICATION_NAME_MAX, true), (APPLICATION_NAME_MAX + 1, false)] {
            let message = first_message(1, Some(&"a".repeat(length)));
            let name = find_path(&message[DOCUMENT_AT..], &["client", "application", "name"]);
            assert_eq!(name.is_some(), sent, "{length}");
        }
    }
}
