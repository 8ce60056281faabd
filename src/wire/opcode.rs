//! The opcodes, with their numbers.

/// What kind of message follows the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Opcode {
    /// OP_REPLY, a server's answer to OP_QUERY and OP_GET_MORE.
    Reply = 1,
    /// OP_UPDATE, to servers before 5.1.
    Update = 2001,
    /// OP_INSERT, to servers before 5.1.
    Insert = 2002,
    /// OP_QUERY: today only for the first hello of a connection.
    Query = 2004,
    /// OP_GET_MORE, to servers before 5.1.
    GetMore = 2005,
    /// OP_DELETE, to servers before 5.1.
    Delete = 2006,
    /// OP_KILL_CURSORS, to servers before 5.1.
    KillCursors = 2007,
    /// OP_COMPRESSED, a wrapper round any other.
    Compressed = 2012,
    /// OP_MSG, since 3.6.
    Msg = 2013,
}

impl Opcode {
    /// The opcode with this number.
    pub fn from_i32(number: i32) -> Option<Opcode> {
        Some(match number {
            1 => Opcode::Reply,
            2001 => Opcode::Update,
            2002 => Opcode::Insert,
            2004 => Opcode::Query,
            2005 => Opcode::GetMore,
            2006 => Opcode::Delete,
            2007 => Opcode::KillCursors,
            2012 => Opcode::Compressed,
            2013 => Opcode::Msg,
            _ => return None,
        })
    }

    /// The legacy writes, to which a server never replies: the outcome is asked for by getLastError on the same
    /// connection.
    pub fn is_legacy_write(self) -> bool {
        matches!(self, Opcode::Insert | Opcode::Update | Opcode::Delete)
    }
}
