"""Change streams: on a collection, a database and the deployment, resumed after a token and after a lost connection."""

from harness import fail_point

AWAIT_MS = 2000


def events(stream, count):
    return [next(stream) for _ in range(count)]


def watch_collection(c):
    with c.db.watched.watch(full_document="updateLookup", max_await_time_ms=AWAIT_MS) as stream:
        c.db.watched.insert_one({"_id": 1, "n": 1})
        c.db.watched.update_one({"_id": 1}, {"$set": {"n": 2}})
        c.db.watched.replace_one({"_id": 1}, {"n": 3})
        c.db.watched.delete_one({"_id": 1})
        return events(stream, 4)


def watch_filtered(c):
    with c.db.watch([{"$match": {"operationType": "insert", "fullDocument.keep": True}}], max_await_time_ms=AWAIT_MS) as stream:
        c.db.watched.insert_many([{"_id": f"f{i}", "keep": i % 2 == 0} for i in range(6)])
        return events(stream, 3)


def watch_deployment(c):
    match = [{"$match": {"ns.db": c.name}}]
    with c.client.watch(match, batch_size=2, max_await_time_ms=AWAIT_MS) as stream:
        c.db.watched.insert_many([{"_id": f"d{i}"} for i in range(5)])
        return events(stream, 5)


def watch_nothing(c):
    with c.db.watched.watch(max_await_time_ms=200) as stream:
        return {"nothing": stream.try_next(), "token": stream.resume_token is not None}


def watch_resumed(c):
    with c.db.watched.watch(max_await_time_ms=AWAIT_MS) as stream:
        c.db.watched.insert_many([{"_id": f"r{i}"} for i in range(4)])
        token = events(stream, 2)[-1]["_id"]
    with c.db.watched.watch(resume_after=token, max_await_time_ms=AWAIT_MS) as stream:
        return events(stream, 2)


def watch_survives_lost_connection(c):
    with c.db.watched.watch(max_await_time_ms=AWAIT_MS) as stream:
        c.db.watched.insert_one({"_id": "before"})
        seen = events(stream, 1)
        fail_point(c, {"times": 1}, failCommands=["getMore"], closeConnection=True)
        c.db.watched.insert_one({"_id": "after"})
        return seen + events(stream, 1)


STEPS = [
    (step.__name__, step)
    for step in (watch_collection, watch_filtered, watch_deployment, watch_nothing, watch_resumed, watch_survives_lost_connection)
]
