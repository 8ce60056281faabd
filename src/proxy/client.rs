//! A client's connection: reading whole requests from it, writing replies to it, noticing that it has gone.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, Sleep, sleep_until};

use super::buffer::{BUFFER_LEN, Buffer};
use super::context::Listener;
use super::end::End;
use super::pools::PoolUse;
use super::registry::{Entry, Phase};
use super::request::Request;
use super::request_memory::Room;
use super::shadowing::{self, Shadowing};
use super::tap::{self, Tapping};
use super::transactions;
use crate::doc::document_length;
use crate::metrics::EndReason;
use crate::socket::{self, Watch};
use crate::wire::{HEADER_LEN, Header, Side, write_checksum};

/// Room behind a request that fills a buffer of its own, so that the client's leaving can be seen while it waits.
const WATCH_ROOM: usize = 1024;

/// A client's connection and what torana remembers of it.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    watch: Watch,
    /// Bytes read from the client: the current request, and what it sent behind it. `None` while there are none.
    input: Option<Buffer>,
    /// The buffer of the request that is on the server, empty, for its reply to be read into.
    spare: Option<Buffer>,
    /// Its share of the memory for large requests, while it holds one.
    large: Option<Room>,
    /// Its share of the memory for large replies, while it is slow to take one.
    reply_memory: Option<OwnedSemaphorePermit>,
    /// The listener that it came in on.
    pub listener: Arc<Listener>,
    /// Its entry in the registry.
    pub entry: Arc<Entry>,
    /// The pool that serves it.
    pub pool: PoolUse,
    /// The name of its application, and what its pool was chosen by.
    application: Option<Box<Application>>,
    /// Whether it has sent its metadata: a second `client` document is an error.
    pub has_metadata: bool,
    /// A hello was answered from what the member says now.
    pub is_greeted: bool,
    /// The open transactions that it took part in.
    pub transactions: transactions::Own,
    /// What it has taken of a reply that holds up a server connection, since that counted as progress.
    slowly_taken: usize,
    /// Its last legacy write's outcome can no longer be asked for: its connection was given back.
    pub outcome_lost: bool,
    /// It did not ask for the outcome of its last legacy write in time.
    pub never_asks: bool,
    /// Why the session ended, once it has.
    pub end_reason: Option<EndReason>,
    /// Whether its current request, which waits for a connection, has a reply. Here, as the session's future is small.
    pub wants_reply: bool,
    /// What its set's horizon has to be proven after: see [`Horizon::prove`](crate::consistency::Horizon::prove).
    pub arrived: u64,
    /// What is captured of it.
    pub tapping: Tapping,
    /// Its current read, if the second set will be asked that too.
    pub shadowing: Shadowing,
    next_reply_id: i32,
    /// Made by the first reply that the client is slow to take, and used again.
    timer: Option<Pin<Box<Sleep>>>,
    /// When the first bytes of a header came that was not whole at once.
    header_since: Option<Instant>,
}

/// What a client's application is called.
#[derive(Debug)]
struct Application {
    name: String,
    /// [`Pools::choice`](super::pools::Pools::choice) when its pool was chosen.
    choice: u32,
}

/// What stands in the way of a whole message.
enum Progress {
    Message(Header),
    NeedsRoom(usize),
}

impl Client {
    /// A connection that was just accepted on `listener`.
    pub fn new(stream: TcpStream, listener: Arc<Listener>, entry: Arc<Entry>) -> Self {
        let pool = listener.member.pools.common_use();
        let arrived = listener.member.set.horizon.arrives();
        Client {
            pool,
            stream,
            watch: Watch::default(),
            input: None,
            spare: None,
            large: None,
            reply_memory: None,
            listener,
            entry,
            application: None,
            has_metadata: false,
            is_greeted: false,
            transactions: transactions::Own::default(),
            slowly_taken: 0,
            outcome_lost: false,
            never_asks: false,
            end_reason: None,
            wants_reply: true,
            arrived,
            tapping: Tapping::default(),
            shadowing: Shadowing::default(),
            next_reply_id: 0,
            timer: None,
            header_since: None,
        }
    }

    /// The name of its application, if it has said one.
    pub fn application(&self) -> Option<&str> {
        self.application.as_deref().map(|application| application.name.as_str())
    }

