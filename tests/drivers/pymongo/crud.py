"""Reads and writes of single documents, bulk writes, indexes, aggregation and collation."""

import datetime

from bson import Decimal128, Int64, ObjectId, Regex
from bson.binary import Binary
from bson.code import Code
from harness import expect_error
from pymongo import ASCENDING, DESCENDING, DeleteOne, InsertOne, ReplaceOne, ReturnDocument, TEXT, UpdateMany, UpdateOne
from pymongo.collation import Collation
from pymongo.write_concern import WriteConcern


def insert_one(c):
    result = c.db.crud.insert_one({"_id": 1, "name": "one", "n": 1})
    return {"inserted_id": result.inserted_id, "acknowledged": result.acknowledged}


def insert_generated_id(c):
    result = c.db.generated.insert_one({"name": "driver's own id"})
    return {"inserted_id": result.inserted_id, "found": c.db.generated.find_one({"_id": result.inserted_id})}


def insert_many(c):
    return c.db.crud.insert_many([{"_id": i, "name": f"n{i}", "n": i, "half": i / 2} for i in range(2, 41)]).inserted_ids


def every_type(c):
    c.db.types.insert_one({
        "_id": ObjectId("5f5f5f5f5f5f5f5f5f5f5f5f"), "double": 1.5, "text": "ein schöner Tag \U0001f418", "doc": {"a": {"b": []}}, "array": [1, "2", None],
        "binary": Binary(bytes(range(256)), 128), "flag": True, "date": datetime.datetime(2020, 1, 1, 12, 30), "null": None,
        "regex": Regex("^a.b", "i"), "code": Code("x"), "int": 7, "long": Int64(2**60), "decimal": Decimal128("3.14159"), "empty": "",
    })
    return c.db.types.find_one({})


def duplicate_key(c):
    return expect_error(lambda: c.db.crud.insert_one({"_id": 1}))


def find_one(c):
    return [c.db.crud.find_one({"_id": 7}), c.db.crud.find_one({"_id": "absent"})]


def find_sorted(c):
    return list(c.db.crud.find({"n": {"$gt": 5}}, {"name": 1}).sort("n", DESCENDING).skip(3).limit(5))


def update_one(c):
    return c.db.crud.update_one({"_id": 1}, {"$set": {"name": "changed"}, "$inc": {"n": 10}}).raw_result


def update_upsert(c):
    return c.db.crud.update_one({"_id": "upserted"}, {"$set": {"n": 1000}}, upsert=True).raw_result


def update_many(c):
    return c.db.crud.update_many({"n": {"$lt": 10}}, {"$set": {"small": True}}).raw_result


def update_array_filters(c):
    c.db.arrays.insert_one({"_id": 1, "items": [{"v": 1}, {"v": 5}, {"v": 9}]})
    c.db.arrays.update_one({"_id": 1}, {"$set": {"items.$[big].seen": True}}, array_filters=[{"big.v": {"$gte": 5}}])
    return c.db.arrays.find_one({"_id": 1})


def update_pipeline(c):
    return c.db.crud.update_one({"_id": 2}, [{"$set": {"twice": {"$multiply": ["$n", 2]}}}]).raw_result


def replace_one(c):
    return c.db.crud.replace_one({"_id": 3}, {"name": "replaced"}).raw_result


def delete(c):
    return [c.db.crud.delete_one({"_id": 4}).raw_result, c.db.crud.delete_many({"n": {"$gt": 38}}).raw_result]


def find_and_modify(c):
    return [
        c.db.crud.find_one_and_update({"_id": 5}, {"$inc": {"n": 1}}, return_document=ReturnDocument.AFTER),
        c.db.crud.find_one_and_replace({"_id": 6}, {"name": "six"}, return_document=ReturnDocument.BEFORE),
        c.db.crud.find_one_and_delete({"_id": 7}, projection={"name": 1}),
        c.db.crud.find_one_and_update({"_id": "none"}, {"$set": {"a": 1}}),
    ]


OPERATIONS = [
    InsertOne({"_id": "b1"}), UpdateOne({"_id": "b1"}, {"$set": {"x": 1}}), UpdateOne({"_id": "b2"}, {"$set": {"x": 2}}, upsert=True),
    UpdateMany({"x": {"$gt": 0}}, {"$inc": {"x": 5}}), ReplaceOne({"_id": "b1"}, {"y": 1}), DeleteOne({"_id": "b2"}), InsertOne({"_id": "b3"}),
]


def bulk_ordered(c):
    return c.db.bulk.bulk_write(OPERATIONS).bulk_api_result


