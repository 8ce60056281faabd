//! The registers of floors, on real ZooKeeper servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use support::Ensemble;
use torana::consistency::store::{
    CollectionKey, DocumentKey, Floor, FloorStore, Seen, StoreError, Token, ZooKeeper, ZooKeeperOptions,
};

const SOON: Duration = Duration::from_secs(30);

fn options(ensemble: &Ensemble) -> ZooKeeperOptions {
    ZooKeeperOptions {
        hosts: ensemble.hosts(),
        root: "/torana/rs0".to_owned(),
        session_timeout: Duration::from_secs(4),
        request_timeout: Duration::from_secs(2),
    }
}

async fn connect(ensemble: &Ensemble) -> ZooKeeper {
    ZooKeeper::connect(options(ensemble)).await.unwrap()
}

fn scores() -> CollectionKey {
    CollectionKey::new(b"parse", b"GameScore")
}

fn exact(time: u64, serial: u64) -> Floor {
    Floor { time, token: Some(Token { epoch: 1, serial }), is_exact: true }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn registers_rise_and_are_seen_by_others() {
    let ensemble = Ensemble::of(1);
    runtime().block_on(async {
        let (one, other) = (connect(&ensemble).await, connect(&ensemble).await);
        assert_ne!(one.epoch(), other.epoch());
        let (collection, document) = (scores(), DocumentKey(7));
        let nothing = Seen { floor: None, is_doubtful: false, base: 0 };
        assert_eq!(other.read(&collection, document).await.unwrap(), nothing);

        assert!(one.raise(&collection, document, exact(5, 1)).await.unwrap());
        one.raise_base(&collection, 3).await.unwrap();
        other.barrier().await.unwrap();
        let seen = Seen { floor: Some(exact(5, 1)), is_doubtful: false, base: 3 };
        assert_eq!(other.read(&collection, document).await.unwrap(), seen);
        assert_eq!(other.base(&collection).await.unwrap(), 3);

        // Nothing falls, and what says as much already stays.
        other.raise(&collection, document, exact(4, 9)).await.unwrap();
        other.raise_base(&collection, 2).await.unwrap();
        assert_eq!(other.read(&collection, document).await.unwrap(), seen);
        other.raise(&collection, document, Floor { time: 6, token: None, is_exact: false }).await.unwrap();
        let bound = Floor { is_exact: false, ..exact(6, 1) };
        assert_eq!(other.read(&collection, document).await.unwrap().floor, Some(bound));

        assert_eq!(other.done(one.epoch()).await.unwrap(), 0);
        one.raise_done(12).await.unwrap();
        one.raise_done(11).await.unwrap();
        other.barrier().await.unwrap();
        assert_eq!(other.done(one.epoch()).await.unwrap(), 12);
        one.close().await;
    });
}

/// Three toranas raise the same registers at once: the highest wins, and nobody is told less.
#[test]
fn raises_at_once_lose_nothing() {
    const EACH: u64 = 200;
    let ensemble = Ensemble::of(1);
    runtime().block_on(async {
        let told = Arc::new(AtomicU64::new(0));
        let mut raising = tokio::task::JoinSet::new();
        for torana in 0..3 {
            let (store, told) = (Arc::new(connect(&ensemble).await), told.clone());
            for number in 0..EACH {
                let (store, told, time) = (store.clone(), told.clone(), 1 + number * 3 + torana);
                raising.spawn(async move {
                    // Others are always quicker: nothing is lost by asking once more.
                    while store.raise(&scores(), DocumentKey(1), exact(time, time)).await.is_err() {}
                    store.raise_base(&scores(), time).await.unwrap();
                    told.fetch_max(time, Ordering::SeqCst);
                });
            }
        }
        let reader = connect(&ensemble).await;
        let mut last = Seen { floor: None, is_doubtful: false, base: 0 };
        while !raising.is_empty() {
            let before = told.load(Ordering::SeqCst);
            reader.barrier().await.unwrap();
            let seen = reader.read(&scores(), DocumentKey(1)).await.unwrap();
            let time = |seen: &Seen| seen.floor.map_or(0, |floor| floor.time);
            assert!(time(&seen) >= before && seen.base >= before, "told of {before}, seen {seen:?}");
            assert!(time(&seen) >= time(&last) && seen.base >= last.base && !seen.is_doubtful);
            last = seen;
            while let Some(raised) = raising.try_join_next() {
                raised.unwrap();
            }
        }
        let seen = reader.read(&scores(), DocumentKey(1)).await.unwrap();
        assert_eq!((seen.floor, seen.base), (Some(exact(EACH * 3, EACH * 3)), EACH * 3));
    });
}

/// A set that was computed for a node deleted since meets its successor: ZooKeeper compares versions only, and they
/// begin anew. Whoever reads it is told.
#[test]
fn a_value_meant_for_an_earlier_node_is_noticed() {
    let ensemble = Ensemble::of(1);
    runtime().block_on(async {
        let store = connect(&ensemble).await;
        store.raise(&scores(), DocumentKey(1), exact(1, 1)).await.unwrap();
        let raw = zookeeper(&ensemble).await;
        let path = format!("/torana/rs0/c/parse.GameScore/00/{:032x}", 1);
        let (mut late, old) = raw.get_data(&path, false).await.unwrap();
        // What a torana that read it computes for it: time 2.
        late[9] = 2;
        late[22..].copy_from_slice(&old.czxid.to_be_bytes());
        raw.delete(&path, None).await.unwrap();
        store.raise(&scores(), DocumentKey(1), exact(3, 3)).await.unwrap();
        raw.set_data(&path, late, Some(old.version)).await.unwrap();
        let seen = store.read(&scores(), DocumentKey(1)).await.unwrap();
        assert_eq!((seen.floor.unwrap().time, seen.is_doubtful), (2, true), "it has fallen");
        // Nobody covers the doubt up: the base goes to the primary's time first.
        assert!(!store.raise(&scores(), DocumentKey(1), exact(4, 4)).await.unwrap());
        assert!(store.read(&scores(), DocumentKey(1)).await.unwrap().is_doubtful);
        store.raise_base(&scores(), 4).await.unwrap();
        store.settle(&scores(), DocumentKey(1), exact(4, 4)).await.unwrap();
        let seen = store.read(&scores(), DocumentKey(1)).await.unwrap();
        assert_eq!((seen.floor, seen.is_doubtful, seen.base), (Some(exact(4, 4)), false, 4));
    });
}

#[test]
fn what_others_wrote_under_our_root_is_refused_and_left_alone() {
    let ensemble = Ensemble::of(1);
    runtime().block_on(async {
        let raw = zookeeper(&ensemble).await;
        let mode = zookeeper_async::CreateMode::Persistent;
        let acl = zookeeper_async::Acl::open_unsafe().clone();
        for path in ["/other", "/other/app"] {
            raw.create(path, b"mine".to_vec(), acl.clone(), mode).await.unwrap();
        }
        let theirs = ZooKeeperOptions { root: "/other/app".to_owned(), ..options(&ensemble) };
        let error = ZooKeeper::connect(theirs).await.unwrap_err();
        assert!(matches!(&error, StoreError::Foreign { path, .. } if path == "/other/app"), "{error}");
        // Nothing is left of it, nor of one that was let go.
        drop(connect(&ensemble).await);
        let only_raw = || ensemble.connections(0) == 1;
        tokio::time::timeout(SOON, async {
            while !only_raw() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("sessions are closed");

        for root in ["torana", "/", "/a/", "/a//b"] {
            let nowhere = ZooKeeperOptions { root: root.to_owned(), ..options(&ensemble) };
            assert!(matches!(ZooKeeper::connect(nowhere).await, Err(StoreError::Root(_))), "{root}");
        }
        let store = connect(&ensemble).await;
        store.raise(&scores(), DocumentKey(1), exact(1, 1)).await.unwrap();
        let path = format!("/torana/rs0/c/parse.GameScore/00/{:032x}", 1);
        raw.set_data(&path, b"garbage".to_vec(), None).await.unwrap();
        let error = store.read(&scores(), DocumentKey(1)).await.unwrap_err();
        assert!(error.to_string().contains(&path) && error.to_string().contains("7 bytes"), "{error}");
        store.raise(&scores(), DocumentKey(1), exact(2, 2)).await.unwrap_err();
        store.raise(&scores(), DocumentKey(2), exact(2, 2)).await.unwrap();
    });
}

/// The server that a session is connected to is killed, another stands still: an answer or an error in time, and what
/// was said to be raised is.
#[test]
fn floors_outlive_servers_that_are_killed_or_stand_still() {
    let mut ensemble = Ensemble::of(3);
    let runtime = runtime();
    let store = runtime.block_on(connect(&ensemble));
    let mut time = 0;
    let mut raise = |store: &ZooKeeper, limit: Duration| {
        let began = std::time::Instant::now();
        loop {
            time += 1;
            let one = std::time::Instant::now();
            let done = runtime.block_on(store.raise(&scores(), DocumentKey(1), exact(time, time)));
            assert!(one.elapsed() < Duration::from_secs(20), "bounded: {:?}", one.elapsed());
            match done {
                Ok(_) => return time,
                Err(error) => assert!(began.elapsed() < limit, "{error}"),
            }
        }
    };
    raise(&store, SOON);
    let first = ensemble.busiest();
    ensemble.kill(first);
    let told = raise(&store, SOON);
    let seen = runtime.block_on(store.read(&scores(), DocumentKey(1))).unwrap();
    assert_eq!(seen.floor.unwrap().time, told);
    ensemble.restart(first);
    ensemble.wait_all();

    let second = ensemble.busiest();
    ensemble.pause(second);
    let told = raise(&store, Duration::from_secs(60));
    ensemble.resume(second);
    let other = runtime.block_on(connect(&ensemble));
    let seen = runtime.block_on(other.read(&scores(), DocumentKey(1))).unwrap();
    assert!(seen.floor.unwrap().time >= told, "{seen:?}");

    // Without a quorum: an error in time, and back again with it.
    (0..2).for_each(|index| ensemble.kill(index));
    let error = runtime.block_on(other.raise_base(&scores(), 9)).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    (0..2).for_each(|index| ensemble.restart(index));
    ensemble.wait_all();
    raise(&store, Duration::from_secs(60));
    runtime
        .block_on(async {
            tokio::time::timeout(SOON, async { while other.raise_base(&scores(), 9).await.is_err() {} }).await
        })
        .unwrap();
    assert_eq!(runtime.block_on(store.base(&scores())).unwrap(), 9);
}

/// A client without torana's guards, to look and to meddle.
async fn zookeeper(ensemble: &Ensemble) -> zookeeper_async::ZooKeeper {
    let ignores = |_: zookeeper_async::WatchedEvent| {};
    let (hosts, wait) = (ensemble.hosts().join(","), Duration::from_secs(4));
    let retry = Duration::from_millis(300);
    zookeeper_async::ZooKeeper::connect_with_retry_time(&hosts, wait, ignores, retry).await.unwrap()
}
