"""What was left behind, by whom and when, and what became of it. Shared by all threads."""

import threading
import time

READ_ENDS_WITHIN = 2.0
TRANSACTION_ENDS_WITHIN = 15.0
LOOK_EVERY = 0.2


class Ledger:
    """All counts and times are of the system's monotonic clock."""

    def __init__(self):
        self._lock = threading.Lock()
        self._reads, self._transactions = {}, {}
        self._writes = []
        self._over = threading.Event()
        self.findings = []
        self.longest_read = self.longest_transaction = 0.0

    def found(self, text):
        with self._lock:
            self.findings.append(text)

    def is_over(self):
        return self._over.is_set()

    def end(self):
        self._over.set()

    def read_left(self, tag, at):
        with self._lock:
            self._reads[tag] = at

    def transaction_left(self, session, at):
        with self._lock:
            self._transactions[bytes(session)] = at

    def wrote(self, collection, group, size):
        """`size` documents of `group`, or none of them."""
        with self._lock:
            self._writes.append((collection, group, size))

    def look(self, client):
        """What of it runs on the server now; returns how much."""
        asked = time.monotonic()
        stage = {"$currentOp": {"allUsers": True, "idleConnections": False, "idleSessions": True}}
        seen = 0
        for operation in client.admin.aggregate([stage]):
            tag = operation.get("command", {}).get("comment")
            with self._lock:
                read_left = self._reads.get(tag)
                session = operation.get("lsid", {}).get("id") if "transaction" in operation else None
                transaction_left = session and self._transactions.get(bytes(session))
            if read_left:
                seen += 1
                self._judge_read(tag, asked - read_left, operation)
            if transaction_left:
                seen += 1
                self._judge_transaction(asked - transaction_left, operation)
        return seen

    def _judge_read(self, tag, age, operation):
        self.longest_read = max(self.longest_read, age)
        if age > READ_ENDS_WITHIN:
            self.found(f"{tag} runs {age:.1f} s after its client left: {str(operation)[:600]}")
            with self._lock:
                self._reads.pop(tag, None)

    def _judge_transaction(self, age, operation):
        self.longest_transaction = max(self.longest_transaction, age)
        if age > TRANSACTION_ENDS_WITHIN:
            self.found(f"a transaction is open {age:.1f} s after its client left: {str(operation)[:600]}")

    def watch(self, client):
        """Looks until the end; a thread's work."""
        while not self.is_over():
            self.look(client)
            time.sleep(LOOK_EVERY)

    def judge_writes(self, database):
        """Counts every group of every write. Returns (whole, absent)."""
        counts = {
            "groups": _count(database.groups, {}),
            "updated": _count(database.updated, {"done": True}),
        }
        whole = absent = 0
        for collection, group, size in self._writes:
            seen = counts[collection].get(group, 0)
            whole += seen > 0
            absent += seen == 0
            if seen not in (0, size):
                self.found(f"{seen} of {size} documents of a write in {collection}")
        return whole, absent


def _count(collection, match):
    pipeline = [{"$match": match}, {"$group": {"_id": "$group", "n": {"$sum": 1}}}]
    return {row["_id"]: row["n"] for row in collection.aggregate(pipeline, allowDiskUse=True)}
