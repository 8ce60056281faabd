#!/usr/bin/env python3
"""Searches what a driver printed through the proxy for addresses of real members.

leaks.py PROXIED --members real=proxy,... [--host-name NAME]

Members stand on 127.0.0.2, .3, .4, so that even a bare host is unmistakable. The operating system's host
name with a member's port (`vm:27001`) counts too, except in the places of the closed list below, which is the
README's. Bytes of binaries are searched as well as text. Exits 1 with the path of each leak.
"""

import argparse
import base64
import json
import socket
import sys

# Places that name the operating system's host, or a peer's own side of a connection, and not a member to dial.
ALLOWED_PLACES = [
    "serverStatus.host",
    "currentOp.host",
    "currentOp.client",
    "currentOp.command.from",
    "currentOp.command.hostInfo",
    "explain.serverInfo.host",
    "explain.serverInfo.port",
    "hostInfo.system.hostname",
    "getCmdLineOpts.argv",
    "getCmdLineOpts.parsed.net.bindIp",
    "getLog.log",
]


def bare(name):
    return name.replace("_", "").lower()


def allowed(names, path):
    """Whether the end of `path`, in a reply of a step or command of `names`, is on the closed list."""
    parts = [part for part in path if not part.isdigit()]
    for place in ALLOWED_PLACES:
        owner, *tail = place.split(".")
        if any(name.startswith(bare(owner)) for name in names) and parts[-len(tail):] == tail:
            return True
    return False


def texts(value, path=()):
    """Every string of a document with its path: keys, values and the bytes of binaries."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, path
            yield from texts(item, path + (key,))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, path + (str(index),))
    elif isinstance(value, str):
        yield value, path
        if path and path[-1] == "base64":
            yield base64.b64decode(value + "==").decode("latin-1"), path


def leaks(line, needles):
    try:
        record = json.loads(line)
    except ValueError:
        record = {"step": "(text)", "reply": line}
    step = bare(record.get("step", ""))
    parts = [({step}, "reply", record.get("reply")), ({step}, "error", record.get("error"))]
    parts += [({step, bare(event.get("command", ""))}, "event", event) for event in record.get("events", [])]
    for names, label, part in parts:
        for text, path in texts(part):
            hits = [needle for needle in needles if needle in text.lower()]
            if hits and not allowed(names, path):
                yield f"{record.get('step')} {label} {'.'.join(path)}: {hits[0]} in {text[:200]!r}"


def needles_of(members, host_name):
    """What must not be seen: each real address, its host alone unless the proxy shares it, the system's name with its port."""
    pairs = [pair.split("=") for pair in members.split(",")]
    proxy_hosts = {pair[-1].rsplit(":", 1)[0] for pair in pairs}
    found = set()
    for real, *_ in pairs:
        host, port = real.lower().rsplit(":", 1)
        found |= {f"{host}:{port}", f"{host_name.lower()}:{port}"}
        if host not in proxy_hosts and host not in ("127.0.0.1", "localhost"):
            found.add(host)
    return sorted(found, key=len, reverse=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("proxied")
    parser.add_argument("--members", required=True)
    parser.add_argument("--host-name", default=socket.gethostname())
    args = parser.parse_args()
    needles = needles_of(args.members, args.host_name)
    count = 0
    with open(args.proxied, encoding="utf-8") as lines:
        for line in lines:
            for leak in leaks(line, needles):
                count += 1
                print("leak:", leak)
    print(f"{count} leaks of {len(needles)} names searched")
    sys.exit(1 if count else 0)


if __name__ == "__main__":
    main()
