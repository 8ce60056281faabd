"""What clients are in the middle of when they leave. A scene is a method that ends by leaving; most run through torana
to some point that chance chooses, a few only say half of a request.
"""

import time
import uuid

from bson import Binary, Int64

from raw import DATABASE, MORE_TO_COME, Raw, Refused, message

# A read that would run for this long if nobody ended it, in steps of 10 ms; far longer than it may.
SLOW_READ = "function() { for (let i = 0; i < 3000; i++) sleep(10); return true; }"
SLOW_AWHILE = "function() { sleep(100); return true; }"
LARGE_DOCUMENTS = 30
UPDATED_DOCUMENTS = 8


class Scenes:
    """The scenes of one thread. `ledger` is told of everything left behind, `partners` lend their sessions."""

    def __init__(self, address, dice, ledger, partners):
        self._address, self._dice, self._ledger, self._partners = address, dice, ledger, partners
        self._all = [
            (20, self.slow_read),
            (8, self.slow_aggregate),
            (10, self.large_reply),
            (12, self.insert),
            (6, self.half_a_request),
            (6, self.unacknowledged),
            (10, self.slow_update),
            (15, self.transaction),
            (8, self.idle_cursor),
            (8, self.slow_get_more),
            (4, self.change_stream),
        ]

    def play(self):
        """One scene, which counts as one disconnect."""
        scene = self._dice.choices([scene for _, scene in self._all], [weight for weight, _ in self._all])[0]
        client = Raw(self._address)
        try:
            scene(client)
        except Refused as error:
            self._ledger.found(f"{scene.__name__} was refused: {error}")
        except OSError as error:
            self._ledger.found(f"torana closed on {scene.__name__}: {error}")

    def _moment(self, longest):
        time.sleep(self._dice.random() ** 2 * longest)

    def _leave(self, client):
        return client.leave(self._dice.random() < 0.5)

    def _session(self):
        """In half of the cases one that another client uses at the same time."""
        return {"lsid": self._dice.choice(self._partners).lsid if self._dice.random() < 0.5 else new_session()}

    def _abandon_read(self, client, command):
        """Sends a read that does not end by itself, and leaves."""
        tag = f"read-{uuid.uuid4()}"
        client.send(message({**command, "comment": tag}))
        self._moment(0.3)
        self._ledger.read_left(tag, self._leave(client))

    def slow_read(self, client):
        self._abandon_read(client, {"find": "one", "filter": {"$where": SLOW_READ}, **self._session()})

    def slow_aggregate(self, client):
        slow = {"$function": {"body": SLOW_READ, "args": [], "lang": "js"}}
        pipeline = [{"$match": {"$expr": slow}}]
        self._abandon_read(client, {"aggregate": "one", "pipeline": pipeline, "cursor": {}, **self._session()})

    def large_reply(self, client):
        client.send(message({"find": "large", "limit": LARGE_DOCUMENTS, **self._session()}))
        client.read_some(self._dice.randint(1, 100_000))
        self._leave(client)

    def _group(self, size):
        group = str(uuid.uuid4())
        return group, [{"group": group, "n": n, "pad": "x" * self._dice.randint(0, 500)} for n in range(size)]

    def insert(self, client):
        group, documents = self._group(self._dice.randint(2, 300))
        client.send(message({"insert": "groups", "documents": documents, **self._session()}))
        self._moment(0.02)
        self._leave(client)
        self._ledger.wrote("groups", group, len(documents))

    def half_a_request(self, client):
        group, documents = self._group(self._dice.randint(2, 300))
        request = message({"insert": "groups", "documents": documents})
        client.send(request[: self._dice.randint(1, len(request) - 1)])
        self._moment(0.02)
        self._leave(client)
        self._ledger.wrote("groups", group, 0)

    def unacknowledged(self, client):
        group, documents = self._group(self._dice.randint(2, 50))
        insert = {"insert": "groups", "documents": documents, "writeConcern": {"w": 0}}
        client.send(message(insert, flags=MORE_TO_COME))
        self._leave(client)
        self._ledger.wrote("groups", group, len(documents))

    def slow_update(self, client):
        group, documents = self._group(UPDATED_DOCUMENTS)
        client.run({"insert": "updated", "documents": documents})
        slow = {"group": group, "$where": "function() { sleep(25); return true; }"}
        update = {"q": slow, "u": {"$set": {"done": True}}, "multi": True}
        client.send(message({"update": "updated", "updates": [update], **self._session()}))
        self._moment(0.3)
        self._leave(client)
        self._ledger.wrote("updated", group, len(documents))

    def transaction(self, client):
        session, group, size = new_session(), str(uuid.uuid4()), self._dice.randint(1, 3)
        statement = {"lsid": session, "txnNumber": Int64(1), "autocommit": False}
        for number in range(size):
            insert = {"insert": "groups", "documents": [{"group": group, "n": n} for n in (number, -number - 1)]}
            start = {"startTransaction": True} if number == 0 else {}
            client.send(message({**insert, **statement, **start}))
            if self._dice.random() < 0.15:
                size = 0  # the rest is never sent, so none of it may be seen
                break
            client.reply()
        ending = self._dice.random() if size else 1
        if ending < 0.3:
            client.send(message({"commitTransaction": 1, **statement}, "admin"))
        elif ending < 0.5:
            client.send(message({"find": "one", "filter": {"$where": SLOW_READ}, **statement}))
        self._moment(0.02)
        left = self._leave(client)
        self._ledger.transaction_left(session["id"], left)
        self._ledger.wrote("groups", group, 2 * size if ending < 0.3 else 0)

    def idle_cursor(self, client):
        client.run({"find": "many", "batchSize": 2, **self._session()})
        self._leave(client)

    def slow_get_more(self, client):
        session = self._session()
        opened = client.run({"find": "many", "filter": {"$where": SLOW_AWHILE}, "batchSize": 1, **session})
        more = {"getMore": opened["cursor"]["id"], "collection": "many", "batchSize": 100, **session}
        self._abandon_read(client, more)

    def change_stream(self, client):
        watch = {"aggregate": "quiet", "pipeline": [{"$changeStream": {}}], "cursor": {}}
        opened = client.run(watch)
        more = {"getMore": opened["cursor"]["id"], "collection": "quiet", "maxTimeMS": 30_000}
        self._abandon_read(client, more)


def new_session():
    return {"id": Binary.from_uuid(uuid.uuid4())}


def prepare(client):
    """What the scenes and partners read, on the set itself."""
    database = client[DATABASE]
    database.one.insert_one({})
    database.large.insert_many([{"pad": "x" * 100_000} for _ in range(LARGE_DOCUMENTS)])
    database.many.insert_many([{"_id": n} for n in range(40)])
    for name in ("groups", "updated", "quiet", "kept"):
        database.create_collection(name)
    for name in ("groups", "updated", "kept"):
        database[name].create_index("group")
