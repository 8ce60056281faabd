//! Replies that are larger than their buffer.
//!
//! They pass a buffer at a time while their client keeps up. A client that does not would hold a server connection
//! that others wait for, so the rest of its reply is read into memory then, within a budget of the process, and the
//! connection is given back. Where there is no memory left the client keeps the connection, and has to take some of
//! its reply in time.

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Duration;

use super::buffer::{BUFFER_LEN, Buffer};
use super::client::Client;
use super::context::{Checkout, Listener};
use super::end::End;
use super::exchange::broken;
use super::reply::{Reply, ReplyError};

/// How long a client may hold up its server connection before the rest of its reply is taken into memory.
const KEEP_UP_WITHIN: Duration = Duration::from_millis(100);

/// What a client must take in `limits.client_write_timeout` to keep its server connection, bytes.
const PROGRESS: usize = 1 << 20;

/// Passes a reply on up to its last part, which is left in its buffer: the server connection has been read to the
/// reply's end then. Memory is bounded whatever its size.
pub async fn stream(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    reply: &mut Reply,
) -> Result<(), End> {
    let mut left = reply.header.length - reply.buffer.len();
    let patience = reply.arrived + KEEP_UP_WITHIN;
    let mut has_larger = false;
    loop {
        let written = client.write_until(reply.buffer.unread(), patience).await?;
        reply.buffer.consume(written);
        // Boxed, as it is rare and would make every session larger.
        if !reply.buffer.is_empty() && Box::pin(lags(at, client, server, reply, left)).await? {
            return Ok(());
        }
        if left > BUFFER_LEN && !has_larger {
            let larger = at.shared.buffers.take_large();
            at.shared.buffers.give(std::mem::replace(&mut reply.buffer, larger));
            has_larger = true;
        }
        reply.buffer.clear();
        if let Err(error) = fill(server, &mut reply.buffer, left).await {
            return Err(broken(at, client, server, &error));
        }
        left -= reply.buffer.len();
        if left == 0 {
            return Ok(());
        }
    }
}

/// The client has not taken all of the buffer in time. True if all the rest is in the buffer now, false if the buffer
/// has been taken after all.
async fn lags(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    reply: &mut Reply,
    left: usize,
) -> Result<bool, End> {
    match at.shared.reply_memory.try_take(reply.buffer.len() + left) {
        Some(memory) => spool(at, client, server, reply, left, memory).await.map(|()| true),
        None => client.write_with_progress(reply.buffer.unread(), PROGRESS).await.map(|()| false),
    }
}

async fn spool(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    reply: &mut Reply,
    mut left: usize,
    memory: OwnedSemaphorePermit,
) -> Result<(), End> {
    let rest = reply.buffer.len();
    let mut whole = Buffer::new(rest + left);
    whole.space()[..rest].copy_from_slice(reply.buffer.unread());
    whole.filled(rest);
    at.shared.buffers.give(std::mem::replace(&mut reply.buffer, whole));
    while left > 0 {
        let before = reply.buffer.len();
        if let Err(error) = fill(server, &mut reply.buffer, left).await {
            return Err(broken(at, client, server, &error));
        }
        left -= reply.buffer.len() - before;
    }
    at.member.metrics.traffic.replies_spooled.inc();
    client.holds(memory);
    Ok(())
}

/// Reads once into `buffer`, at most `left` bytes: what follows them belongs to the next exchange.
pub async fn fill(server: &mut Checkout, buffer: &mut Buffer, left: usize) -> Result<(), ReplyError> {
    let space = buffer.space();
    let room = space.len().min(left);
    let n = std::future::poll_fn(|cx| server.poll_read(cx, &mut space[..room])).await?;
    if n == 0 {
        return Err(ReplyError::Closed);
    }
    buffer.filled(n);
    Ok(())
}
