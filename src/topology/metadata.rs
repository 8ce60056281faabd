//! The `client` document of torana's first message on a connection: what `db.currentOp()` and the server's log
//! show of it.

use crate::doc::DocWriter;

/// Builds the `client` document (handshake specification, "client metadata").
pub fn client_metadata() -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    let mut writer = DocWriter::begin(&mut out);
    writer.document(b"driver", |driver| {
        driver.string(b"name", "torana").string(b"version", env!("CARGO_PKG_VERSION"));
    });
    writer.document(b"os", |os| {
        let kind = match std::env::consts::OS {
            "linux" => "Linux",
            "macos" => "Darwin",
            other => other,
        };
        os.string(b"type", kind).string(b"architecture", std::env::consts::ARCH);
    });
    writer.string(b"platform", "Rust");
    writer.finish();
    out
}
