//! A member's side of a monitoring connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout_at};
use torana::doc::{elements, find, find_path};
use torana::topology::{Dial, DialError, HostPort};
use torana::wire::{
    HEADER_LEN, Header, MsgFlags, OpMsg, OpMsgBuilder, OpQuery, Opcode, Side, write_op_reply,
};

use crate::hello;
use crate::world::{LATENCY, World};

/// Bytes on their way in one direction.
const BUFFER: usize = 16 * 1024;

/// Reaches the members' memory.
pub struct SimDial(pub Arc<World>);

impl Dial for SimDial {
    type Stream = DuplexStream;

    async fn dial(&self, address: &HostPort) -> Result<DuplexStream, DialError> {
        let (world, port) = (self.0.clone(), address.port());
        sleep(LATENCY * 2).await;
        // What opens a connection is sent again and again while the network loses it.
        world.until(port, |node| !node.is_cut).await;
        let process = world.look(port, |node| node.is_alive.then_some(node.process)).flatten();
        let Some(process) = process else { return Err(DialError::Connect("connection refused".into())) };
        let (ours, theirs) = duplex(BUFFER);
        let number = world.change(port, |node| {
            node.probes += 1;
            node.probes
        });
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = world.until(port, |node| node.has_ended(process) || node.broken_probe == number) => {}
                _ = answer(&world, port, theirs) => {}
            }
        });
        Ok(ours)
    }
}

struct Asked {
    id: i32,
    opcode: Opcode,
    body: Vec<u8>,
    streams: bool,
}

async fn read(stream: &mut DuplexStream) -> io::Result<Asked> {
    let mut message = vec![0; HEADER_LEN];
    stream.read_exact(&mut message).await?;
    let header = Header::peek(&message, Side::Client, BUFFER).map_err(io::Error::other)?.unwrap();
    message.resize(header.length, 0);
    stream.read_exact(&mut message[HEADER_LEN..]).await?;
    let (body, streams) = match header.opcode {
        Opcode::Msg => {
            let parsed = OpMsg::parse(&message, Side::Client).map_err(io::Error::other)?;
            (parsed.body, parsed.flags.exhaust_allowed())
        }
        _ => (OpQuery::parse(&message, Side::Client).map_err(io::Error::other)?.query, false),
    };
    Ok(Asked { id: header.request_id, opcode: header.opcode, body: body.to_vec(), streams })
}

/// Answers until the other side leaves.
async fn answer(world: &World, port: u16, mut stream: DuplexStream) -> io::Result<()> {
    let mut last_id = 0;
    loop {
        let asked = read(&mut stream).await?;
        sleep(LATENCY * 2).await;
        if asked.streams {
            push(world, port, &mut stream, &asked, &mut last_id).await?;
            continue;
        }
        world.until(port, |node| node.is_passable()).await;
        let is_config = elements(&asked.body)
            .next()
            .is_some_and(|first| first.is_ok_and(|first| first.key == b"replSetGetConfig"));
        let body = {
            let cluster = world.cluster();
            let node = &cluster.nodes[&port];
            if is_config { hello::config(&cluster, node) } else { hello::hello(&cluster, node) }
        };
        last_id += 1;
        let reply = match asked.opcode {
            Opcode::Query => {
                let mut out = Vec::new();
                write_op_reply(&mut out, last_id, asked.id, &body);
                out
            }
            _ => OpMsgBuilder::message(last_id, asked.id, MsgFlags(0), &body),
        };
        stream.write_all(&reply).await?;
    }
}

/// Streams hellos: at each change, and when the wait is over.
async fn push(
    world: &World,
    port: u16,
    stream: &mut DuplexStream,
    asked: &Asked,
    last_id: &mut i32,
) -> io::Result<()> {
    let wait = find(&asked.body, "maxAwaitTimeMS").and_then(|wait| wait.value.as_i64()).unwrap_or(0);
    let mut known = find_path(&asked.body, &["topologyVersion", "counter"]).and_then(|value| value.as_i64());
    let mut response_to = asked.id;
    loop {
        let deadline = Instant::now() + Duration::from_millis(wait as u64);
        let changed = world.until(port, |node| Some(node.counter) != known);
        let _ = timeout_at(deadline, changed).await;
        sleep(LATENCY).await;
        world.until(port, |node| node.is_passable()).await;
        let body = {
            let cluster = world.cluster();
            let node = &cluster.nodes[&port];
            known = Some(node.counter);
            hello::hello(&cluster, node)
        };
        *last_id += 1;
        let flags = MsgFlags(MsgFlags::MORE_TO_COME);
        stream.write_all(&OpMsgBuilder::message(*last_id, response_to, flags, &body)).await?;
        response_to = *last_id;
    }
}
