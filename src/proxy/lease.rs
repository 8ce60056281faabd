//! The lease of a torana that is alone with its set: what `sequential` stands on where there is no ZooKeeper.
//!
//! Two toranas that do not know of each other would break what each of them promises. So the one that serves collections tagged
//! `sequential` or higher says so in a document of the set itself, renewed while it runs, and another one refuses to. The
//! write that takes the lease is of a majority: its time is above all that a predecessor, on this machine or elsewhere, has
//! told its clients. Taken only once a client needs it.

use std::sync::{Arc, Weak};

use tokio::time::{Duration, Instant, sleep, timeout};

use super::context::{Set, Shared};
use super::exchange::check_in;
use super::own_command;
use crate::consistency::Times;
use crate::doc::{DocWriter, find};
use crate::pool::Class;

/// Where the document stands.
const DATABASE: &str = "torana";
const COLLECTION: &str = "lease";
const ID: &str = "sequential";

/// How long after its last renewal others take the lease, by the primary's clock.
const TAKEN_AFTER: Duration = Duration::from_secs(15);

/// How long its holder counts on it, from before it was asked for: two clocks may differ in pace, and what is being told at
/// the end takes its time.
const HELD_FOR: Duration = Duration::from_secs(10);

const RENEWED_EVERY: Duration = Duration::from_secs(3);
const RETRIED_AFTER: Duration = Duration::from_millis(500);

/// How long one attempt may take.
const WITHIN: Duration = Duration::from_secs(5);

/// DuplicateKey.
const DUPLICATE_KEY: i64 = 11000;

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The same for a process that takes the place of one that has ended, and for no other that runs.
    id: String,
    /// For people.
    place: String,
}

impl Holder {
    /// This process, which listens on `listens`. Another that could listen there is on another machine, or in another
    /// network namespace.
    pub fn of_this_process(listens: &str) -> Holder {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
        let id = format!("{host} {} {} {listens}", boot.trim(), namespace.display());
        Holder { id, place: format!("{listens} on {host}") }
    }
}

/// Keeps the lease of `weak` for as long as the set is held, from when it is first wanted.
pub async fn keep(shared: Arc<Shared>, weak: Weak<Set>, holder: Holder) {
    let Some(horizon) = weak.upgrade().map(|set| set.horizon.clone()) else { return };
    horizon.wants_lease().await;
    while let Some(set) = weak.upgrade() {
        let asked = Instant::now();
        let taken = timeout(WITHIN, take(&shared, &set, &holder)).await;
        let rest = match taken.unwrap_or_else(|_| Err(format!("no answer within {WITHIN:?}"))) {
            Ok(time) => {
                horizon.leased(asked + HELD_FOR, time);
                RENEWED_EVERY
            }
            Err(cause) => {
                if !horizon.is_troubled() {
                    tracing::warn!(set = %set.name, "the lease on the set's levels is not held: {cause}; trying again");
                }
                horizon.failed(cause);
                RETRIED_AFTER
            }
        };
        drop(set);
        sleep(rest).await;
    }
}

/// Takes the lease, or renews it. The answer is a time that is above all that was told before.
async fn take(shared: &Shared, set: &Set, holder: &Holder) -> Result<u64, String> {
    let primary = set.primary().ok_or("the set has no primary")?;
    let mut server =
        primary.pools.common().check_out(Class::Relief, None).await.map_err(|error| error.to_string())?;
    let mut taken = Err(String::new());
    for is_first in [false, true] {
        let reply = own_command::run(shared, &mut server, &command(holder, is_first)).await;
        let reply = reply.map_err(|error| error.to_string())?;
        taken = outcome(&reply);
        if !matches!(taken, Ok(None)) {
            break;
        }
    }
    if taken.as_ref().is_err_and(|cause| cause.is_empty()) {
        let reply =
            own_command::run(shared, &mut server, &look()).await.map_err(|error| error.to_string())?;
        taken = Err(format!(
            "another torana serves this set's tagged collections ({}): name a ZooKeeper ensemble for both",
            held_by(&reply).unwrap_or("it has just let go")
        ));
    }
    check_in(server);
    taken?.ok_or_else(|| "the lease was not taken".to_owned())
}

