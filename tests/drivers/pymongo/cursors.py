"""Cursors over many batches, exhaust, tailable, killed and shared by sessions; explain; GridFS."""

import gridfs
from bson import encode as bson_encode
from bson.objectid import ObjectId
from harness import expect_error
from pymongo.cursor import CursorType


def many_batches(c):
    c.db.many.insert_many([{"_id": i, "pad": str(i) * 50} for i in range(300)])
    return [one["_id"] for one in c.db.many.find(batch_size=17).sort("_id", 1)]


def big_batches(c):
    c.db.big.insert_many([{"_id": i, "pad": chr(97 + i) * 200_000} for i in range(8)])
    return [(one["_id"], len(one["pad"])) for one in c.db.big.find(batch_size=3).sort("_id", 1)]


def aggregate_batches(c):
    return [one["_id"] for one in c.db.many.aggregate([{"$sort": {"_id": -1}}, {"$project": {"_id": 1}}], batchSize=40)]


def raw_batches(c):
    return [len(batch) for batch in c.db.many.find_raw_batches({"_id": {"$lt": 50}}, batch_size=20)]


def interleaved(c):
    """Cursors that are open at once must not get each other's batches."""
    open_cursors = [iter(c.db.many.find({"_id": {"$gte": start}}, {"_id": 1}, batch_size=5).sort("_id", 1).limit(20)) for start in (0, 100, 200)]
    return [[next(cursor)["_id"] for cursor in open_cursors] for _ in range(20)]


def exhaust(c):
    return [one["_id"] for one in c.db.many.find({}, {"_id": 1}, cursor_type=CursorType.EXHAUST, batch_size=25)]


def exhaust_again(c):
    """The connection of an exhaust cursor answers ordinary commands afterwards."""
    first = [one["_id"] for one in c.db.many.find({"_id": {"$lt": 60}}, {"_id": 1}, cursor_type=CursorType.EXHAUST, batch_size=10)]
    return {"first": first, "then": c.db.many.find_one({"_id": 5})}


def tailable(c):
    c.db.create_collection("capped", capped=True, size=100_000, max=50)
    c.db.capped.insert_many([{"_id": i} for i in range(5)])
    cursor = c.db.capped.find(cursor_type=CursorType.TAILABLE, batch_size=3)
    seen = [cursor.next()["_id"] for _ in range(5)]
    c.db.capped.insert_many([{"_id": i} for i in range(5, 8)])
    seen += [cursor.next()["_id"] for _ in range(3)]
    alive = cursor.alive
    cursor.close()
    return {"seen": seen, "alive": alive}


def tailable_await(c):
    cursor = c.db.capped.find({"_id": {"$gte": 5}}, cursor_type=CursorType.TAILABLE_AWAIT).max_await_time_ms(300)
    seen = [cursor.next()["_id"] for _ in range(3)]
    nothing = next(cursor, None)
    c.db.capped.insert_one({"_id": "late"})
    late = [one["_id"] for one in c.db.capped.find({"_id": "late"})]
    cursor.close()
    return {"seen": seen, "nothing": nothing, "late": late}


def kill_cursors(c):
    opened = c.db.command("find", "many", batchSize=2, sort={"_id": 1})["cursor"]["id"]
    more = c.db.command("getMore", opened, collection="many", batchSize=2)
    killed = c.db.command("killCursors", "many", cursors=[opened])
    gone = expect_error(lambda: c.db.command("getMore", opened, collection="many"))
    return {"more": more, "killed": killed, "gone": gone, "again": c.db.command("killCursors", "many", cursors=[opened])}


def close_cursor(c):
    cursor = c.db.many.find(batch_size=5)
    next(cursor)
    cursor.close()
    return {"alive": cursor.alive}


def explain(c):
    return c.db.command("explain", {"find": "crud", "filter": {"n": {"$gt": 5}}, "sort": {"n": 1}}, verbosity="executionStats")


def explain_aggregate(c):
    return c.db.command("explain", {"aggregate": "many", "pipeline": [{"$match": {"_id": 3}}, {"$limit": 1}], "cursor": {}}, verbosity="queryPlanner")


def time_limit(c):
    seen = expect_error(lambda: list(c.db.crud.find({"$where": "sleep(50) || true"}).max_time_ms(60)))
    # The text depends on where the server was when time ran out.
    c.recorder.take()
    return {"type": seen["type"], "code": seen["code"]}


def gridfs_files(c):
    bucket = gridfs.GridFSBucket(c.db, chunk_size_bytes=60_000)
    content = bytes(i % 251 for i in range(200_000))
    bucket.upload_from_stream_with_id(ObjectId("600000000000000000000001"), "file.bin", content, metadata={"kind": "test"})
    opened = bucket.open_download_stream_by_name("file.bin")
    same = opened.read() == content
    opened.seek(100_000)
    part = opened.read(10)
    listed = [[one.filename, one.length, one.chunk_size] for one in bucket.find({})]
    bucket.rename(opened._id, "renamed.bin")
    bucket.delete(opened._id)
    return {"same": same, "part": part, "listed": listed, "left": c.db["fs.chunks"].count_documents({})}


def gridfs_missing(c):
    try:
        gridfs.GridFSBucket(c.db).open_download_stream_by_name("absent")
    except gridfs.NoFile as error:
        return {"no_file": str(error)}
    raise AssertionError("an absent file was opened")


def limits(c):
    """A document that is too large is refused by the driver or the server, with the same words."""
    largest = {"_id": "largest", "pad": "y" * (16 * 1024 * 1024 - 60)}
    stored = c.db.limits.insert_one(largest).inserted_id
    size = c.db.limits.aggregate([{"$project": {"size": {"$bsonSize": "$$ROOT"}}}]).next()
    read_back = len(bson_encode(c.client[c.name].limits.find_one({"_id": stored}, {"pad": 0})))
    return {"stored": stored, "size": size, "without_pad": read_back, "refused": expect_error(lambda: c.db.limits.insert_one({"pad": "z" * 17_000_000}))}


STEPS = [
    (step.__name__, step)
    for step in (
        many_batches, big_batches, aggregate_batches, raw_batches, interleaved, exhaust, exhaust_again, tailable, tailable_await, kill_cursors,
        close_cursor, explain, explain_aggregate, time_limit, gridfs_files, gridfs_missing, limits,
    )
]
