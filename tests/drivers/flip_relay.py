#!/usr/bin/env python3
"""A relay that changes one byte of the Nth reply, to show that the comparison sees it.

flip_relay.py --listen HOST:PORT --target HOST:PORT --reply N [--seed S]

It stands between a client and a mongod (or torana) on a direct connection. Replies are counted over all
connections; those of monitoring and handshakes are not, since a driver keeps them to itself. The byte is one that
the comparison promises to see: a key or a value that is no id, time or address. It prints what it changed.
"""

import argparse
import asyncio
import random
import struct
import sys

from normalise import CLIENT_KEYS, CURSOR_LIST_KEYS, DURATION_KEYS, ID_KEYS, KEPT, Normaliser, bare

OP_REPLY, OP_MSG, OP_QUERY = 1, 2013, 2004
OP_QUERY_NAME_AT = 20
MORE_TO_COME = 2
HELLO = ("hello", "ismaster")
# A step waits for these, and prints nothing of them.
SILENT = ("endsessions", "killcursors", "abort")
SKIPPED_KEYS = ID_KEYS | DURATION_KEYS | CLIENT_KEYS | CURSOR_LIST_KEYS | {"$clusterTime", "operationTime", "opTime", "_data", "keyId", "hash"}
FIXED_SIZES = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
DOCUMENT, ARRAY, STRINGS, BINARY, REGEX = 0x03, 0x04, (0x02, 0x0D, 0x0E), 0x05, 0x0B
UUID_SUBTYPES = (3, 4)
COMPARED = {0x01: 8, 0x08: 1, 0x10: 4, 0x12: 8}


def int32(data, at):
    return struct.unpack_from("<i", data, at)[0]


def cstring_end(data, at):
    return data.index(0, at)


def places(data, at, path=(), named=True):
    """(path, offset) of the bytes of a BSON document at `at` that the comparison does not replace.

    Not `named`: an array, whose keys ("0", "1", ...) no driver looks at or shows.
    """
    end = at + int32(data, at)
    at += 4
    while at < end - 1:
        kind = data[at]
        name_end = cstring_end(data, at + 1)
        key = data[at + 1:name_end].decode()
        here = path + (key,)
        value = name_end + 1
        skipped = key in SKIPPED_KEYS or (path[-1:] == ("cursor",) and key == "id")
        if not skipped:
            if named:
                yield here + ("(key)",), at + 1
            yield from value_places(data, kind, value, here)
        at = value + size(data, kind, value)


def value_places(data, kind, at, path):
    if kind in (DOCUMENT, ARRAY):
        yield from places(data, at, path, kind == DOCUMENT)
    elif kind in STRINGS:
        text = data[at + 4:at + 3 + int32(data, at)]
        # Text with an id or a time in it is compared without them.
        if text and text.isascii() and Normaliser({}).text(text.decode()) == text.decode():
            yield path, at + 4 + len(text) // 2
    elif kind == BINARY and int32(data, at) and data[at + 4] not in UUID_SUBTYPES:
        yield path, at + 5
    elif kind in COMPARED:
        # The most significant byte of a number lies last; of a double the lowest is shown too.
        yield path, at


def size(data, kind, at):
    if kind in FIXED_SIZES:
        return FIXED_SIZES[kind]
    if kind in (DOCUMENT, ARRAY):
        return int32(data, at)
    if kind in STRINGS:
        return 4 + int32(data, at)
    if kind == BINARY:
        return 5 + int32(data, at)
    if kind == REGEX:
        return cstring_end(data, cstring_end(data, at) + 1) + 1 - at
    raise ValueError(f"BSON type {kind:#x} at {at}")


def documents(message):
    """Offsets of the documents of a reply."""
    opcode = int32(message, 12)
    at = 36 if opcode == OP_REPLY else 21
    end = len(message) - (4 if opcode == OP_MSG and int32(message, 16) & 1 else 0)
    while at + 4 < end:
        yield at
        at += int32(message, at)


def command_of(request):
    """The command's name in small letters, and whether an application sent it."""
    opcode = int32(request, 12)
    if opcode == OP_MSG:
        at = 21
    elif opcode == OP_QUERY:
        at = cstring_end(request, OP_QUERY_NAME_AT) + 9
        if not request[OP_QUERY_NAME_AT:at - 9].endswith(b".$cmd"):
            return "query", True
    else:
        return "legacy", True
    name = request[at + 5:cstring_end(request, at + 5)].decode().lower()
    # Only commands of an application carry a session; the driver's own hellos, and an old one's pings, have none.
    monitoring = HELLO if opcode == OP_MSG else (*HELLO, "ping")
    return name, name not in monitoring or b"\x05id\x00" in request


class Flipper:
    """Counts replies over all connections and changes one."""

    def __init__(self, nth, seed):
        self.nth = nth
        self.seed = seed
        self.count = 0

    def pass_on(self, name, message):
        if name in SILENT or bare(name) in KEPT:
            return message
        self.count += 1
        if self.count != self.nth:
            return message
        found = [place for at in documents(message) for place in places(message, at)]
        path, at = random.Random(self.seed * 100_003 + self.nth).choice(found)
        changed = bytearray(message)
        changed[at] ^= 1
        print(f"changed reply {self.nth} ({name}, {len(message)} bytes): {'.'.join(path)}, byte {at}: {message[at]:#04x} -> {changed[at]:#04x}", flush=True)
        return bytes(changed)


class Connection:
    """One client connection: remembers which command each request id was."""

    def __init__(self, flipper):
        self.flipper = flipper
        self.asked = {}

    def request(self, message):
        self.asked[int32(message, 4)] = command_of(message)
        return message

    def reply(self, message):
        name, counted = self.asked.pop(int32(message, 8), ("unknown", False))
        if int32(message, 12) == OP_MSG and int32(message, 16) & MORE_TO_COME:
            self.asked[int32(message, 4)] = (name, counted)
        return self.flipper.pass_on(name, message) if counted else message


async def pump(reader, writer, change):
    try:
        while True:
            header = await reader.readexactly(16)
            body = await reader.readexactly(int32(header, 0) - 16)
            writer.write(change(header + body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


async def serve(args):
    flipper = Flipper(args.reply, args.seed)

    async def accept(reader, writer):
        connection = Connection(flipper)
        server_reader, server_writer = await asyncio.open_connection(*split(args.target))
        await asyncio.gather(pump(reader, server_writer, connection.request), pump(server_reader, writer, connection.reply))

    server = await asyncio.start_server(accept, *split(args.listen))
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--reply", type=int, required=True, help="which reply to change, from 1; 0 for none")
    parser.add_argument("--seed", type=int, default=1)
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
