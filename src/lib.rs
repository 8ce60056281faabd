//! torana stands in front of MongoDB replica sets. Unmodified clients talk to it as if it were the set itself; it
//! serves tens of thousands of their connections over a few dozen to each member, rewrites the replies that name
//! members so that drivers stay on it, and follows elections by itself.
//!
//! This page is the guided tour of the code. Follow one request, and read the modules in the order in which it
//! meets them.
//!
//! # From the command line to a listening socket
//!
//! `main.rs` hands its arguments to [`cli`], which reads flags, connection string and file into one checked
//! [`config::Config`] and calls [`proxy::run`]. For each replica set that starts a [`topology::Topology`], which
//! discovers the members and keeps the newest hello of each, and a runner (`proxy/set.rs`) that gives every member
//! a [`pool::Pool`] and, in every listener group, a listening socket. When all accept, the ready line is printed.
//!
//! # One request
//!
//! ```text
//! listener -> session -> client.next_message -> Request::read -> route
//!                                                  |
//!      local: hello, authentication <--------------+--> exchange: acquire -> send -> receive -> deliver -> check in
//! ```
//!
//! 1. `proxy/listener.rs` accepts, and spawns one task for the client: `proxy/session.rs`. Everything that happens
//!    for this client happens in that task; no message changes task on its way.
//! 2. `proxy/client.rs` reads until one whole request is there. An idle client holds no buffer (`proxy/buffer.rs`),
//!    and a large request takes memory as it arrives (`proxy/request_memory.rs`); its time-outs are kept by one
//!    sweep over all clients (`proxy/registry.rs`).
//! 3. `proxy/request.rs` decides the request's route from its bytes: [`wire`] for the frame, [`command::Fields`] for
//!    one pass over the command, [`doc`] underneath. Nothing is decoded.
//! 4. `proxy/exchange.rs` is the hot path. A server connection is taken by value out of the member's pool, the
//!    request is written under a number of torana's own, the reply must name that number, and is streamed to the
//!    client. Only a finished exchange gives the connection back; whatever else ends it closes the connection.
//!    That rule is a type: [`pool::Checkout`]. `stream.rs` passes on what is larger than a buffer, and takes over
//!    what a slow client leaves behind, so that it holds up nobody.
//! 5. The other routes are variations, each in a file of its own: `hello.rs` (answered from the monitors),
//!    `names.rs` (read whole, edited by [`rewrite`], passed on), `awaiting.rs` (getMores that wait on the server:
//!    a share of the pool, or slices), `exhaust.rs` (many replies to one request), `legacy.rs` (writes whose outcome
//!    only getLastError on the same connection knows), `unasked.rs` (no reply wanted: torana waits for it all the
//!    same, since the next client must not meet what still runs), `local.rs` and `refuse.rs` (answers of torana's own),
//!    `tagged.rs` (about a collection with a consistency level: what that asks for is `planned`, edited, sent, and its
//!    floor is raised before anyone is `told` of the outcome; `published.rs` has what is shared with other toranas: the
//!    set's horizon, proven and published).
//! 6. What the client asked and was told goes to the capture that is being recorded, if one is: `tap.rs` takes it where
//!    it is read and where it is written, `capturing.rs` begins and ends recordings, [`capture`] does the rest.
//!    A sample of its reads, with the answers, goes to a second set if there is one: `shadowing.rs` takes them at the same
//!    two points, [`shadow`] does the rest on a thread of its own.
//! 7. A client that leaves in the middle hands its exchange to `orphan.rs`. `transactions.rs` knows which
//!    transactions are open, and who is left that could end them; `reaper.rs` ends the others.
//!
//! # Where things live
//!
//! | module | its job | what it must not know |
//! |---|---|---|
//! | [`wire`] | headers, opcodes, message layouts, as pure values | anything of ours |
//! | [`doc`] | BSON by byte ranges: walk, find, write | what a command is |
//! | [`command`] | the table of commands, and the fields that decide | sockets, members |
//! | [`consistency`] | tags, floors, the horizon in ZooKeeper, what a level changes in a command | clients, members |
//! | [`config`] | flags, connection string, TOML, every bound | the rest of torana |
//! | [`topology`] | members, elections, monitors, hello copies, port map | clients, pools |
//! | [`pool`] | checkouts, waiting, connecting, reaping | commands, sockets |
//! | [`handshake`] | the first message on a server connection | sockets |
//! | [`socket`] | reading from a socket, or waiting for it | clients, servers |
//! | [`server`] | one connection to a mongod | clients |
//! | [`rewrite`] | names in replies and requests, hello, error documents | sockets, clocks |
//! | [`proxy`] | all of the above put together | |
//! | [`capture`] | traffic in files: their format, what is secret, the thread that writes; what others recorded | sockets, members |
//! | [`replay`] | captured traffic played against a target, measured and compared | the proxy |
//! | [`shadow`] | a sample of reads asked of a second set, and its answers compared | clients |
//! | [`bench`](mod@bench) | load made up by a workload file, sent and measured as a replay is | the proxy |
//! | [`metrics`], [`admin`] | families resolved once; `/metrics`, `/healthz`, `/readyz`, `/capture` | sockets of clients |
//!
//! Arrows point one way: `wire` and `doc` import nothing of ours, `proxy` imports everything, `cli` only starts it.
//!
//! # Rules that are easy to break
//!
//! - A length is checked before anything is allocated or read by it ([`wire::Header::parse`], [`doc::elements`]).
//! - Once a byte of a request was given to a server connection, the request is never sent again: it may have run.
//! - Who holds something on the server never waits behind those who wait for it: [`pool::Class::Relief`].
//! - A hello is answered from a fresh copy or not at all, and never from one older than some client has seen:
//!   [`topology::HelloCell::at_least_noted`].
//! - What is not understood passes unchanged, or is refused with its reason; it is never guessed at.
//! - The session of an idle client is at most one KiB: rare routes are boxed (`proxy/session.rs`).
//!
//! # Tests
//!
//! Three rings: pure (beside the code: unit, property, simulation; `tests/simulation` joins topology, pools and
//! transactions in simulated time, and one seed reproduces a run), scripted peers over real sockets
//! (`tests/proxy_*.rs` with `tests/support/fake_server.rs`), real processes (mongod 6.0, 5.0, 4.4, the drivers in
//! `tests/drivers`, ZooKeeper). The protocol behind the level `sequential` is searched exhaustively in
//! `tests/horizon_model`. `deploy/test` runs them all, `deploy/soak NAME` the long ones, `deploy/bench` the benchmarks.

pub mod admin;
pub mod bench;
pub mod capture;
pub mod cli;
pub mod command;
pub mod config;
pub mod consistency;
pub mod doc;
pub mod handshake;
pub mod metrics;
pub mod pool;
pub mod proxy;
pub mod replay;
pub mod rewrite;
pub mod server;
pub mod shadow;
pub mod socket;
pub mod topology;
pub mod wire;
