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
/// reply's end then. Memory is bounded whatever its size. At least the last `keep` bytes are in that part, if there are
/// so many; they must be fewer than half of a usual buffer.
pub async fn stream(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    reply: &mut Reply,
    keep: usize,
) -> Result<(), End> {
    let mut left = reply.header.length - reply.buffer.len();
    let patience = reply.arrived + KEEP_UP_WITHIN;
    let mut has_larger = false;
    loop {
        let kept = keep.saturating_sub(left).min(reply.buffer.len());
        let passed = reply.buffer.len() - kept;
        let written = client.write_until(&reply.buffer.unread()[..passed], patience).await?;
        reply.buffer.consume(written);
        // Boxed, as it is rare and would make every session larger.
        if written < passed && Box::pin(lags(at, client, server, reply, left, kept)).await? {
            return Ok(());
        }
        if left > BUFFER_LEN && !has_larger {
            let larger = at.shared.buffers.take_large();
            at.shared.buffers.give(std::mem::replace(&mut reply.buffer, larger));
            has_larger = true;
        }
        reply.buffer.compact();
        if let Err(error) = fill(server, &mut reply.buffer, left).await {
            return Err(broken(at, client, server, &error));
        }
        left -= reply.buffer.len() - kept;
        if left == 0 {
            return Ok(());
        }
    }
}

/// The client has not taken all of the buffer but what is `kept` in time. True if all the rest is in the buffer now,
/// false if that has been taken after all.
async fn lags(
    at: &Listener,
    client: &mut Client,
    server: &mut Checkout,
    reply: &mut Reply,
    left: usize,
    kept: usize,
) -> Result<bool, End> {
    if let Some(memory) = at.shared.reply_memory.try_take(reply.buffer.len() + left) {
        return spool(at, client, server, reply, left, memory).await.map(|()| true);
    }
    let passed = reply.buffer.len() - kept;
    client.write_with_progress(&reply.buffer.unread()[..passed], PROGRESS).await?;
    reply.buffer.consume(passed);
    Ok(false)
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
