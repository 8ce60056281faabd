"""What torana holds: connections, descriptors, memory."""

import os
import pathlib
import time
import urllib.request
from dataclasses import dataclass

KIB = 1024
# Memory may grow by this much. An allocator keeps what it once needed, and keeps more the later the highest tide came;
# but 10,000 disconnects that each left 512 bytes behind would be more than this.
TOLERANCE_BYTES = 5 * 1024 * KIB


@dataclass
class Level:
    """At one moment."""

    clients: int
    server: int
    descriptors: int
    resident: int

    def above(self, start):
        """What is higher than at `start`, as texts. Connections to the server are torana's to keep up to its limit."""
        found = []
        if self.clients > start.clients:
            found.append(f"{self.clients} clients connected, {start.clients} at the start")
        if self.descriptors - self.server > start.descriptors - start.server:
            found.append(f"{self} has more descriptors than {start}")
        if self.resident > start.resident + TOLERANCE_BYTES:
            found.append(f"{self.resident // KIB} KiB resident, {start.resident // KIB} KiB at the start")
        return found


def settled(admin, pid, start, seconds=10):
    """The level once it is down to `start`, or after `seconds`: closing takes a moment."""
    deadline = time.monotonic() + seconds
    while True:
        now = level(admin, pid)
        if not now.above(start) or time.monotonic() > deadline:
            return now
        time.sleep(0.2)


def level(admin, pid):
    """Now."""
    return Level(
        clients=int(_metric(admin, "torana_clients_connected")),
        server=int(_metric(admin, "torana_pool_connections{")),
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        resident=_resident(pid),
    )


def _metric(admin, prefix):
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(prefix))


def orphans(admin):
    """How exchanges without a client have ended, by metric."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith("torana_orphans_total")]


def _resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * KIB
    raise RuntimeError("no VmRSS")