    /// Its application is called `name`: the pool may be one of that application's own.
    pub fn set_application(&mut self, name: String) {
        let choice = self.listener.member.pools.choice();
        self.pool = self.listener.member.pools.of(&name);
        self.application = Some(Box::new(Application { name, choice }));
    }

    /// Takes another pool if its application has been given one since.
    #[inline]
    pub fn choose_pool(&mut self) {
        let Some(application) = &mut self.application else { return };
        let choice = self.listener.member.pools.choice();
        if application.choice != choice {
            application.choice = choice;
            self.pool = self.listener.member.pools.of(&application.name);
        }
    }

    /// The address that the client connects from.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// A requestID for a reply that torana writes itself.
    pub fn next_reply_id(&mut self) -> i32 {
        self.next_reply_id = self.next_reply_id.wrapping_add(1) & i32::MAX;
        self.next_reply_id
    }

    /// Waits until one whole request stands in [`Client::message`]. Cancel safe.
    pub async fn next_message(&mut self) -> Result<Header, End> {
        loop {
            match std::future::poll_fn(|cx| self.poll_message(cx)).await? {
                Progress::Message(header) => return Ok(header),
                Progress::NeedsRoom(length) => self.make_room(length).await,
            }
        }
    }

    /// The bytes of the current request, and what follows it.
    pub fn message(&self) -> &[u8] {
        self.input.as_ref().map_or(&[], Buffer::unread)
    }

    /// The bytes of `request`, the current one.
    pub fn request_bytes(&self, request: &Request) -> &[u8] {
        let message = self.message();
        message.get(..request.header.length).unwrap_or(message)
    }

    /// As [`Client::message`], for patching the header.
    pub fn message_mut(&mut self) -> &mut [u8] {
        self.input.as_mut().map_or(&mut [], Buffer::unread_mut)
    }

    /// Captures the current request, as it was read, if there is a recording that takes it, and takes it for the second set if
    /// there is one.
    #[inline]
    pub fn capture(&mut self, request: &Request) {
        if self.tapping.is_due(self.listener.shared.capturing.number()) {
            tap::request(self, request);
        }
        if self.listener.member.set.shadow.is_some() {
            shadowing::request(self, request);
        }
    }

    /// Takes note of what was written.
    #[inline]
    fn told(&mut self, bytes: &[u8]) {
        self.tapping.written(bytes);
        self.shadowing.written(bytes);
    }

    /// Puts `body` in the place of the command of `request`, an OP_MSG, and returns how long the message is then.
    pub fn replace_body(&mut self, request: &Request, body: &[u8]) -> usize {
        let Some(input) = self.input.as_mut() else { return request.header.length };
        let unread = input.unread();
        let old = unread.get(request.body_at..).and_then(|rest| document_length(rest).ok()).unwrap_or(0);
        let length = request.header.length - old + body.len();
        input.splice(request.body_at..request.body_at + old, body, WATCH_ROOM);
        if let Some(message) = input.unread_mut().get_mut(..length) {
            Header::patch_length(message);
            if request.has_checksum() {
                write_checksum(message);
            }
        }
        length
    }

    /// Puts `message` in the place of the current request of `length` bytes.
    pub fn replace_message(&mut self, length: usize, message: &[u8]) {
        let behind = self.message().get(length..).unwrap_or_default();
        let mut input = Buffer::new((message.len() + behind.len() + WATCH_ROOM).max(BUFFER_LEN));
        let bytes = message.len() + behind.len();
        input.space()[..message.len()].copy_from_slice(message);
        input.space()[message.len()..bytes].copy_from_slice(behind);
        input.filled(bytes);
        self.input = Some(input);
    }

    /// Drops the current request of `length` bytes, and gives its memory back.
    pub fn consume(&mut self, length: usize) {
        if let Some(mut input) = self.input.take() {
            input.consume(length);
            match input.is_empty() {
                true => self.listener.shared.buffers.give(input),
                false => self.input = Some(input),
            }
        }
        self.large = None;
    }

    /// Drops the current request of `length` bytes, which was sent, and keeps its buffer for the reply.
    pub fn sent(&mut self, length: usize) {
        if let Some(mut input) = self.input.take() {
            input.consume(length);
            match input.is_empty() {
                true => self.reuse(input),
                false => self.input = Some(input),
            }
        }
        self.large = None;
    }

