//! What a member says of itself, as bytes.

use torana::doc::{BsonType, DocWriter, Value};
use torana::topology::TopologyVersion;

use crate::node::Node;
use crate::world::{Cluster, Entry};

/// The host of every member.
pub const HOST: &str = "db";

fn name(port: u16) -> String {
    format!("{HOST}:{port}")
}

/// A number as an ObjectId, in order.
fn object_id(number: u64) -> [u8; 12] {
    let mut id = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    id[4..].copy_from_slice(&number.to_be_bytes());
    id
}

/// The node's topologyVersion.
pub fn version(node: &Node) -> TopologyVersion {
    TopologyVersion { process_id: object_id(node.process), counter: node.counter }
}

fn id_value(id: &[u8; 12]) -> Value<'_> {
    Value { kind: BsonType::ObjectId, bytes: id }
}

/// Its hello.
pub fn hello(cluster: &Cluster, node: &Node) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut reply = DocWriter::begin(&mut out);
    let config = &cluster.configs[node.config];
    let is_primary = node.term.is_some();
    if config.iter().any(|entry| entry.port == node.port) {
        reply.bool(b"isWritablePrimary", is_primary).bool(b"secondary", !is_primary);
        reply.strings(
            b"hosts",
            config.iter().map(|entry| name(entry.port)).collect::<Vec<_>>().iter().map(|n| &**n),
        );
        reply.string(b"setName", "rs0").i64(b"setVersion", node.config as i64 + 1);
        reply.string(b"me", &name(node.port));
        if let Some(term) = node.term {
            reply.value(b"electionId", id_value(&object_id(term)));
        }
    } else {
        reply.bool(b"isWritablePrimary", false).bool(b"secondary", false).bool(b"isreplicaset", true);
    }
    let own = version(node);
    reply.document(b"topologyVersion", |version| {
        version.value(b"processId", id_value(&own.process_id)).i64(b"counter", own.counter);
    });
    reply.bool(b"helloOk", true).i32(b"minWireVersion", 0).i32(b"maxWireVersion", 17).i32(b"ok", 1);
    reply.finish();
    out
}

/// Its replSetGetConfig.
pub fn config(cluster: &Cluster, node: &Node) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut reply = DocWriter::begin(&mut out);
    reply.document(b"config", |config| {
        config.i64(b"version", node.config as i64 + 1);
        config.array(b"members", |members| {
            for (index, entry) in cluster.configs[node.config].iter().enumerate() {
                members.document(index.to_string().as_bytes(), |member| write_entry(member, entry));
            }
        });
    });
    reply.i32(b"ok", 1);
    reply.finish();
    out
}

fn write_entry(member: &mut DocWriter<'_>, entry: &Entry) {
    member.i64(b"_id", entry.id).string(b"host", &name(entry.port));
}
