//! Sessions, transactions with abort and retry, retryable reads and writes, causal and snapshot reads, secondary reads.

use std::time::Duration;

use bson::{Bson, doc};
use futures_util::TryStreamExt;
use mongodb::error::{Error, Result};
use mongodb::options::{
    Acknowledgment, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{ClientSession, Collection};

use crate::harness::{Context, expect_error, show};
use crate::steps;

pub async fn run(c: &Context) {
    steps!(
        c,
        explicit_session,
        transaction_commit,
        transaction_abort,
        transaction_cursor,
        transaction_conflict,
        transaction_error
    );
    steps!(
        c,
        transaction_commit_retried,
        with_transaction_retried,
        retryable_write_error,
        state_change,
        retryable_write_lost
    );
    steps!(
        c,
        retryable_write_concern,
        not_retried,
        retryable_read,
        any_causal,
        snapshot,
        any_secondary_reads,
        nearest,
        write_concerns
    );
}

fn reading(c: &Context, name: &str, preference: ReadPreference) -> Collection<bson::Document> {
    let options = CollectionOptions::builder()
        .selection_criteria(SelectionCriteria::ReadPreference(preference))
        .read_concern(ReadConcern::majority());
    c.db.collection_with_options(name, options.build())
}

fn secondary(c: &Context, name: &str) -> Collection<bson::Document> {
    reading(c, name, ReadPreference::Secondary { options: None })
}

async fn explicit_session(c: &Context) -> Result<Bson> {
    let mut session = c.client.start_session().await?;
    let first = c.collection("crud").find_one(doc! {"_id": 8}).session(&mut session).await?;
    show((
        first,
        c.collection("crud")
            .update_one(doc! {"_id": 8}, doc! {"$set": {"seen": true}})
            .session(&mut session)
            .await?,
    ))
}

async fn transaction_commit(c: &Context) -> Result<Bson> {
    let crud = c.collection("crud");
    let mut session = c.client.start_session().await?;
    session
        .start_transaction()
        .read_concern(ReadConcern::snapshot())
        .write_concern(WriteConcern::majority())
        .await?;
    crud.insert_one(doc! {"_id": "t1"}).session(&mut session).await?;
    crud.update_one(doc! {"_id": 9}, doc! {"$inc": {"n": 1}}).session(&mut session).await?;
    let inside = crud.find_one(doc! {"_id": "t1"}).session(&mut session).await?;
    let outside = crud.find_one(doc! {"_id": "t1"}).await?;
    session.commit_transaction().await?;
    show((inside, outside, crud.find_one(doc! {"_id": "t1"}).await?))
}

async fn transaction_abort(c: &Context) -> Result<Bson> {
    let mut session = c.client.start_session().await?;
    session.start_transaction().await?;
    c.collection("crud").insert_one(doc! {"_id": "aborted"}).session(&mut session).await?;
    session.abort_transaction().await?;
    show((
        c.collection("crud").find_one(doc! {"_id": "aborted"}).await?,
        expect_error(session.commit_transaction().await)?,
    ))
}

/// getMore within a transaction needs the member that holds it.
async fn transaction_cursor(c: &Context) -> Result<Bson> {
    let mut session = c.client.start_session().await?;
    session.start_transaction().await?;
    let mut cursor =
        c.collection("many").find(doc! {"_id": {"$lt": 40}}).batch_size(9).session(&mut session).await?;
    let mut seen = Vec::new();
    while let Some(one) = cursor.next(&mut session).await.transpose()? {
        seen.push(one);
    }
    session.commit_transaction().await?;
    show(seen)
}

async fn transaction_conflict(c: &Context) -> Result<Bson> {
    let crud = c.collection("crud");
    let (mut holder, mut other) = (c.client.start_session().await?, c.client.start_session().await?);
    holder.start_transaction().await?;
    other.start_transaction().await?;
    crud.update_one(doc! {"_id": 10}, doc! {"$set": {"by": "holder"}}).session(&mut holder).await?;
    let lost = expect_error(
        crud.update_one(doc! {"_id": 10}, doc! {"$set": {"by": "other"}}).session(&mut other).await,
    )?;
    holder.commit_transaction().await?;
    other.abort_transaction().await?;
    show((lost, crud.find_one(doc! {"_id": 10}).await?))
}

async fn transaction_error(c: &Context) -> Result<Bson> {
    let mut session = c.client.start_session().await?;
    session.start_transaction().await?;
    c.collection("crud").insert_one(doc! {"_id": "t2"}).session(&mut session).await?;
    let duplicate =
        expect_error(c.collection("crud").insert_one(doc! {"_id": "t2"}).session(&mut session).await)?;
    let gone = expect_error(c.collection("crud").find_one(doc! {}).session(&mut session).await)?;
    session.abort_transaction().await?;
    show((duplicate, gone))
}

async fn transaction_commit_retried(c: &Context) -> Result<Bson> {
    let mut session = c.client.start_session().await?;
    session.start_transaction().write_concern(WriteConcern::majority()).await?;
    c.collection("crud").insert_one(doc! {"_id": "t3"}).session(&mut session).await?;
    c.fail_point(1, doc! {"failCommands": ["commitTransaction"], "closeConnection": true}).await?;
    session.commit_transaction().await?;
    // A second commit of the same transaction is allowed and answered by the same outcome.
    session.commit_transaction().await?;
    show(c.collection("crud").find_one(doc! {"_id": "t3"}).await?)
}

async fn with_transaction_retried(c: &Context) -> Result<Bson> {
    c.fail_point(
        2,
        doc! {"failCommands": ["insert"], "errorCode": 24, "errorLabels": ["TransientTransactionError"]},
    )
    .await?;
    let mut session = c.client.start_session().await?;
    let crud = c.collection("crud");
    let mut attempts = 0;
    session
        .start_transaction()
        .and_run2(async |session: &mut ClientSession| {
            attempts += 1;
            crud.insert_one(doc! {"_id": "t4", "attempts": attempts}).session(session).await
        })
        .await?;
    show(crud.find_one(doc! {"_id": "t4"}).await?)
}

async fn retryable_write_error(c: &Context) -> Result<Bson> {
    // HostUnreachable: retried, but not taken for a change of the member's state.
    c.fail_point(
        1,
        doc! {"failCommands": ["insert"], "errorCode": 6, "errorLabels": ["RetryableWriteError"]},
    )
    .await?;
    show(c.collection("retry").insert_one(doc! {"_id": 1}).await?)
}

/// NotWritablePrimary and a shutdown code make a driver doubt the member until its next hello, which must come.
async fn state_change(c: &Context) -> Result<Bson> {
    // A hello that awaits a change comes without one after heartbeatFrequencyMS: 10 s by default.
    let quick =
        c.connect(&c.uri, |options| options.heartbeat_freq = Some(Duration::from_millis(500))).await?;
    let retry = quick.database(c.db.name()).collection::<bson::Document>("retry");
    for code in [10107, 11600] {
        c.fail_point(
            1,
            doc! {"failCommands": ["insert"], "errorCode": code, "errorLabels": ["RetryableWriteError"]},
        )
        .await?;
        retry.insert_one(doc! {"_id": format!("code {code}")}).await?;
    }
    let seen = retry
        .find(doc! {"_id": {"$regex": "code"}})
        .sort(doc! {"_id": 1})
        .await?
        .try_collect::<Vec<_>>()
        .await?;
    quick.shutdown().await;
    show(seen)
}

async fn retryable_write_lost(c: &Context) -> Result<Bson> {
    c.fail_point(1, doc! {"failCommands": ["update"], "closeConnection": true}).await?;
    show(c.collection("retry").update_one(doc! {"_id": 1}, doc! {"$inc": {"n": 1}}).await?)
}

async fn retryable_write_concern(c: &Context) -> Result<Bson> {
    let error = doc! {"code": 262, "codeName": "ExceededTimeLimit", "errmsg": "from the fail point"};
    c.fail_point(
        1,
        doc! {"failCommands": ["insert"], "writeConcernError": error, "errorLabels": ["RetryableWriteError"]},
    )
    .await?;
    show(c.collection("retry").insert_one(doc! {"_id": 2}).await?)
}

async fn not_retried(c: &Context) -> Result<Bson> {
    let plain = c.connect(&c.uri, |options| options.retry_writes = Some(false)).await?;
    c.fail_point(1, doc! {"failCommands": ["insert"], "closeConnection": true}).await?;
    let seen =
        expect_error(plain.database(c.db.name()).collection("retry").insert_one(doc! {"_id": 3}).await)?;
    plain.shutdown().await;
    show((seen, c.collection("retry").find_one(doc! {"_id": 3}).await?))
}

async fn retryable_read(c: &Context) -> Result<Bson> {
    c.fail_point(1, doc! {"failCommands": ["find"], "closeConnection": true}).await?;
    show(c.collection("retry").find_one(doc! {"_id": 1}).await?)
}

async fn any_causal(c: &Context) -> Result<Bson> {
    let mut session = c.client.start_session().causal_consistency(true).await?;
    for i in 0..5 {
        c.collection("causal").insert_one(doc! {"_id": i}).session(&mut session).await?;
        let seen = secondary(c, "causal").find_one(doc! {"_id": i}).session(&mut session).await?;
        seen.ok_or_else(|| Error::custom(format!("own write {i} not seen on a secondary")))?;
    }
    show("own writes seen")
}

async fn snapshot(c: &Context) -> Result<Bson> {
    let crud = c.collection("crud");
    let mut session = c.client.start_session().snapshot(true).await?;
    let before = crud.find_one(doc! {"_id": 11}).session(&mut session).await?;
    crud.update_one(doc! {"_id": 11}, doc! {"$set": {"snapshot": "later"}}).await?;
    show((
        before,
        crud.find_one(doc! {"_id": 11}).session(&mut session).await?,
        crud.find_one(doc! {"_id": 11}).await?,
    ))
}

// `any_`: the driver picks a secondary by chance, and its role is compared; `nearest`: any member at all.
async fn any_secondary_reads(c: &Context) -> Result<Bson> {
    let crud = secondary(c, "crud");
    show((crud.find_one(doc! {"_id": 12}).await?, crud.count_documents(doc! {"small": true}).await? as i64))
}

async fn nearest(c: &Context) -> Result<Bson> {
    show(reading(c, "crud", ReadPreference::Nearest { options: None }).find_one(doc! {"_id": 12}).await?)
}

async fn write_concerns(c: &Context) -> Result<Bson> {
    let wc = c.collection("wc");
    for nodes in 1..=3 {
        wc.insert_one(doc! {"_id": nodes})
            .write_concern(WriteConcern::builder().w(Acknowledgment::Nodes(nodes)).build())
            .await?;
    }
    let too_many =
        WriteConcern::builder().w(Acknowledgment::Nodes(9)).w_timeout(Duration::from_millis(100)).build();
    expect_error(wc.insert_one(doc! {"_id": "nine"}).write_concern(too_many).await)
}
