use super::super::description::ServerDescription;
use super::*;

const FRESH_FOR: Duration = Duration::from_secs(10);

fn cell() -> HelloCell {
    HelloCell::new(Arc::new(Requests::default()), FRESH_FOR)
}

fn version(process: u8, counter: i64) -> TopologyVersion {
    TopologyVersion { process_id: [process; 12], counter }
}

fn copy(process: u8, counter: i64) -> HelloCopy {
    let description = ServerDescription {
        topology_version: Some(version(process, counter)),
        ..ServerDescription::default()
    };
    let (received, round_trip) = (Instant::now(), Duration::ZERO);
    HelloCopy {
        document: Vec::new(),
        description,
        legacy: false,
        asked: Some(received),
        received,
        round_trip,
    }
}

fn counter(cell: &HelloCell) -> Option<i64> {
    cell.latest().map(|copy| copy.topology_version().unwrap().counter)
}

#[tokio::test(start_paused = true)]
async fn an_older_state_of_the_same_process_never_comes_back() {
    let cell = cell();
    cell.store(copy(1, 5));
    cell.store(copy(1, 4));
    assert_eq!(counter(&cell), Some(5));
    cell.store(copy(2, 1));
    assert_eq!(counter(&cell), Some(1));
}

#[tokio::test(start_paused = true)]
async fn with_an_equal_version_the_later_poll_stands() {
    let cell = cell();
    cell.store(copy(1, 5));
    tokio::time::advance(Duration::from_secs(1)).await;
    cell.store(copy(1, 5));
    assert_eq!(cell.latest().unwrap().received.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_not_given_out_when_the_member_is_lost_or_silent() {
    let cell = cell();
    assert!(cell.latest().is_none());
    cell.store(copy(1, 1));
    tokio::time::advance(FRESH_FOR - Duration::from_millis(1)).await;
    assert!(cell.latest().is_some());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(cell.latest().is_none());
    cell.store(copy(1, 1));
    cell.lose();
    assert!(cell.latest().is_none());
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_wake_on_versions_and_losses_and_not_on_polls() {
    let cell = cell();
    let wakes = async |event: &dyn Fn()| {
        let changed = cell.changed();
        event();
        tokio::time::timeout(Duration::from_millis(1), changed).await.is_ok()
    };
    assert!(wakes(&|| cell.store(copy(1, 1))).await, "back");
    assert!(!wakes(&|| cell.store(copy(1, 1))).await, "a poll");
    assert!(wakes(&|| cell.store(copy(1, 2))).await, "another version");
    assert!(!wakes(&|| cell.store(copy(1, 1))).await, "an older version");
    assert!(wakes(&|| cell.lose()).await, "lost");
    assert!(!wakes(&|| cell.lose()).await, "lost already");
    assert!(wakes(&|| cell.wake()).await, "woken");
}

#[tokio::test(start_paused = true)]
async fn a_copy_behind_what_clients_saw_is_held_back_until_the_monitor_caught_up() {
    let cell = Arc::new(cell());
    cell.store(copy(1, 3));
    cell.note_passed(&version(1, 3));
    assert!(!cell.requests.take_check());
    cell.note_passed(&version(1, 4));
    assert!(cell.requests.take_check());
    let waiter = tokio::spawn({
        let cell = cell.clone();
        async move { cell.at_least_noted(Instant::now() + Duration::from_secs(5)).await }
    });
    tokio::time::advance(Duration::from_millis(10)).await;
    cell.store(copy(1, 3));
    tokio::time::advance(Duration::from_millis(10)).await;
    assert!(!waiter.is_finished());
    cell.store(copy(1, 4));
    assert_eq!(waiter.await.unwrap().unwrap().topology_version(), Some(version(1, 4)));
}

#[tokio::test(start_paused = true)]
async fn a_version_of_another_process_is_reached_by_the_next_copy_of_any() {
    let cell = Arc::new(cell());
    cell.store(copy(1, 9));
    tokio::time::advance(Duration::from_millis(1)).await;
    cell.note_passed(&version(2, 1));
    let deadline = Instant::now() + Duration::from_millis(5);
    assert!(cell.at_least_noted(deadline).await.is_none());
    cell.store(copy(1, 9));
    assert!(cell.at_least_noted(deadline).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_leaves_with_nothing_when_the_member_is_lost() {
    let cell = Arc::new(cell());
    cell.store(copy(1, 1));
    cell.note_passed(&version(1, 2));
    let waiter = tokio::spawn({
        let cell = cell.clone();
        async move { cell.at_least_noted(Instant::now() + Duration::from_secs(5)).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    cell.lose();
    assert!(tokio::time::timeout(Duration::from_millis(1), waiter).await.unwrap().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_only_a_copy_that_was_asked_for_since_is_given_out() {
    let cell = cell();
    cell.store(copy(1, 1));
    let before = Instant::now();
    tokio::time::advance(Duration::from_millis(1)).await;
    cell.note_failure();
    let given = async || cell.at_least_noted(Instant::now() + Duration::from_millis(10)).await;
    assert!(given().await.is_none());
    // Asked for before, or pushed: read later all the same.
    for asked in [Some(before), None] {
        cell.store(HelloCopy { asked, ..copy(1, 1) });
        assert!(given().await.is_none(), "{asked:?}");
    }
    cell.store(copy(1, 1));
    assert!(given().await.is_some());
    // Proven once, it need not be proven again.
    cell.store(HelloCopy { asked: None, ..copy(1, 1) });
    assert!(given().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_must_be_new_is_asked_for_and_not_taken_from_before() {
    let cell = Arc::new(cell());
    cell.store(copy(1, 1));
    let before = Instant::now();
    tokio::time::advance(Duration::from_millis(1)).await;
    let since = Instant::now();
    let waiter = tokio::spawn({
        let cell = cell.clone();
        async move { cell.asked_since(since).await }
    });
    for asked in [Some(before), None] {
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(cell.requests.take_check());
        cell.store(HelloCopy { asked, ..copy(1, 1) });
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!waiter.is_finished(), "{asked:?}");
    }
    cell.store(HelloCopy { asked: Some(since), ..copy(1, 1) });
    assert_eq!(waiter.await.unwrap().unwrap().asked, Some(since));
    assert!(
        cell.asked_since(since + Duration::from_millis(100)).await.is_none(),
        "it does not answer any more"
    );
}
