"""Clients that stay. Each shares its session with those that leave, and nothing of its own may be hit by that."""

import threading
import time
import uuid

from bson import Int64
from raw import Raw
from scenes import new_session

SLOW_DOCUMENTS = 4
MANY_DOCUMENTS = 40
# Longer than torana's own limit for a transaction that nobody uses (10 s): this one is in use.
TRANSACTION_WAITS_SECONDS = 13


class Partner:
    """One of them; stops at the end of what it is doing once `ledger` says so."""

    def __init__(self, address, dice, ledger):
        self._address, self._dice, self._ledger = address, dice, ledger
        self.lsid = new_session()
        self.done = 0
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        acts = [self._slow_read, self._cursor, self._transaction, self._write]
        while not self._ledger.is_over():
            act = self._dice.choices(acts, [4, 4, 1, 3])[0]
            try:
                act()
                self.done += 1
            except Exception as error:  # whatever it is, it was hit
                self._ledger.found(f"a client that stayed, with the session of one that left: {act.__name__}: {error!r}")
                return

    def _slow_read(self):
        client = Raw(self._address)
        slow = {"_id": {"$lt": SLOW_DOCUMENTS}, "$where": "function() { sleep(300); return true; }"}
        reply = client.run({"find": "many", "filter": slow, "lsid": self.lsid})
        expect(len(reply["cursor"]["firstBatch"]), SLOW_DOCUMENTS)
        client.leave()

    def _cursor(self):
        client = Raw(self._address)
        cursor = client.run({"find": "many", "batchSize": 4, "lsid": self.lsid})["cursor"]
        count = len(cursor["firstBatch"])
        while cursor["id"]:
            time.sleep(0.1)
            more = {"getMore": cursor["id"], "collection": "many", "batchSize": 4, "lsid": self.lsid}
            cursor = client.run(more)["cursor"]
            count += len(cursor["nextBatch"])
        expect(count, MANY_DOCUMENTS)
        client.leave()

    def _write(self):
        client = Raw(self._address)
        group = str(uuid.uuid4())
        documents = [{"group": group, "n": n} for n in range(100)]
        expect(client.run({"insert": "kept", "documents": documents, "lsid": self.lsid})["n"], len(documents))
        slow = {"group": group, "n": {"$lt": 5}, "$where": "function() { sleep(50); return true; }"}
        update = {"q": slow, "u": {"$set": {"done": True}}, "multi": True}
        expect(client.run({"update": "kept", "updates": [update], "lsid": self.lsid})["n"], 5)
        client.leave()

    def _transaction(self):
        """Over two connections; one leaves in the middle, and the other goes on after a while."""
        stays, leaves = Raw(self._address), Raw(self._address)
        session, group = new_session(), str(uuid.uuid4())
        statement = {"lsid": session, "txnNumber": Int64(1), "autocommit": False}

        def insert(client, n, **start):
            client.run({"insert": "kept", "documents": [{"group": group, "n": n}], **statement, **start})

        insert(stays, 0, startTransaction=True)
        insert(leaves, 1)
        leaves.leave(abruptly=True)
        time.sleep(TRANSACTION_WAITS_SECONDS)
        insert(stays, 2)
        stays.run({"commitTransaction": 1, **statement}, "admin")
        expect(stays.run({"count": "kept", "query": {"group": group}})["n"], 3)
        stays.leave()


def expect(got, wanted):
    if got != wanted:
        raise AssertionError(f"{got} instead of {wanted}")
