//! Change streams: on a collection, a database and the deployment, resumed after a token and after a lost connection.

use std::time::Duration;

use bson::{Bson, doc};
use futures_util::StreamExt;
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ChangeStreamEvent;
use mongodb::error::{Error, Result};
use mongodb::options::FullDocumentType;

use bson::Document;

use crate::harness::{Context, show};
use crate::steps;

const AWAIT: Duration = Duration::from_millis(2000);

pub async fn run(c: &Context) {
    steps!(
        c,
        watch_collection,
        watch_filtered,
        watch_deployment,
        watch_nothing,
        watch_resumed,
        watch_survives_lost_connection
    );
}

type Stream = ChangeStream<ChangeStreamEvent<Document>>;

async fn events(stream: &mut Stream, count: usize) -> Result<Vec<ChangeStreamEvent<Document>>> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(stream.next().await.unwrap_or_else(|| Err(Error::custom("the stream ended")))?);
    }
    Ok(seen)
}

async fn watch_collection(c: &Context) -> Result<Bson> {
    let watched = c.collection("watched");
    let mut stream =
        watched.watch().full_document(FullDocumentType::UpdateLookup).max_await_time(AWAIT).await?;
    watched.insert_one(doc! {"_id": 1, "n": 1}).await?;
    watched.update_one(doc! {"_id": 1}, doc! {"$set": {"n": 2}}).await?;
    watched.replace_one(doc! {"_id": 1}, doc! {"n": 3}).await?;
    watched.delete_one(doc! {"_id": 1}).await?;
    show(events(&mut stream, 4).await?)
}

async fn watch_filtered(c: &Context) -> Result<Bson> {
    let only = [doc! {"$match": {"operationType": "insert", "fullDocument.keep": true}}];
    let mut stream = c.db.watch().pipeline(only).max_await_time(AWAIT).await?;
    c.collection("watched")
        .insert_many((0..6).map(|i| doc! {"_id": format!("f{i}"), "keep": i % 2 == 0}))
        .await?;
    show(events(&mut stream, 3).await?)
}

async fn watch_deployment(c: &Context) -> Result<Bson> {
    let own = [doc! {"$match": {"ns.db": c.db.name()}}];
    let mut stream = c.client.watch().pipeline(own).batch_size(2).max_await_time(AWAIT).await?;
    c.collection("watched").insert_many((0..5).map(|i| doc! {"_id": format!("d{i}")})).await?;
    show(events(&mut stream, 5).await?)
}

async fn watch_nothing(c: &Context) -> Result<Bson> {
    let mut stream = c.collection("watched").watch().max_await_time(Duration::from_millis(200)).await?;
    show(stream.next_if_any().await?)
}

async fn watch_resumed(c: &Context) -> Result<Bson> {
    let watched = c.collection("watched");
    let mut stream = watched.watch().max_await_time(AWAIT).await?;
    watched.insert_many((0..4).map(|i| doc! {"_id": format!("r{i}")})).await?;
    let token =
        events(&mut stream, 2).await?.pop().map(|event| event.id).ok_or_else(|| Error::custom("no event"))?;
    let mut stream = watched.watch().resume_after(token).max_await_time(AWAIT).await?;
    show(events(&mut stream, 2).await?)
}

async fn watch_survives_lost_connection(c: &Context) -> Result<Bson> {
    let watched = c.collection("watched");
    let mut stream = watched.watch().max_await_time(AWAIT).await?;
    watched.insert_one(doc! {"_id": "before"}).await?;
    let mut seen = events(&mut stream, 1).await?;
    c.fail_point(1, doc! {"failCommands": ["getMore"], "closeConnection": true}).await?;
    watched.insert_one(doc! {"_id": "after"}).await?;
    seen.extend(events(&mut stream, 1).await?);
    show(seen)
}
