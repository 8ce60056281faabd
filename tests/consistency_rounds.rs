//! Two toranas and a secondary that stands still: a write through one, and reads through the other from that secondary, a
//! thousand times. What a level promises to whom, and what it does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use bson::{Document, doc};
use support::{Ensemble, RawClient, ReplicaSet, torana_with};

const ROUNDS: i32 = 1000;

const TAGS: &str =
    "[tags]\n\"app.*\" = \"sequential\"\n\"app.strict\" = \"linearizable\"\n\"app.plain\" = \"default\"\n";

fn put(client: &mut RawClient, collection: &str, value: i32) {
    let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": value } }, "upsert": true }];
    client.run("app", doc! { "update": collection, "updates": updates });
}

fn get(client: &mut RawClient, collection: &str) -> i32 {
    let find =
        doc! { "find": collection, "filter": { "_id": 1 }, "$readPreference": { "mode": "secondary" } };
    let reply: Document = client.run("app", find);
    let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    batch[0].as_document().unwrap().get_i32("v").unwrap()
}

#[test]
fn a_thousand_reads_behind_a_secondary_that_stands_still_are_as_fresh_as_their_level_says() {
    let zookeeper = Ensemble::of(1);
    let set = ReplicaSet::of(3).unchained().start();
    let (primary, secondary) = (set.host(set.primary()), set.secondary());
    let sharing = format!("{TAGS}[zookeeper]\nhosts = \"{}\"\n", zookeeper.hosts().join(","));
    let [here, there] = [0, 1].map(|_| torana_with(&set.uri(), &sharing));
    let mut writer = here.client_of(&primary);
    for collection in ["moved", "strict", "plain"] {
        let updates = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "v": 0 } }, "upsert": true }];
        let everywhere = doc! { "w": 3 };
        writer.run("app", doc! { "update": collection, "updates": updates, "writeConcern": everywhere });
    }
    let mut stays = there.client_of(&set.host(secondary));
    assert_eq!(get(&mut stays, "moved"), 0);
    let fail_point = doc! { "configureFailPoint": "rsSyncApplyStop", "mode": "alwaysOn" };
    set.client(secondary).run("admin", fail_point);

    let (mut last, mut stale) = (0, [0; 4]);
    for round in 1..=ROUNDS {
        for collection in ["moved", "strict", "plain"] {
            put(&mut writer, collection, round);
        }
        // First, as every proof tells its torana more.
        let stayed = get(&mut stays, "moved");
        assert!(stayed >= last, "one that stays never goes back either");
        last = stayed;
        let mut moves = there.client_of(&set.host(secondary));
        let moved = get(&mut moves, "moved");
        for (count, seen) in
            stale.iter_mut().zip([stayed, get(&mut stays, "strict"), moved, get(&mut stays, "plain")])
        {
            *count += i32::from(seen != round);
        }
    }
    eprintln!(
        "stale of {ROUNDS}: {stale:?}: by one that stays, linearizable, by one that moved, without a level"
    );
    let [stayed, strict, moved, plain] = stale;
    assert_eq!((strict, moved), (0, 0));
    assert!(stayed > 0, "two clients at once: nothing is promised, and the test can see that");
    assert_eq!(plain, ROUNDS);
}