/// What a findAndModify came to: a time, nothing found, or an error, which is empty if another holds the lease.
fn outcome(reply: &[u8]) -> Result<Option<u64>, String> {
    let code = find(reply, "code").and_then(|code| code.value.as_i64());
    if code == Some(DUPLICATE_KEY) {
        return Err(String::new());
    }
    let text = |key: &str| find(reply, key).and_then(|element| element.value.as_str().map(str::to_owned));
    if let Some(error) = text("errmsg") {
        return Err(error);
    }
    if find(reply, "writeConcernError").is_some() {
        return Err("no majority of the set took it".to_owned());
    }
    if find(reply, "value").is_none_or(|value| value.value.as_document().is_none()) {
        return Ok(None);
    }
    // A standalone server has no such time, and nobody who could be behind.
    Ok(Some(Times::read(reply).operation.unwrap_or(0)))
}

/// Renews the holder's own lease or takes one that has ended; `is_first`: makes it, if there is none.
fn command(holder: &Holder, is_first: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut command = DocWriter::begin(&mut out);
    command.string(b"findAndModify", COLLECTION);
    command.document(b"query", |query| {
        query.string(b"_id", ID);
        if is_first {
            query.string(b"holder", &holder.id);
            return;
        }
        query.array(b"$or", |or| {
            or.document(b"0", |own| _ = own.string(b"holder", &holder.id));
            or.document(b"1", |ended| {
                ended.document(b"$expr", |expression| {
                    expression.array(b"$lt", |before| {
                        before.string(b"0", "$renewed");
                        before.document(b"1", |limit| {
                            limit.array(b"$subtract", |terms| {
                                terms.string(b"0", "$$NOW").i64(b"1", TAKEN_AFTER.as_millis() as i64);
                            });
                        });
                    });
                });
            });
        });
    });
    command.array(b"update", |pipeline| {
        pipeline.document(b"0", |stage| {
            stage.document(b"$set", |set| {
                for (key, text) in [(b"holder".as_slice(), &holder.id), (b"place", &holder.place)] {
                    set.document(key, |literal| _ = literal.string(b"$literal", text));
                }
                set.string(b"renewed", "$$NOW");
            });
        });
    });
    command.bool(b"upsert", is_first).bool(b"new", true);
    command.document(b"writeConcern", |concern| {
        concern.string(b"w", "majority").i64(b"wtimeout", WITHIN.as_millis() as i64);
    });
    command.string(b"$db", DATABASE);
    command.finish();
    out
}

/// Asks who has it.
fn look() -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let mut command = DocWriter::begin(&mut out);
    command.string(b"find", COLLECTION).document(b"filter", |filter| _ = filter.string(b"_id", ID));
    command.string(b"$db", DATABASE);
    command.finish();
    out
}

fn held_by(reply: &[u8]) -> Option<&str> {
    let batch = find(find(reply, "cursor")?.value.as_document()?, "firstBatch")?.value.as_document()?;
    find(find(batch, "0")?.value.as_document()?, "place")?.value.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Timestamp, doc};

    fn read(reply: bson::Document) -> Result<Option<u64>, String> {
        outcome(&bson::serialize_to_vec(&reply).unwrap())
    }

    #[test]
    fn a_lease_is_taken_by_what_a_majority_has_and_by_nothing_else() {
        let time = Timestamp { time: 7, increment: 1 };
        let value = doc! { "_id": ID };
        assert_eq!(read(doc! { "value": &value, "ok": 1.0, "operationTime": time }), Ok(Some((7 << 32) + 1)));
        assert_eq!(read(doc! { "value": null, "ok": 1.0, "operationTime": time }), Ok(None));
        let doubtful =
            doc! { "value": &value, "writeConcernError": { "code": 64 }, "ok": 1.0, "operationTime": time };
        assert!(read(doubtful).is_err());
        assert_eq!(read(doc! { "ok": 0.0, "errmsg": "E11000", "code": 11000 }), Err(String::new()));
        assert_eq!(read(doc! { "ok": 0.0, "errmsg": "no", "code": 10107 }), Err("no".to_owned()));
    }

    #[test]
    fn whoever_could_listen_at_the_same_place_at_once_is_another_holder() {
        let one = Holder::of_this_process("127.0.0.1:27117");
        assert_eq!(one, Holder::of_this_process("127.0.0.1:27117"));
        assert_ne!(one.id, Holder::of_this_process("127.0.0.1:27217").id);
        assert!(one.place.starts_with("127.0.0.1:27117 on "));
    }
}
