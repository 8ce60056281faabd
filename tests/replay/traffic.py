"""What an application does with PyMongo, to be captured and replayed: python traffic.py URI [WORKERS]

Each worker has a client, collections and a database of its own, so that what it is answered depends on nobody else; beside
them a change stream is read, whose batches come when others write. Values are the same in each run.
"""

import random
import sys
import threading

import gridfs
import pymongo
from bson.codec_options import CodecOptions
from bson.objectid import ObjectId
from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne, UpdateMany, UpdateOne


def bulk(items, dice):
    items.insert_many([{"_id": n, "group": n % 7, "text": "x" * dice.randrange(200), "at": None} for n in range(500)])
    requests = [InsertOne({"_id": 1000 + n}) for n in range(50)]
    requests += [UpdateOne({"_id": n}, {"$inc": {"n": 1}, "$set": {"at": n}}) for n in range(100)]
    requests += [UpdateMany({"group": 3}, {"$push": {"list": dice.randrange(100)}})]
    requests += [ReplaceOne({"_id": 7}, {"_id": 7, "group": 0, "replaced": True}), DeleteOne({"_id": 9})]
    requests += [UpdateOne({"_id": f"upserted {n}"}, {"$set": {"n": n}}, upsert=True) for n in range(10)]
    items.bulk_write(requests, ordered=True)
    items.bulk_write([InsertOne({"_id": 2000 + n}) for n in range(50)], ordered=False)
    try:
        items.insert_many([{"_id": 3000}, {"_id": 1}, {"_id": 3001}], ordered=False)
    except pymongo.errors.BulkWriteError:
        pass


def cursors(items):
    items.create_index([("group", 1), ("_id", -1)])
    for size in (7, 50, 1000):
        sum(1 for _ in items.find({"group": {"$lt": 5}}, batch_size=size, sort=[("_id", 1)]))
    with items.find(batch_size=20, sort=[("_id", 1)]) as given_up:
        next(given_up)
    pipeline = [{"$group": {"_id": "$group", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}]
    list(items.aggregate(pipeline, batchSize=3))
    items.distinct("group")
    items.count_documents({"group": 2})
    items.estimated_document_count()
    items.find_one_and_update({"_id": 5}, {"$set": {"found": True}}, return_document=True)
    items.find_one_and_delete({"_id": 6})


def transactions(client, items, others):
    for number in range(10):
        with client.start_session() as session:
            def both(session, number=number):
                items.update_one({"_id": number}, {"$inc": {"balance": -1}}, session=session)
                others.update_one({"_id": number}, {"$inc": {"balance": 1}}, upsert=True, session=session)
                list(others.find({}, session=session, sort=[("_id", 1)]))
            session.with_transaction(both)
    with client.start_session() as session:
        session.start_transaction()
        items.insert_one({"_id": "never"}, session=session)
        session.abort_transaction()
    with client.start_session(causal_consistency=True) as session:
        items.insert_one({"_id": "causal"}, session=session)
        assert items.find_one({"_id": "causal"}, session=session)


def files(database, number):
    bucket = gridfs.GridFSBucket(database)
    content = bytes(range(256)) * 4096
    one = ObjectId(f"{number:024x}")
    with bucket.open_upload_stream_with_id(one, "file", chunk_size_bytes=100_000) as stream:
        stream.write(content)
    assert bucket.open_download_stream(one).read() == content
    two = ObjectId(f"{number + 100:024x}")
    bucket.upload_from_stream_with_id(two, "other", b"short")
    bucket.delete(two)


def work(uri, number, failures):
    try:
        dice = random.Random(number)
        client = MongoClient(uri, appname=f"worker {number}", maxPoolSize=1)
        database = client.get_database(f"app{number}", codec_options=CodecOptions(document_class=dict))
        items, others = database.items, database.others
        bulk(items, dice)
        cursors(items)
        transactions(client, items, others)
        files(database, number)
        for _ in range(200):
            key = dice.randrange(600)
            if dice.random() < 0.3:
                items.update_one({"_id": key}, {"$set": {"v": dice.randrange(1000)}}, upsert=True)
            else:
                items.find_one({"_id": key})
        database.others.rename("renamed")
        items.drop_index("group_1__id_-1")
        client.close()
    except Exception as error:
        failures.append(f"worker {number}: {error!r}")


def main():
    uri, workers = sys.argv[1], int(sys.argv[2])
    failures = []
    watcher = MongoClient(uri, appname="watcher")
    threads = [threading.Thread(target=work, args=(uri, n, failures)) for n in range(workers)]
    with watcher.app0.items.watch(max_await_time_ms=100) as stream:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            stream.try_next()
    watcher.close()
    for failure in failures:
        print(failure)
    sys.exit(1 if failures else 0)


main()
