//! Reads and writes of single documents, bulk writes, indexes, aggregation and collation.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::IndexModel;
use mongodb::error::Result;
use mongodb::options::{Collation, IndexOptions, ReturnDocument};

use crate::harness::{Context, expect_error, show};
use crate::steps;

pub async fn run(c: &Context) {
    steps!(
        c,
        insert_one,
        insert_generated_id,
        insert_many,
        every_type,
        duplicate_key,
        find_one,
        find_sorted,
        update,
        delete,
        find_and_modify,
        bulk_error
    );
    steps!(c, bulk_large, count_and_distinct, indexes, aggregate, aggregate_out, collation, collections);
}

async fn insert_one(c: &Context) -> Result<Bson> {
    show(c.collection("crud").insert_one(doc! {"_id": 1, "name": "one", "n": 1}).await?)
}

async fn insert_generated_id(c: &Context) -> Result<Bson> {
    let inserted = c.collection("generated").insert_one(doc! {"name": "driver's own id"}).await?.inserted_id;
    show((&inserted, c.collection("generated").find_one(doc! {"_id": inserted.clone()}).await?))
}

async fn insert_many(c: &Context) -> Result<Bson> {
    let documents =
        (2..41).map(|i| doc! {"_id": i, "name": format!("n{i}"), "n": i, "half": f64::from(i) / 2.0});
    show(c.collection("crud").insert_many(documents).await?.inserted_ids.len() as i64)
}

async fn every_type(c: &Context) -> Result<Bson> {
    let types = doc! {
        "_id": bson::oid::ObjectId::parse_str("5f5f5f5f5f5f5f5f5f5f5f5f").unwrap_or_default(), "double": 1.5, "text": "ein schöner Tag \u{1f418}", "doc": {"a": {"b": []}},
        "array": [1, "2", null], "binary": bson::Binary { subtype: bson::spec::BinarySubtype::UserDefined(128), bytes: (0..=255).collect() }, "flag": true,
        "date": bson::DateTime::from_millis(1_577_881_800_000), "long": 1_i64 << 60, "empty": "", "code": Bson::JavaScriptCode("x".into()),
        "timestamp": bson::Timestamp { time: 1, increment: 2 },
    };
    c.collection("types").insert_one(types).await?;
    show(c.collection("types").find_one(doc! {}).await?)
}

async fn duplicate_key(c: &Context) -> Result<Bson> {
    expect_error(c.collection("crud").insert_one(doc! {"_id": 1}).await)
}

async fn find_one(c: &Context) -> Result<Bson> {
    show([
        c.collection("crud").find_one(doc! {"_id": 7}).await?,
        c.collection("crud").find_one(doc! {"_id": "absent"}).await?,
    ])
}

async fn find_sorted(c: &Context) -> Result<Bson> {
    let found = c
        .collection("crud")
        .find(doc! {"n": {"$gt": 5}})
        .projection(doc! {"name": 1})
        .sort(doc! {"n": -1})
        .skip(3)
        .limit(5)
        .await?;
    show(found.try_collect::<Vec<Document>>().await?)
}

async fn update(c: &Context) -> Result<Bson> {
    let crud = c.collection("crud");
    show([
        crud.update_one(doc! {"_id": 1}, doc! {"$set": {"name": "changed"}, "$inc": {"n": 10}}).await?,
        crud.update_one(doc! {"_id": "upserted"}, doc! {"$set": {"n": 1000}}).upsert(true).await?,
        crud.update_many(doc! {"n": {"$lt": 10}}, doc! {"$set": {"small": true}}).await?,
        crud.update_one(doc! {"_id": 2}, vec![doc! {"$set": {"twice": {"$multiply": ["$n", 2]}}}]).await?,
        crud.replace_one(doc! {"_id": 3}, doc! {"name": "replaced"}).await?,
    ])
}

async fn delete(c: &Context) -> Result<Bson> {
    show([
        c.collection("crud").delete_one(doc! {"_id": 4}).await?,
        c.collection("crud").delete_many(doc! {"n": {"$gt": 38}}).await?,
    ])
}

async fn find_and_modify(c: &Context) -> Result<Bson> {
    let crud = c.collection("crud");
    show([
        crud.find_one_and_update(doc! {"_id": 5}, doc! {"$inc": {"n": 1}})
            .return_document(ReturnDocument::After)
            .await?,
        crud.find_one_and_replace(doc! {"_id": 6}, doc! {"name": "six"}).await?,
        crud.find_one_and_delete(doc! {"_id": 7}).projection(doc! {"name": 1}).await?,
        crud.find_one_and_update(doc! {"_id": "none"}, doc! {"$set": {"a": 1}}).await?,
    ])
}

