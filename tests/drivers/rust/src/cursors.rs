//! Cursors over many batches, tailable, killed; explain; GridFS.

use std::time::Duration;

use bson::{Bson, Document, doc};
use futures_util::{AsyncReadExt, AsyncWriteExt, TryStreamExt};
use mongodb::Cursor;
use mongodb::error::{Error, Result};
use mongodb::options::{CursorType, GridFsBucketOptions};

use crate::harness::{Context, expect_error, show};
use crate::steps;

pub async fn run(c: &Context) {
    steps!(
        c,
        many_batches,
        big_batches,
        aggregate_batches,
        interleaved,
        kill_cursors,
        dropped_cursor,
        tailable,
        tailable_await
    );
    steps!(c, explain, explain_aggregate, gridfs_files, gridfs_missing, limits);
}

async fn ids(cursor: Cursor<Document>) -> Result<Bson> {
    let found: Vec<Document> = cursor.try_collect().await?;
    show(found.iter().filter_map(|one| one.get("_id")).collect::<Vec<_>>())
}

async fn take(cursor: &mut Cursor<Document>, count: usize) -> Result<Vec<Document>> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(cursor.try_next().await?.ok_or_else(|| Error::custom("the cursor ended early"))?);
    }
    Ok(seen)
}

async fn many_batches(c: &Context) -> Result<Bson> {
    c.collection("many")
        .insert_many((0..300).map(|i: i32| doc! {"_id": i, "pad": i.to_string().repeat(50)}))
        .await?;
    ids(c.collection("many").find(doc! {}).sort(doc! {"_id": 1}).batch_size(17).await?).await
}

async fn big_batches(c: &Context) -> Result<Bson> {
    c.collection("big")
        .insert_many((0..8).map(|i: i32| doc! {"_id": i, "pad": i.to_string().repeat(200_000)}))
        .await?;
    ids(c.collection("big").find(doc! {}).sort(doc! {"_id": 1}).batch_size(3).await?).await
}

async fn aggregate_batches(c: &Context) -> Result<Bson> {
    ids(c
        .collection("many")
        .aggregate([doc! {"$sort": {"_id": -1}}, doc! {"$project": {"_id": 1}}])
        .batch_size(40)
        .await?)
    .await
}

/// Cursors that are open at once must not get each other's batches.
async fn interleaved(c: &Context) -> Result<Bson> {
    let mut cursors = Vec::new();
    for from in [0, 100, 200] {
        cursors.push(
            c.collection("many")
                .find(doc! {"_id": {"$gte": from}})
                .projection(doc! {"_id": 1})
                .sort(doc! {"_id": 1})
                .limit(20)
                .batch_size(5)
                .await?,
        );
    }
    let mut seen = Vec::new();
    for _ in 0..20 {
        for cursor in &mut cursors {
            seen.extend(take(cursor, 1).await?);
        }
    }
    show(seen)
}

async fn tailable(c: &Context) -> Result<Bson> {
    c.db.create_collection("capped").capped(true).size(100_000_u64).max(50_u64).await?;
    c.collection("capped").insert_many((0..5).map(|i| doc! {"_id": i})).await?;
    let mut cursor =
        c.collection("capped").find(doc! {}).cursor_type(CursorType::Tailable).batch_size(3).await?;
    let mut seen = take(&mut cursor, 5).await?;
    c.collection("capped").insert_one(doc! {"_id": 5}).await?;
    seen.extend(take(&mut cursor, 1).await?);
    show(seen)
}

async fn tailable_await(c: &Context) -> Result<Bson> {
    let wait = Duration::from_millis(300);
    let mut cursor = c
        .collection("capped")
        .find(doc! {"_id": {"$gte": 3}})
        .cursor_type(CursorType::TailableAwait)
        .max_await_time(wait)
        .await?;
    let mut seen = take(&mut cursor, 3).await?;
    c.collection("capped").insert_one(doc! {"_id": 6}).await?;
    seen.extend(take(&mut cursor, 1).await?);
    show(seen)
}

async fn kill_cursors(c: &Context) -> Result<Bson> {
    let opened = c.db.run_command(doc! {"find": "many", "batchSize": 2, "sort": {"_id": 1}}).await?;
    let id = opened.get_document("cursor").and_then(|cursor| cursor.get_i64("id")).map_err(Error::custom)?;
    let more = c.db.run_command(doc! {"getMore": id, "collection": "many", "batchSize": 2}).await?;
    let killed = c.db.run_command(doc! {"killCursors": "many", "cursors": [id]}).await?;
    let gone = expect_error(c.db.run_command(doc! {"getMore": id, "collection": "many"}).await)?;
    show((more, killed, gone))
}

/// The driver kills a dropped cursor in the background.
async fn dropped_cursor(c: &Context) -> Result<Bson> {
    let mut cursor = c.collection("many").find(doc! {}).batch_size(5).await?;
    let first = take(&mut cursor, 1).await?;
    drop(cursor);
    c.replied("killCursors").await?;
    show(first)
}

async fn explain(c: &Context) -> Result<Bson> {
    let find = doc! {"find": "crud", "filter": {"n": {"$gt": 5}}, "sort": {"n": 1}};
    show(c.db.run_command(doc! {"explain": find, "verbosity": "executionStats"}).await?)
}

async fn explain_aggregate(c: &Context) -> Result<Bson> {
    let aggregate =
        doc! {"aggregate": "many", "pipeline": [{"$match": {"_id": 3}}, {"$limit": 1}], "cursor": {}};
    show(c.db.run_command(doc! {"explain": aggregate, "verbosity": "queryPlanner"}).await?)
}

async fn gridfs_files(c: &Context) -> Result<Bson> {
    let bucket = c.db.gridfs_bucket(GridFsBucketOptions::builder().chunk_size_bytes(60_000).build());
    let content: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    let mut upload = bucket.open_upload_stream("file.bin").id(Bson::Int32(1)).await?;
    upload.write_all(&content).await?;
    upload.close().await?;
    let mut back = Vec::new();
    bucket.open_download_stream(Bson::Int32(1)).await?.read_to_end(&mut back).await?;
    bucket.rename(Bson::Int32(1), "renamed.bin").await?;
    bucket.delete(Bson::Int32(1)).await?;
    show((back == content, c.collection("fs.chunks").count_documents(doc! {}).await? as i64))
}

async fn gridfs_missing(c: &Context) -> Result<Bson> {
    expect_error(c.db.gridfs_bucket(None).open_download_stream_by_name("absent").await.map(drop))
}

async fn limits(c: &Context) -> Result<Bson> {
    c.collection("limits")
        .insert_one(doc! {"_id": "largest", "pad": "y".repeat(16 * 1024 * 1024 - 60)})
        .await?;
    let size = c
        .collection("limits")
        .aggregate([doc! {"$project": {"size": {"$bsonSize": "$$ROOT"}}}])
        .await?
        .try_collect::<Vec<_>>()
        .await?;
    show((
        size,
        expect_error(
            c.collection("limits").insert_one(doc! {"_id": 1, "pad": "z".repeat(17_000_000)}).await,
        )?,
    ))
}
