//! What torana says of itself in a server's log and in `$currentOp`: the handshake's `client` document.

use crate::doc::DocWriter;

/// Bytes of an application name that a server accepts (Handshake specification, "application.name").
const APPLICATION_NAME_MAX: usize = 128;

/// Writes the `client` document of torana's own handshakes (Handshake specification) under the key `client`.
/// `application` is the client's application name, for pools that are keyed by it.
pub fn client_metadata(hello: &mut DocWriter<'_>, application: Option<&str>) {
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
            os.string(b"type", std::env::consts::OS).string(b"architecture", std::env::consts::ARCH);
        });
        client.string(b"platform", "proxy");
    });
}
