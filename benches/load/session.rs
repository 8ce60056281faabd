//! A blocking connection for everything that is not measured: the hello that opens each client, loading documents, initiating a
//! replica set. Measured traffic goes through [`Conn`](crate::net::Conn) instead.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context, Result, bail, ensure};
use bson::{Document, doc};

use crate::net;
use crate::wire::{self, HEADER_LEN, Header};

/// One connection and what its hello said.
pub struct Session {
    stream: TcpStream,
    next_request_id: i32,
    /// The `$clusterTime` of the newest reply, which a driver sends back with every command.
    pub cluster_time: Option<Document>,
}

impl Session {
    /// Connects, without a word said yet.
    pub fn connect(target: SocketAddr, source: Option<Ipv4Addr>) -> Result<Session> {
        Ok(Session { stream: net::connect(target, source)?, next_request_id: 1, cluster_time: None })
    }

    /// Connects and says hello as a driver's pooled connection does.
    pub fn open(target: SocketAddr, source: Option<Ipv4Addr>) -> Result<Session> {
        let mut session = Session::connect(target, source)?;
        session.hello()?;
        Ok(session)
    }

    /// The first message of a connection, with the driver's name in it.
    pub fn hello(&mut self) -> Result<Document> {
        let hello = doc! {
            "hello": 1, "helloOk": true,
            "client": {
                "driver": { "name": "torana-load", "version": env!("CARGO_PKG_VERSION") },
                "os": { "type": "Linux" }, "platform": "raw wire",
            },
        };
        self.command("admin", hello).context("hello")
    }

    /// Runs `command` on `database`; a reply that is not `ok: 1` is an error that carries the reply.
    pub fn command(&mut self, database: &str, mut command: Document) -> Result<Document> {
        command.insert("$db", database);
        let name = command.keys().next().cloned().unwrap_or_default();
        let request_id = self.take_request_id();
        let mut message = Vec::new();
        wire::put_op_msg(&mut message, request_id, 0, 0, &command.to_vec()?);
        let reply = self.round_trip(&message).with_context(|| name.clone())?;
        let body = wire::body(&reply).context("reply without a document")?;
        let document = Document::from_reader(body)?;
        if let Ok(cluster_time) = document.get_document("$clusterTime") {
            self.cluster_time = Some(cluster_time.clone());
        }
        ensure!(wire::is_ok(body), "{name} failed: {document}");
        Ok(document)
    }

    /// Sends a finished request and reads its reply, whose `responseTo` is checked.
    pub fn round_trip(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        let request_id = wire::i32_at(request, 4).context("request without a header")?;
        self.stream.write_all(request)?;
        let mut reply = vec![0; HEADER_LEN];
        self.stream.read_exact(&mut reply)?;
        let Some(header) = Header::read(&reply)? else { bail!("reply without a header") };
        reply.resize(header.length, 0);
        self.stream.read_exact(&mut reply[HEADER_LEN..])?;
        ensure!(header.response_to == request_id, "reply to {}, asked {request_id}", header.response_to);
        Ok(reply)
    }

    /// A number for the next request.
    pub fn take_request_id(&mut self) -> i32 {
        self.next_request_id += 1;
        self.next_request_id
    }

    /// The bare socket, for a measured loop to take over.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}
