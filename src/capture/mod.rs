//! Captured traffic: what clients sent and were told, in files that outlive a crash and can be read from the middle.
//!
//! # The format, version 1
//!
//! A capture is a folder of files `capture-00001.torana`, `capture-00002.torana`, ... that share one clock and one id;
//! each can be read by itself. All numbers are little-endian. A file is a *head*, *blocks*, and, if it was closed in
//! order, an *index* and a *trailer*. A file that was cut off anywhere is readable up to its last whole block.
//!
//! ## Head
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TORANACP` |
//! | 2 | version: 1. A reader refuses later ones |
//! | 2 | 0, reserved |
//! | 4 | *n*, at most 1 MiB |
//! | *n* | a BSON document: the fields of [`Head`] |
//! | 4 | CRC-32C of all of the head before |
//!
//! ## Block
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `TBLK` |
//! | 4 | 4 | bytes of the payload, at most 64 MiB |
//! | 8 | 4 | bytes of the records, at most 64 MiB |
//! | 12 | 4 | number of records |
//! | 16 | 8 | time of its earliest record |
//! | 24 | 8 | time of its latest record |
//! | 32 | 4 | CRC-32C of bytes 0 to 31 and of the payload |
//! | 36 | | the payload: the records, one behind the other, as one zstd frame |
//!
//! ## Record
//!
//! | bytes | what |
//! |---|---|
//! | 4 | *n*: bytes behind this field |
//! | 1 | kind: 1 opened, 2 request, 3 reply, 4 closed, 5 lost. A reader passes over others |
//! | 8 | the number of the connection, unique in the capture |
//! | 8 | time: nanoseconds since the capture began, by a clock that never jumps |
//! | *n* - 17 | by kind, see below |
//!
//! Records of one connection stand in the order in which things happened; those of different connections may be out of it by
//! as long as two threads take to reach one lock.
//!
//! Opened: 1 byte role of the member (1 primary, 2 secondary, 0 other), then three texts (2 bytes of length each): the
//! member, the client's address, the application (empty if it has not said one). Where a capture begins while a
//! connection is open, the record stands before its first request.
//!
//! Request: 4 bytes its number in the connection, 1 byte of flags (1: no reply is wanted; 2: the command's body was
//! withheld, as it carries secrets), then the message as it came, header included, but for values that were replaced.
//!
//! Reply: 4 bytes the number of the request; 1 byte form (0 nothing more, 1 whole, 2 digest, 3 too large to be kept, or no memory
//! for it);
//! 4 bytes error code (0: ok; -1: an error without a code); 8 bytes cursor id; 4 bytes documents in the batch; 4 bytes
//! length of the message. Then, by form: the message, or the 16 bytes of its digest ([`digest`]). Of an exhaust request
//! there are several. Whatever is kept of others, of these there are facts alone: replies to commands that carry secrets,
//! or whose replies are text; to requests that read secret fields under other names; to hellos after a connection's first.
//!
//! Closed: 1 byte (0 by the client in order, 1 otherwise). Lost: 1 byte, why the rest of the connection is not in the
//! capture (1 the disk was behind, 2 a request longer than 17 MiB; of imported traffic 3 bytes are missing, 4 no message
//! begins where one has to).
//!
//! ## Index and trailer
//!
//! `TIDX`, 4 bytes number of blocks, then for each block 8 bytes where it begins, 8 bytes time of its first record, 8 bytes
//! of its last, 4 bytes number of records; 4 bytes CRC-32C of the index before. The trailer: 8 bytes where the index begins,
//! then `TORANEND`.
//!
//! Nothing here knows sockets or members: [`proxy`](crate::proxy) hands over what passes.

pub mod asked;
mod behind;
pub mod block;
pub mod decode;
pub mod digest;
pub mod error;
pub mod facts;
pub mod file;
pub mod folder;
pub mod head;
mod hide;
pub mod import;
mod listed;
mod priority;
mod queue;
pub mod record;
pub mod recorder;
mod redact;
mod scribe;
pub mod selection;
mod structure;

pub use asked::Asked;
pub use error::CaptureError;
pub use file::{Reader, Writer};
pub use head::Head;
pub use listed::{Listed, policy};
pub use queue::{MESSAGE_MAX, Policy, Refused};
pub use record::{Form, Kind, LostWhy, Opened, Record, Reply, Request, Role};
pub use recorder::{Recorder, Status};
pub use selection::Selection;