/// The driver's own bulkWrite needs a server of 8.0; insert_many is its bulk write for older ones.
async fn bulk_error(c: &Context) -> Result<Bson> {
    let mut seen = Vec::new();
    for ordered in [true, false] {
        let documents = [
            doc! {"_id": format!("a {ordered}")},
            doc! {"_id": format!("a {ordered}")},
            doc! {"_id": format!("b {ordered}")},
        ];
        seen.push(expect_error(c.collection("bulk").insert_many(documents).ordered(ordered).await)?);
    }
    show(seen)
}

async fn bulk_large(c: &Context) -> Result<Bson> {
    let pad = "x".repeat(400);
    let inserted = c
        .collection("large")
        .insert_many((0..2500).map(|i| doc! {"_id": i, "pad": &pad}))
        .await?
        .inserted_ids
        .len() as i64;
    show((inserted, c.collection("large").count_documents(doc! {}).await? as i64))
}

async fn count_and_distinct(c: &Context) -> Result<Bson> {
    let crud = c.collection("crud");
    let counts = [
        crud.count_documents(doc! {"small": true}).await? as i64,
        crud.estimated_document_count().await? as i64,
    ];
    show((counts, crud.distinct("name", doc! {"n": {"$lt": 15}}).await?))
}

async fn indexes(c: &Context) -> Result<Bson> {
    let indexed = c.collection("indexed");
    indexed.insert_many((0..9).map(|i| doc! {"_id": i, "a": i % 3})).await?;
    let options = IndexOptions::builder().name("ab".to_string()).build();
    let created = indexed
        .create_index(IndexModel::builder().keys(doc! {"a": 1, "b": -1}).options(options).build())
        .await?
        .index_name;
    let listed = indexed.list_indexes().await?.try_collect::<Vec<_>>().await?;
    indexed.drop_index("ab").await?;
    show((created, listed, indexed.list_index_names().await?))
}

async fn aggregate(c: &Context) -> Result<Bson> {
    let group = doc! {"$group": {"_id": {"$mod": ["$n", 4]}, "total": {"$sum": "$n"}, "avg": {"$avg": "$n"}}};
    let found = c
        .collection("crud")
        .aggregate([doc! {"$match": {"n": {"$exists": true}}}, group, doc! {"$sort": {"_id": 1}}])
        .await?;
    show(found.try_collect::<Vec<_>>().await?)
}

async fn aggregate_out(c: &Context) -> Result<Bson> {
    let crud = c.collection("crud");
    crud.aggregate([doc! {"$match": {"small": true}}, doc! {"$sort": {"_id": 1}}, doc! {"$out": "small"}])
        .await?;
    let merge = doc! {"$merge": {"into": "small", "whenMatched": "replace"}};
    crud.aggregate([doc! {"$match": {"n": {"$gte": 20}}}, doc! {"$project": {"n": 1}}, merge]).await?;
    show(c.collection("small").find(doc! {}).sort(doc! {"n": 1}).await?.try_collect::<Vec<_>>().await?)
}

async fn collation(c: &Context) -> Result<Bson> {
    let words = c.collection("words");
    let all = ["cote", "Côte", "coté", "CÔTÉ", "zebra", "Äpfel", "apfel"];
    words.insert_many(all.iter().enumerate().map(|(i, w)| doc! {"_id": i as i32, "w": w})).await?;
    let german = Collation::builder().locale("de").build();
    show(words.find(doc! {}).sort(doc! {"w": 1}).collation(german).await?.try_collect::<Vec<_>>().await?)
}

async fn collections(c: &Context) -> Result<Bson> {
    c.db.create_collection("strict").validator(doc! {"n": {"$type": "int"}}).await?;
    let refused = expect_error(c.collection("strict").insert_one(doc! {"_id": 1, "n": "text"}).await)?;
    c.db.create_collection("seen")
        .view_on("crud".to_string())
        .pipeline(vec![doc! {"$match": {"small": true}}])
        .await?;
    let listed =
        c.db.list_collections().filter(doc! {"name": "strict"}).await?.try_collect::<Vec<_>>().await?;
    c.collection("small").drop().await?;
    show((refused, listed, c.collection("seen").count_documents(doc! {}).await? as i64))
}
