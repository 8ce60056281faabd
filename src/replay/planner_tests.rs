use super::*;
use crate::wire::{MsgFlags, OpMsgBuilder};
use bson::{Document, doc};
use proptest::prelude::*;

/// A planner that is fed by hand.
struct Fed {
    planner: Planner,
    items: Vec<Item>,
    time: u64,
}

fn message(mut command: Document) -> Vec<u8> {
    command.insert("$db", "app");
    OpMsgBuilder::message(1, 0, MsgFlags(0), &bson::serialize_to_vec(&command).unwrap())
}

impl Fed {
    fn new(writes: bool) -> Fed {
        let planner = Planner::new(Rules { writes, filters: Vec::new() }, 0);
        Fed { planner, items: Vec::new(), time: 0 }
    }

    fn record(&mut self, connection: u64, kind: Kind<'_>) {
        self.time += 10;
        self.planner.record(&Record { connection, time: self.time, kind }, &mut self.items);
    }

    fn request(&mut self, connection: u64, number: u32, command: Document) {
        let message = message(command);
        let request = Request { number, wants_none: false, withheld: false, message: &message };
        self.record(connection, Kind::Request(request));
    }

    fn reply(&mut self, connection: u64, number: u32, cursor: i64) {
        let reply = Reply { number, code: 0, cursor, documents: 0, length: 0, form: Form::None };
        self.record(connection, Kind::Reply(reply));
    }

    fn exchange(&mut self, connection: u64, number: u32, command: Document) {
        self.request(connection, number, command);
        self.reply(connection, number, 0);
    }

    fn jobs(&self) -> Vec<&Job> {
        self.items
            .iter()
            .filter_map(|item| match item {
                Item::Job(job) => Some(&**job),
                Item::Open(_) | Item::Close(_) => None,
            })
            .collect()
    }
}

fn transaction(mut command: Document, number: i64, starts: bool) -> Document {
    let id = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] };
    command.extend(doc! { "lsid": { "id": id }, "txnNumber": number, "autocommit": false });
    if starts {
        command.insert("startTransaction", true);
    }
    command
}

#[test]
fn jobs_come_in_the_order_of_their_requests_with_their_replies() {
    let mut fed = Fed::new(false);
    fed.request(1, 1, doc! { "find": "a" });
    fed.request(2, 1, doc! { "find": "b" });
    fed.reply(2, 1, 0);
    assert!(fed.jobs().is_empty());
    fed.reply(1, 1, 0);
    let jobs = fed.jobs();
    assert_eq!(jobs.iter().map(|job| job.number).collect::<Vec<_>>(), [0, 1]);
    let latency = |job: &Job| job.recorded.as_ref().map(|recorded| recorded.latency);
    assert_eq!((latency(jobs[0]), latency(jobs[1])), (Some(30), Some(10)));
    assert_eq!(jobs[1].time, 20);
    assert!(matches!(&fed.items[0], Item::Open(opening) if opening.connection.number == 1));
}

#[test]
fn a_request_whose_reply_is_not_in_the_capture_holds_up_nobody() {
    let mut fed = Fed::new(false);
    fed.request(1, 1, doc! { "find": "a" });
    fed.exchange(2, 1, doc! { "find": "b" });
    fed.record(1, Kind::Closed(false));
    assert_eq!(fed.jobs().len(), 2);
    assert_eq!(fed.jobs()[0].recorded, None);
    assert!(matches!(fed.items.last(), Some(Item::Job(_))));
    let closes = fed.items.iter().filter(|item| matches!(item, Item::Close(_))).count();
    assert_eq!(closes, 1);
}

#[test]
fn a_transaction_is_left_out_from_its_beginning_and_its_commit_counts_as_a_write() {
    let mut fed = Fed::new(false);
    let insert = doc! { "insert": "a", "documents": [{ "_id": 1 }] };
    let commit = doc! { "commitTransaction": 1 };
    fed.exchange(1, 1, transaction(insert.clone(), 1, true));
    fed.exchange(1, 2, transaction(doc! { "find": "a" }, 1, false));
    fed.exchange(1, 3, transaction(commit.clone(), 1, false));
    assert!(fed.jobs().is_empty());
    let card = fed.planner.card();
    assert_eq!((card.skipped(Skip::Write), card.skipped(Skip::Transaction)), (2, 1));
    // One that reads alone is sent as a whole.
    fed.exchange(1, 4, transaction(doc! { "find": "a" }, 2, true));
    fed.exchange(1, 5, transaction(commit.clone(), 2, false));
    assert_eq!(fed.jobs().len(), 2);
    // One that was begun before the capture is not.
    fed.exchange(1, 6, transaction(commit, 3, false));
    assert_eq!(fed.planner.card().skipped(Skip::Transaction), 2);
}

#[test]
fn whoever_reads_what_a_transaction_wrote_waits_for_its_commit() {
    let mut fed = Fed::new(true);
    fed.exchange(1, 1, transaction(doc! { "insert": "a", "documents": [{ "_id": 1 }] }, 1, true));
    fed.exchange(2, 1, transaction(doc! { "commitTransaction": 1 }, 1, false));
    fed.exchange(3, 1, doc! { "find": "a", "filter": { "_id": 1 } });
    let jobs = fed.jobs();
    assert_eq!(jobs[1].waits_for, [0]);
    assert_eq!(jobs[2].waits_for, [1]);
}