def bulk_error(c):
    return [
        expect_error(lambda ordered=ordered: c.db.bulk.bulk_write([InsertOne({"_id": "b3"}), InsertOne({"_id": f"after {ordered}"})], ordered=ordered))
        for ordered in (True, False)
    ]


def bulk_large(c):
    # Past 100,000 operations or 48 MB a driver splits by itself; 2,500 keep the reply readable and the request at 1 MB.
    result = c.db.large.insert_many([{"_id": i, "pad": "x" * 400} for i in range(2500)])
    return {"count": len(result.inserted_ids), "stored": c.db.large.count_documents({})}


def unacknowledged(c):
    quiet = c.db.get_collection("quiet", write_concern=WriteConcern(w=0))
    acknowledged = [quiet.insert_one({"_id": i}).acknowledged for i in range(20)]
    # Writes without a reply are ordered among themselves only on one connection: wait for all of them to have run.
    for _ in range(200):
        if c.db.quiet.estimated_document_count() == 20:
            break
    c.recorder.take()
    return {"acknowledged": acknowledged, "stored": list(c.db.quiet.find().sort("_id", 1))}


def count_and_distinct(c):
    return [c.db.crud.count_documents({"small": True}), c.db.crud.estimated_document_count(), sorted(c.db.crud.distinct("name", {"n": {"$lt": 15}}))]


def indexes(c):
    c.db.indexed.insert_many([{"_id": i, "a": i % 3, "t": f"word{i} common"} for i in range(9)])
    created = [c.db.indexed.create_index([("a", ASCENDING), ("b", DESCENDING)], name="ab"), c.db.indexed.create_index([("t", TEXT)], name="text")]
    listed = list(c.db.indexed.list_indexes())
    c.db.indexed.drop_index("text")
    return {"created": created, "listed": listed, "left": c.db.indexed.index_information()}


def aggregate(c):
    pipeline = [{"$match": {"n": {"$exists": True}}}, {"$group": {"_id": {"$mod": ["$n", 4]}, "total": {"$sum": "$n"}, "avg": {"$avg": "$n"}}}, {"$sort": {"_id": 1}}]
    return list(c.db.crud.aggregate(pipeline))


def aggregate_out(c):
    c.db.crud.aggregate([{"$match": {"small": True}}, {"$sort": {"_id": 1}}, {"$out": "small"}])
    c.db.crud.aggregate([{"$match": {"n": {"$gte": 20}}}, {"$project": {"n": 1}}, {"$merge": {"into": "small", "whenMatched": "replace"}}])
    return list(c.db.small.find().sort("n", 1))


def lookup_and_facet(c):
    return list(c.db.arrays.aggregate([
        {"$lookup": {"from": "crud", "localField": "items.v", "foreignField": "_id", "as": "joined"}},
        {"$facet": {"all": [{"$unwind": "$joined"}, {"$sort": {"joined._id": 1}}], "count": [{"$count": "n"}]}},
    ]))


def collation(c):
    c.db.words.insert_many([{"_id": i, "w": w} for i, w in enumerate(["cote", "Côte", "coté", "CÔTÉ", "zebra", "Äpfel", "apfel"])])
    french = Collation(locale="fr", strength=1)
    return [list(c.db.words.find({"w": "cote"}, collation=french).sort("_id", 1)), list(c.db.words.find().sort("w", 1).collation(Collation("de")))]


def map_reduce(c):
    code = Code("function() { emit('all', this.n); }")
    return c.db.command("mapReduce", "crud", map=code, reduce=Code("function(k, v) { return Array.sum(v); }"), out={"inline": 1}, query={"n": {"$exists": True}})


def collections(c):
    c.db.create_collection("strict", validator={"n": {"$type": "int"}})
    refused = expect_error(lambda: c.db.strict.insert_one({"_id": 1, "n": "text"}))
    c.db.command("create", "seen", viewOn="crud", pipeline=[{"$match": {"small": True}}])
    c.db.quiet.rename("renamed")
    listed = list(c.db.list_collections(filter={"name": {"$in": ["strict", "seen", "renamed"]}}))
    c.db.renamed.drop()
    return {"refused": refused, "view": c.db.seen.count_documents({}), "listed": sorted(listed, key=lambda one: one["name"])}


STEPS = [
    (step.__name__, step)
    for step in (
        insert_one, insert_generated_id, insert_many, every_type, duplicate_key, find_one, find_sorted, update_one, update_upsert, update_many,
        update_array_filters, update_pipeline, replace_one, delete, find_and_modify, bulk_ordered, bulk_error, bulk_large, unacknowledged,
        count_and_distinct, indexes, aggregate, aggregate_out, lookup_and_facet, collation, map_reduce, collections,
    )
]
