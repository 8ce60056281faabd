//! Whole messages from a blocking socket, through a buffer: one system call brings most of them.

use std::io::{self, ErrorKind, Read};

use crate::wire::{HEADER_LEN, Header};

/// Reads one message into `message`. False: the peer closed between two messages.
pub fn read_message(stream: &mut impl Read, message: &mut Vec<u8>) -> io::Result<bool> {
    message.resize(HEADER_LEN, 0);
    let first = stream.read(message)?;
    if first == 0 {
        return Ok(false);
    }
    stream.read_exact(&mut message[first..])?;
    let header = Header::read(message).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    let length = header.map_or(HEADER_LEN, |header| header.length);
    message.resize(length, 0);
    stream.read_exact(&mut message[HEADER_LEN..])?;
    Ok(true)
}