#[test]
fn the_cursor_of_what_is_not_sent_is_not_read_on() {
    let mut fed = Fed::new(false);
    fed.request(1, 1, doc! { "aggregate": 1, "pipeline": [{ "$changeStream": {} }] });
    fed.reply(1, 1, 77);
    fed.exchange(1, 2, doc! { "getMore": 77i64, "collection": "a" });
    fed.exchange(1, 3, doc! { "getMore": 78i64, "collection": "a" });
    assert!(fed.jobs().is_empty());
    let card = fed.planner.card();
    assert_eq!((card.skipped(Skip::Awaiting), card.skipped(Skip::Cursor)), (2, 1));
}

#[test]
fn another_pass_begins_where_the_one_before_ended_and_depends_on_nothing_of_it_but_documents() {
    let mut fed = Fed::new(false);
    let session = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] };
    let find = doc! { "find": "a", "lsid": { "id": session } };
    fed.exchange(1, 1, find.clone());
    fed.planner.next_lap(1000, &mut fed.items);
    fed.time = 0;
    fed.exchange(2, 1, find);
    let jobs = fed.jobs();
    assert_eq!((jobs[1].time, jobs[1].connection.lap), (1010, 1));
    assert!(jobs[1].waits_for.is_empty());
}

fn commands() -> Vec<Document> {
    vec![
        doc! { "find": "a", "filter": { "_id": 1 } },
        doc! { "insert": "a", "documents": [{ "_id": 1 }] },
        doc! { "update": "a", "updates": [{ "q": { "_id": 1 }, "u": {} }] },
        doc! { "getMore": 5i64, "collection": "a" },
        doc! { "killCursors": "a", "cursors": [5i64] },
        doc! { "hello": 1 },
        doc! { "shutdown": 1 },
        doc! { "saslStart": 1 },
        transaction(doc! { "find": "a" }, 1, true),
        transaction(doc! { "insert": "a", "documents": [{ "_id": 2 }] }, 1, false),
        transaction(doc! { "commitTransaction": 1 }, 1, false),
        doc! { "aggregate": 1, "pipeline": [{ "$changeStream": {} }] },
        doc! {},
    ]
}

/// What happens on one of a few connections.
fn events() -> impl Strategy<Value = Vec<(u64, u8, usize, u32, bool)>> {
    let event = (0u64..4, 0u8..10, 0usize..commands().len(), 0u32..6, any::<bool>());
    proptest::collection::vec(event, 0..120)
}

proptest! {
    #[test]
    fn of_any_capture_each_request_becomes_one_job_or_is_left_out_once(events in events(), writes: bool) {
        let mut fed = Fed::new(writes);
        let mut requests = 0;
        for (connection, what, command, number, flag) in events {
            match what {
                0 => fed.record(connection, Kind::Closed(flag)),
                1 => fed.record(connection, Kind::Lost(1)),
                2 => {
                    let opened = Opened { role: Role::Primary, member: "a:1", client: "", application: "" };
                    fed.record(connection, Kind::Opened(opened));
                }
                3..=6 => {
                    requests += 1;
                    let bytes = if command == 12 { b"no message".to_vec() } else { message(commands()[command].clone()) };
                    let request = Request { number, wants_none: flag && number == 0, withheld: number == 5, message: &bytes };
                    fed.record(connection, Kind::Request(request));
                }
                _ => fed.reply(connection, number, if flag { 5 } else { 0 }),
            }
        }
        fed.planner.finish(&mut fed.items);
        let jobs = fed.jobs();
        let card = fed.planner.card();
        prop_assert_eq!(card.captured, requests);
        prop_assert_eq!(card.captured, card.skipped_total() + jobs.len() as u64);
        for (place, job) in jobs.iter().enumerate() {
            prop_assert_eq!(job.number, place as u64);
            prop_assert!(job.waits_for.iter().all(|before| *before < job.number));
        }
        prop_assert!(jobs.windows(2).all(|pair| pair[0].time <= pair[1].time));
    }
}

#[test]
fn times_of_a_hostile_capture_do_not_overflow() {
    let mut planner = Planner::new(Rules::default(), 0);
    planner.next_lap(u64::MAX, &mut Vec::new());
    let _ = planner.schedule_time(5);
    planner.next_lap(u64::MAX, &mut Vec::new());
}

#[test]
fn the_abort_behind_a_write_that_was_skipped_is_sent() {
    let mut fed = Fed::new(false);
    fed.exchange(1, 0, transaction(doc! { "find": "c" }, 1, true));
    fed.exchange(1, 1, transaction(doc! { "insert": "c", "documents": [{ "_id": 1 }] }, 1, false));
    fed.exchange(1, 2, transaction(doc! { "abortTransaction": 1 }, 1, false));
    assert_eq!(fed.jobs().len(), 2);
}
