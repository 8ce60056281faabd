"""The disconnects soak: clients that leave in the middle of everything, others that stay, and one that watches the server."""

import argparse
import random
import sys
import threading
import time

import pymongo
from ledger import Ledger
from level import level, orphans, settled
from partners import Partner
from raw import DATABASE
from scenes import Scenes, prepare

# What is in flight when the last client has left may take this long: a transaction's 15 s, and a little.
SETTLE_SECONDS = 16
SHOWN = 10


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--torana", required=True, help="torana's listener, host:port")
    parser.add_argument("--server", required=True, help="the member behind it, host:port")
    parser.add_argument("--admin", required=True, help="torana's admin endpoint")
    parser.add_argument("--pid", required=True, type=int, help="torana's process")
    parser.add_argument("--count", type=int, default=10_000, help="disconnects")
    parser.add_argument("--warm-up", type=int, default=1_000, help="disconnects before the level is taken")
    parser.add_argument("--threads", type=int, default=24, help="clients that leave, at once")
    parser.add_argument("--partners", type=int, default=8, help="clients that stay")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Round:
    """`count` disconnects, and all that became of them."""

    def __init__(self, options, server, count, seed):
        self._count, self._lock = count, threading.Lock()
        self.ledger = Ledger()
        address = options.torana
        self._partners = [Partner(address, random.Random(f"p{seed}-{n}"), self.ledger) for n in range(options.partners)]
        self._scenes = [
            Scenes(address, random.Random(f"s{seed}-{n}"), self.ledger, self._partners) for n in range(options.threads)
        ]
        self._server = server
        self._watch = threading.Thread(target=self.ledger.watch, args=(server,))

    def run(self):
        """Until all has ended that was left behind. Returns how many acts of those that stayed were whole."""
        leaving = [threading.Thread(target=self._leave, args=(scenes,)) for scenes in self._scenes]
        staying = [partner.thread for partner in self._partners]
        for thread in [self._watch, *leaving, *staying]:
            thread.start()
        for thread in leaving:
            thread.join()
        time.sleep(SETTLE_SECONDS)
        self.ledger.end()
        for thread in [self._watch, *staying]:
            thread.join()
        left = self.ledger.look(self._server)
        if left:
            self.ledger.found(f"{left} operations or transactions are left on the server")
        return sum(partner.done for partner in self._partners)

    def _leave(self, scenes):
        while not self.ledger.findings:
            with self._lock:
                if self._count == 0:
                    return
                self._count -= 1
            scenes.play()


def main():
    options = arguments()
    server = pymongo.MongoClient(options.server, directConnection=True)
    prepare(server)
    Round(options, server, options.warm_up, f"{options.seed}-warm-up").run()
    start = level(options.admin, options.pid)
    print(f"start: {start}", flush=True)
    began = time.monotonic()
    soak = Round(options, server, options.count, options.seed)
    done = soak.run()
    end = settled(options.admin, options.pid, start)
    ledger = soak.ledger
    whole, absent = ledger.judge_writes(server[DATABASE])
    print(f"end: {end}, after {time.monotonic() - began:.0f} s")
    figures = {
        "count": options.count,
        "longest read after its client left": f"{ledger.longest_read:.2f} s",
        "longest transaction after its client left": f"{ledger.longest_transaction:.2f} s",
        "writes whole": whole,
        "writes never begun": absent,
        "acts of clients that stayed": done,
    }
    for name, value in figures.items():
        print(f"figure disconnects {name}: {value}")
    print(*orphans(options.admin), sep="\n")
    findings = ledger.findings + end.above(start)
    for text in findings[:SHOWN]:
        print(f"found: {text}")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
