"""A client without a driver: one socket, one message at a time, and the freedom to leave whenever it likes."""

import itertools
import socket
import struct
import time

import bson

OP_MSG = 2013
MORE_TO_COME = 2
DATABASE = "soak"
# Longer than anything that a client here waits for to its end.
PATIENCE_SECONDS = 60

_request_ids = itertools.count(1)


def message(command, database=DATABASE, flags=0):
    """One OP_MSG."""
    body = struct.pack("<iB", flags, 0) + bson.encode({**command, "$db": database})
    return struct.pack("<iiii", 16 + len(body), next(_request_ids) & 0x7FFFFFFF, 0, OP_MSG) + body


class Refused(Exception):
    """The server's answer was an error."""


class Raw:
    """A connection after its hello."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.run({"hello": 1}, "admin")

    def run(self, command, database=DATABASE):
        """The reply; Refused if that is an error."""
        self.send(message(command, database))
        return self.reply()

    def send(self, data):
        self._socket.sendall(data)

    def reply(self):
        (length,) = struct.unpack("<i", self._read(4))
        rest = self._read(length - 4)
        document = bson.decode(rest[17:])
        if not document.get("ok"):
            raise Refused(document)
        if "writeErrors" in document:
            raise Refused(document["writeErrors"])
        return document

    def read_some(self, limit):
        """Whatever part of a reply comes first."""
        self._socket.recv(limit)

    def _read(self, length):
        parts = []
        while length:
            part = self._socket.recv(min(length, 1 << 20))
            if not part:
                raise ConnectionError("closed")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def leave(self, abruptly=False):
        """Closes the connection, `abruptly` with a reset; returns when that was."""
        if abruptly:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        return time.monotonic()
