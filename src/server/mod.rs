//! A connection to a mongod: connect, handshake, read and write.
