//! Wire messages, written and read byte by byte.
//!
//! Deliberately not torana's own `wire` module: a test that builds its messages with the code under test cannot
//! see that code's mistakes.

use bson::Document;

/// OP_REPLY, the answer to OP_QUERY and the legacy getMore.
pub const OP_REPLY: i32 = 1;
/// Legacy update.
pub const OP_UPDATE: i32 = 2001;
/// Legacy insert.
pub const OP_INSERT: i32 = 2002;
/// Legacy query, and the oldest spelling of a command.
pub const OP_QUERY: i32 = 2004;
/// Legacy getMore.
pub const OP_GET_MORE: i32 = 2005;
/// Legacy delete.
pub const OP_DELETE: i32 = 2006;
/// Legacy killCursors.
pub const OP_KILL_CURSORS: i32 = 2007;
/// OP_COMPRESSED.
pub const OP_COMPRESSED: i32 = 2012;
/// OP_MSG.
pub const OP_MSG: i32 = 2013;

/// OP_MSG flag: a CRC-32C of the message follows the sections.
pub const CHECKSUM_PRESENT: u32 = 1;
/// OP_MSG flag: another message follows without a turn of the other side; on a request, no reply is wanted.
pub const MORE_TO_COME: u32 = 1 << 1;
/// OP_MSG flag: the client accepts replies with `MORE_TO_COME`.
pub const EXHAUST_ALLOWED: u32 = 1 << 16;

/// One section of an OP_MSG.
#[derive(Debug, Clone)]
pub enum Section {
    /// Kind 0: the body.
    Body(Document),
    /// Kind 1: documents that belong to the named field of the body.
    Sequence(&'static str, Vec<Document>),
}

/// A whole message as it came off a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Every byte, header included.
    pub raw: Vec<u8>,
}

impl Message {
    /// The sender's id for this message.
    pub fn request_id(&self) -> i32 {
        self.int32(4)
    }

    /// The id of the request that this answers.
    pub fn response_to(&self) -> i32 {
        self.int32(8)
    }

    /// The opcode.
    pub fn opcode(&self) -> i32 {
        self.int32(12)
    }

    /// Flag bits of an OP_MSG, response flags of an OP_REPLY.
    pub fn flags(&self) -> u32 {
        self.int32(16) as u32
    }

    /// Where the command document of an OP_MSG or an OP_QUERY begins; `None` if there is none.
    pub fn body_at(&self) -> Option<usize> {
        match self.opcode() {
            OP_MSG if self.raw[20] == 0 => Some(21),
            // A document sequence first: the body follows it.
            OP_MSG => Some(22 + self.int32(21) as usize),
            OP_QUERY => Some(20 + self.raw[20..].iter().position(|byte| *byte == 0)? + 9),
            _ => None,
        }
    }

    /// The command document of a request; empty if it has none.
    pub fn query_or_body(&self) -> Document {
        let bytes = self.body_at().map(|at| &self.raw[at..]);
        bytes.and_then(|bytes| Document::from_reader(bytes).ok()).unwrap_or_default()
    }

    /// Whether the sender goes on without being asked.
    pub fn more_to_come(&self) -> bool {
        self.opcode() == OP_MSG && self.flags() & MORE_TO_COME != 0
    }

    /// The body of an OP_MSG, or the first document of an OP_REPLY.
    pub fn body(&self) -> Document {
        let bytes = match self.opcode() {
            OP_MSG => {
                assert_eq!(self.raw[20], 0, "an OP_MSG reply starts with a section of kind 0");
                &self.raw[21..]
            }
            OP_REPLY => &self.raw[36..],
            other => panic!("a reply of opcode {other}"),
        };
        Document::from_reader(bytes).expect("a BSON document in a reply")
    }

    /// All documents of an OP_REPLY.
    pub fn documents(&self) -> Vec<Document> {
        assert_eq!(self.opcode(), OP_REPLY);
        let mut rest = &self.raw[36..];
        let mut documents = Vec::new();
        while !rest.is_empty() {
            documents.push(Document::from_reader(&mut rest).expect("a BSON document in a reply"));
        }
        documents
    }

    /// The cursor id of an OP_REPLY.
    pub fn reply_cursor(&self) -> i64 {
        assert_eq!(self.opcode(), OP_REPLY);
        i64::from_le_bytes(self.raw[20..28].try_into().unwrap())
    }

    /// Whether `text` stands anywhere in the bytes, keys and values alike.
    pub fn contains(&self, text: &str) -> bool {
        self.raw.windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn int32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.raw[at..at + 4].try_into().unwrap())
    }
}

/// A message from its parts; `length` is counted.
pub fn message(request_id: i32, response_to: i32, opcode: i32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + payload.len());
    for field in [16 + payload.len() as i32, request_id, response_to, opcode] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// An OP_MSG, with its checksum if `flags` promise one.
pub fn op_msg(request_id: i32, response_to: i32, flags: u32, sections: &[Section]) -> Vec<u8> {
    let mut payload = flags.to_le_bytes().to_vec();
    for section in sections {
        match section {
            Section::Body(body) => {
                payload.push(0);
                payload.extend(bytes_of(body));
            }
            Section::Sequence(field, documents) => {
                let documents: Vec<u8> = documents.iter().flat_map(bytes_of).collect();
                payload.push(1);
                payload.extend((4 + field.len() as i32 + 1 + documents.len() as i32).to_le_bytes());
                payload.extend(field.as_bytes());
                payload.push(0);
                payload.extend(documents);
            }
        }
    }
    if flags & CHECKSUM_PRESENT == 0 {
        return message(request_id, response_to, OP_MSG, &payload);
    }
    payload.extend([0; 4]);
    let mut bytes = message(request_id, response_to, OP_MSG, &payload);
    let end = bytes.len() - 4;
    let checksum = crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// An OP_QUERY on `namespace` (`db.$cmd` for a command, with `count` -1).
pub fn op_query(request_id: i32, flags: u32, namespace: &str, count: i32, query: &Document) -> Vec<u8> {
    let mut payload = flags.to_le_bytes().to_vec();
    payload.extend(namespace.as_bytes());
    payload.push(0);
    payload.extend(0_i32.to_le_bytes());
    payload.extend(count.to_le_bytes());
    payload.extend(bytes_of(query));
    message(request_id, 0, OP_QUERY, &payload)
}

/// An OP_REPLY with one document.
pub fn op_reply(request_id: i32, response_to: i32, document: &Document) -> Vec<u8> {
    // Response flags AwaitCapable; cursor 0; from the first; one document.
    let mut payload: Vec<u8> = [8, 0, 0, 0, 1].iter().flat_map(|field: &i32| field.to_le_bytes()).collect();
    payload.extend(bytes_of(document));
    message(request_id, response_to, OP_REPLY, &payload)
}

/// A legacy write or cursor message: a reserved or flags int32, the namespace, then what `rest` holds.
pub fn legacy(request_id: i32, opcode: i32, flags: u32, namespace: &str, rest: &[u8]) -> Vec<u8> {
    let mut payload = flags.to_le_bytes().to_vec();
    payload.extend(namespace.as_bytes());
    payload.push(0);
    payload.extend(rest);
    message(request_id, 0, opcode, &payload)
}

/// A document as BSON.
pub fn bytes_of(document: &Document) -> Vec<u8> {
    document.to_vec().expect("a document to bytes")
}

/// CRC-32C (Castagnoli), bit by bit: slow, short, and independent of the code under test.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    })
}