    /// Keeps `buffer`, whatever is in it, for what is read next. An idle client gives it back. Memory that a large
    /// reply took is free again.
    pub fn reuse(&mut self, mut buffer: Buffer) {
        self.reply_memory = None;
        match buffer.is_usual() && self.spare.is_none() {
            true => {
                buffer.clear();
                self.spare = Some(buffer);
            }
            false => self.listener.shared.buffers.give(buffer),
        }
    }

    /// The buffer that was kept, if one was.
    pub fn take_spare(&mut self) -> Option<Buffer> {
        self.spare.take()
    }

    /// Its request is done with: it is idle, or in the middle of its next message, which has its time from now on.
    pub fn rests(&self) {
        self.entry.enter(if self.input.is_none() { Phase::Idle } else { Phase::Reading });
    }

    /// Ready when the client has closed its side. Bytes that it sends meanwhile are kept, as far as there is room
    /// behind the current request; beyond that they stay in the kernel, and its leaving is seen later.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // Mostly nothing comes, and then no buffer is needed to find that out.
            match self.poll_readable(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
            let mut input = self.next_buffer();
            if input.space().is_empty() {
                self.input = Some(input);
                return Poll::Pending;
            }
            match self.poll_read(cx, &mut input, false) {
                Poll::Ready(Ok(n)) if n > 0 => self.input = Some(input),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.keep(input);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes a message that was made or edited here, and counts it. As [`Client::write`] otherwise.
    ///
    /// A client that asks without a pause for what is answered here never waits for anybody: others have their turn now
    /// and then.
    pub async fn answer(&mut self, message: &[u8]) -> Result<(), End> {
        consume_budget().await;
        self.listener.member.metrics.traffic.client_sent_bytes.inc_by(message.len() as u64);
        self.write(message).await
    }

    /// Writes what the client takes at once of `bytes`, and returns how many that were: mostly there is room for all, and
    /// asking for it first costs more than trying. An error shows at the next write, which waits.
    pub fn write_now(&mut self, bytes: &[u8]) -> usize {
        let Ok(written) = self.stream.try_write(bytes) else { return 0 };
        self.told(bytes.get(..written).unwrap_or(bytes));
        self.entry.progress();
        written
    }

    /// Writes all of `bytes`. Not cancel safe: a cancelled call may have written part, the connection must be closed.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let written = self.write_now(bytes);
        self.write_rest(bytes.get(written..).unwrap_or_default()).await
    }

    /// As [`Client::write`], after [`Client::write_now`] has taken what it could.
    pub async fn write_rest(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        while !bytes.is_empty() {
            match self.stream.write(bytes).await {
                Ok(0) | Err(_) => return Err(End::gone()),
                Ok(n) => {
                    self.told(&bytes[..n]);
                    bytes = &bytes[n..];
                }
            }
            self.entry.progress();
        }
        Ok(())
    }

    /// Writes of `bytes` what the client takes until `until`, and returns how many that were: all, if it keeps up.
    /// Not cancel safe, as [`Client::write`].
    pub fn write_until(&mut self, bytes: &[u8], until: Instant) -> impl Future<Output = Result<usize, End>> {
        let mut written = 0;
        std::future::poll_fn(move |cx| {
            while written < bytes.len() {
                match Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(End::gone())),
                    Poll::Ready(Ok(n)) => {
                        self.told(&bytes[written..written + n]);
                        written += n;
                    }
                    Poll::Pending => return self.poll_timer(cx, until).map(|()| Ok(written)),
                }
                self.entry.progress();
            }
            Poll::Ready(Ok(written))
        })
    }

    /// Writes all of `bytes`; each `part` of them counts as progress, and less does not. Not cancel safe, as
    /// [`Client::write`].
    pub async fn write_with_progress(&mut self, mut bytes: &[u8], part: usize) -> Result<(), End> {
        while !bytes.is_empty() {
            match self.stream.write(bytes).await {
                Ok(0) | Err(_) => return Err(End::gone()),
                Ok(n) => {
                    self.told(&bytes[..n]);
                    bytes = &bytes[n..];
                    self.slowly_taken += n;
                }
            }
            if self.slowly_taken >= part {
                self.slowly_taken = 0;
                self.entry.progress();
            }
        }
        Ok(())
    }

    /// Keeps a share of the memory for large replies until it has taken one.
    pub fn holds(&mut self, memory: OwnedSemaphorePermit) {
        self.reply_memory = Some(memory);
    }

    /// Whether the client has closed its side, as far as that can be seen behind what it has sent and nobody read.
    pub fn has_left(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !matches!(
            rustix::net::recv(&self.stream, &mut [0u8; 1][..], flags),
            Ok((1.., _)) | Err(rustix::io::Errno::AGAIN)
        )
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, End>> {
        loop {
            if let Some(progress) = self.progress()? {
                return Poll::Ready(Ok(progress));
            }
            match self.poll_input(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return Poll::Ready(Err(end)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Whether what was read is enough to go on; if not, there is room for more of it behind.
    fn progress(&mut self) -> Result<Option<Progress>, End> {
        let Some(input) = &mut self.input else { return Ok(None) };
        let limit = self.listener.shared.limits.message_max;
        let room = self.large.as_ref().map_or(BUFFER_LEN, |large| large.bytes);
        match Header::peek(input.unread(), Side::Client, limit) {
            Ok(Some(header)) if input.len() >= header.length => {
                if let Some(since) = self.header_since.take() {
                    self.listener.member.metrics.clients.header_read.observe(since.elapsed());
                }
                return Ok(Some(Progress::Message(header)));
            }
            Ok(Some(header)) if header.length > room && input.len() >= room => {
                return Ok(Some(Progress::NeedsRoom(header.length)));
            }
            Ok(Some(header)) => input.reserve(header.length.min(room)),
            Ok(None) => {
                self.header_since.get_or_insert_with(Instant::now);
                input.reserve(HEADER_LEN);
            }
            // The first bytes of a TLS handshake: a record of type 22, version 3.
            Err(_) if input.unread().starts_with(&[0x16, 0x03]) => {
                let what = "client speaks TLS, which torana does not offer: connect without it";
                return Err(End::because(EndReason::ProtocolError, what));
            }
            Err(error) => return Err(End::protocol(error)),
        }
        Ok(None)
    }

    /// Reads once, behind what there is of a message. Without any of it no buffer is held while nothing comes.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let was_empty = self.input.is_none();
        if was_empty && self.poll_readable(cx).is_pending() {
            if let Some(spare) = self.spare.take() {
                self.listener.shared.buffers.give(spare);
            }
            return Poll::Pending;
        }
        let mut input = self.next_buffer();
        match self.poll_read(cx, &mut input, was_empty) {
            Poll::Ready(Ok(0)) if was_empty => Poll::Ready(Err(End::clean())),
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(End::gone())),
            Poll::Ready(Ok(_)) => {
                if was_empty {
                    self.entry.begins_message();
                }
                self.input = Some(input);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                self.keep(input);
                Poll::Pending
            }
        }
    }

    /// Whether there is something to read, which may be the client's end; if not, the task is woken when there is.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.poll_readable(&self.stream, cx)
    }

    /// Reads into `buffer`: the first part of a message, or a later one, which may be one of very many.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        is_first: bool,
    ) -> Poll<io::Result<usize>> {
        self.watch.forget();
        let read = match is_first {
            true => socket::poll_read(&self.stream, cx, buffer.space()),
            false => socket::poll_read_more(&mut self.stream, cx, buffer.space()),
        };
        if let Poll::Ready(Ok(n)) = read {
            buffer.filled(n);
        }
        read
    }

    /// Waits for more memory for a request of `length` bytes that fills what it has. That time is not the client's: it
    /// is not read from meanwhile.
    async fn make_room(&mut self, length: usize) {
        let memory = &self.listener.shared.request_memory;
        let room = match memory.try_more(self.large.take(), length) {
            Ok(room) => room,
            Err(held) => {
                let phase = if self.entry.is_at_login() { Phase::Login } else { Phase::Reading };
                self.entry.enter(Phase::Queueing);
                let room = memory.more(held, length).await;
                self.entry.enter(phase);
                room
            }
        };
        if let Some(input) = &mut self.input {
            input.reserve(room.bytes + if room.bytes == length { WATCH_ROOM } else { 0 });
        }
        self.large = Some(room);
    }

    fn next_buffer(&mut self) -> Buffer {
        let kept = self.input.take().or_else(|| self.spare.take());
        kept.unwrap_or_else(|| self.listener.shared.buffers.take())
    }

    fn keep(&mut self, input: Buffer) {
        match input.is_empty() {
            true => self.listener.shared.buffers.give(input),
            false => self.input = Some(input),
        }
    }
}
