"""Writers of the failover soak: a process of threads that each write one document after the other, w:majority.

A write has an id of its own. What was acknowledged, and when, and every error that reached the application, is kept
until the end. Times are of the system's monotonic clock, which all processes share.
"""

import multiprocessing
import threading
import time

import pymongo
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

DATABASE = "soak"
# Between two writes of one writer: 64 writers then leave two cores to the servers, whose elections are what counts.
PAUSE_SECONDS = 0.1
THREADS_A_PROCESS = 16
BEGIN_WITHIN = 60
# torana's own time-out for connects and for silent members. No socketTimeoutMS, as is the drivers' default: a driver
# then gives up what it has in flight with a member that stands still when its monitor does.
DRIVER_OPTIONS = {"connectTimeoutMS": 10_000}

_context = multiprocessing.get_context("spawn")


class Writers:
    """`count` writers named `role` through `uri`, started at once."""

    def __init__(self, role, uri, count):
        self.role = role
        self._stop = _context.Event()
        self._results = _context.Queue()
        self._begun = _context.Semaphore(0)
        self._processes = [
            _context.Process(target=_process, args=(role, uri, range(first, min(first + THREADS_A_PROCESS, count)), self._begun, self._stop, self._results))
            for first in range(0, count, THREADS_A_PROCESS)
        ]
        for process in self._processes:
            process.start()

    def await_begun(self):
        """Waits until each has had its first acknowledgment: what begins while a primary fails has no gap to measure."""
        for _ in self._processes:
            if not self._begun.acquire(timeout=BEGIN_WITHIN):
                raise SystemExit(f"found: not every {self.role} writer wrote once in {BEGIN_WITHIN} s")

    def end(self):
        """What they did: acknowledgments as {writer: [time, ...]}, acknowledged ids, errors as (time, text)."""
        self._stop.set()
        acknowledged, ids, errors = {}, set(), []
        for _ in self._processes:
            for writer, times, own_ids, own_errors in self._results.get(timeout=120):
                acknowledged[writer] = times
                ids.update(own_ids)
                errors.extend(own_errors)
        for process in self._processes:
            process.join()
        return acknowledged, ids, sorted(errors)


def _process(role, uri, numbers, begun, stop, results):
    client = pymongo.MongoClient(uri, appname=f"soak-{role}", **DRIVER_OPTIONS)
    collection = client[DATABASE].get_collection(role, write_concern=WriteConcern("majority"))
    writers = [_Writer(f"{role}-{number}", collection, stop) for number in numbers]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    while not all(writer.times for writer in writers) and not stop.is_set():
        time.sleep(PAUSE_SECONDS)
    begun.release()
    for thread in threads:
        thread.join()
    results.put([(writer.name, writer.times, writer.ids, writer.errors) for writer in writers])


class _Writer:
    def __init__(self, name, collection, stop):
        self.name, self._collection, self._stop = name, collection, stop
        self.times, self.ids, self.errors = [], [], []

    def run(self):
        number = 0
        while not self._stop.is_set():
            number += 1
            self._write(f"{self.name}-{number}")
            time.sleep(PAUSE_SECONDS)

    def _write(self, ident):
        sent = time.monotonic()
        try:
            self._collection.insert_one({"_id": ident})
        except PyMongoError as error:
            now = time.monotonic()
            self.errors.append((now, f"{ident} after {now - sent:.1f} s: {type(error).__name__}: {str(error)[:300]}"))
            return
        self.times.append(time.monotonic())
        self.ids.append(ident)
