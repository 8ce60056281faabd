"""Sessions, transactions with abort and retry, retryable reads and writes, causal and snapshot reads, secondary reads."""

from harness import expect_error, fail_point, failure
from pymongo import ReadPreference
from pymongo.errors import ConnectionFailure, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

MAJORITY = WriteConcern("majority")


def explicit_session(c):
    with c.client.start_session() as session:
        first = c.db.crud.find_one({"_id": 8}, session=session)
        used = session.session_id
        c.db.crud.update_one({"_id": 8}, {"$set": {"seen": True}}, session=session)
        return {"first": first, "id_kept": used == session.session_id, "operation_time": session.operation_time is not None}


def transaction_commit(c):
    with c.client.start_session() as session:
        with session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=MAJORITY):
            c.db.crud.insert_one({"_id": "t1"}, session=session)
            c.db.crud.update_one({"_id": 9}, {"$inc": {"n": 1}}, session=session)
            inside = c.db.crud.find_one({"_id": "t1"}, session=session)
            outside = c.db.crud.find_one({"_id": "t1"})
    return {"inside": inside, "outside": outside, "after": c.db.crud.find_one({"_id": "t1"})}


def transaction_abort(c):
    with c.client.start_session() as session:
        session.start_transaction()
        c.db.crud.insert_one({"_id": "aborted"}, session=session)
        session.abort_transaction()
        late = expect_error(session.commit_transaction)
    return {"after": c.db.crud.find_one({"_id": "aborted"}), "late": late}


def transaction_cursor(c):
    """getMore within a transaction needs the member that holds it."""
    with c.client.start_session() as session, session.start_transaction():
        return [one["_id"] for one in c.db.many.find({"_id": {"$lt": 40}}, {"_id": 1}, batch_size=9, session=session)]


def transaction_conflict(c):
    with c.client.start_session() as holder, c.client.start_session() as other:
        holder.start_transaction()
        other.start_transaction()
        c.db.crud.update_one({"_id": 10}, {"$set": {"by": "holder"}}, session=holder)
        lost = expect_error(lambda: c.db.crud.update_one({"_id": 10}, {"$set": {"by": "other"}}, session=other))
        holder.commit_transaction()
        other.abort_transaction()
    return {"lost": lost, "kept": c.db.crud.find_one({"_id": 10})}


def transaction_error(c):
    with c.client.start_session() as session:
        session.start_transaction()
        c.db.crud.insert_one({"_id": "t2"}, session=session)
        duplicate = expect_error(lambda: c.db.crud.insert_one({"_id": "t2"}, session=session))
        gone = expect_error(lambda: c.db.crud.find_one({}, session=session))
        session.abort_transaction()
    return {"duplicate": duplicate, "gone": gone}


def transaction_commit_retried(c):
    with c.client.start_session() as session:
        session.start_transaction(write_concern=MAJORITY)
        c.db.crud.insert_one({"_id": "t3"}, session=session)
        fail_point(c, {"times": 1}, failCommands=["commitTransaction"], closeConnection=True)
        session.commit_transaction()
        # A second commit of the same transaction is allowed and answered by the same outcome.
        session.commit_transaction()
    return c.db.crud.find_one({"_id": "t3"})


def with_transaction_retried(c):
    attempts = []

    def body(session):
        attempts.append(len(attempts))
        c.db.crud.insert_one({"_id": "t4", "attempt": len(attempts)}, session=session)

    with c.client.start_session() as session:
        fail_point(c, {"times": 2}, failCommands=["insert"], errorCode=24, errorLabels=["TransientTransactionError"])
        session.with_transaction(body)
    return {"attempts": attempts, "stored": c.db.crud.find_one({"_id": "t4"})}


def retryable_write_error(c):
    # HostUnreachable: retried, but not taken for a change of the member's state.
    fail_point(c, {"times": 1}, failCommands=["insert"], errorCode=6, errorLabels=["RetryableWriteError"])
    return c.db.retry.insert_one({"_id": 1}).inserted_id


def state_change(c):
    """NotWritablePrimary and a shutdown code make a driver doubt the member until its next hello, which must come."""
    # A hello that awaits a change comes without one after heartbeatFrequencyMS: 10 s by default.
    quick = c.connect(heartbeatFrequencyMS=500)
    try:
        for code in (10107, 11600):
            fail_point(c, {"times": 1}, failCommands=["insert"], errorCode=code, errorLabels=["RetryableWriteError"])
            quick[c.name].retry.insert_one({"_id": f"code {code}"})
        return list(quick[c.name].retry.find({"_id": {"$regex": "code"}}).sort("_id", 1))
    finally:
        quick.close()


def retryable_write_lost(c):
    fail_point(c, {"times": 1}, failCommands=["update"], closeConnection=True)
    return c.db.retry.update_one({"_id": 1}, {"$inc": {"n": 1}}).raw_result


def retryable_write_concern(c):
    error = {"code": 262, "codeName": "ExceededTimeLimit", "errmsg": "from the fail point"}
    fail_point(c, {"times": 1}, failCommands=["insert"], writeConcernError=error, errorLabels=["RetryableWriteError"])
    return c.db.retry.insert_one({"_id": 2}).inserted_id


def not_retried(c):
    plain = c.connect(retryWrites=False, retryReads=False)
    fail_point(c, {"times": 1}, failCommands=["insert"], closeConnection=True)
    try:
        plain[c.name].retry.insert_one({"_id": 3})
        raise AssertionError("an insert whose connection was closed came back")
    except ConnectionFailure as error:
        seen = failure(error)
    finally:
        plain.close()
    return {"seen": seen, "stored": c.db.retry.find_one({"_id": 3})}


def retryable_read(c):
    fail_point(c, {"times": 1}, failCommands=["find"], closeConnection=True)
    return c.db.retry.find_one({"_id": 1})


def causal(c):
    with c.client.start_session(causal_consistency=True) as session:
        for i in range(5):
            c.db.causal.insert_one({"_id": i}, session=session)
            secondary = c.db.get_collection("causal", read_preference=ReadPreference.SECONDARY, read_concern=ReadConcern("majority"))
            if secondary.find_one({"_id": i}, session=session) is None:
                raise AssertionError(f"own write {i} not seen on a secondary")
    return "own writes seen"


def snapshot(c):
    with c.client.start_session(snapshot=True) as session:
        before = c.db.get_collection("crud").find_one({"_id": 11}, session=session)
        c.db.crud.update_one({"_id": 11}, {"$set": {"snapshot": "later"}})
        return {"before": before, "same": c.db.crud.find_one({"_id": 11}, session=session), "now": c.db.crud.find_one({"_id": 11})}


def secondary_reads(c):
    secondary = c.db.get_collection("crud", read_preference=ReadPreference.SECONDARY, read_concern=ReadConcern("majority"))
    found = [secondary.find_one({"_id": 12}), secondary.count_documents({"small": True}), list(secondary.aggregate([{"$match": {"_id": 13}}]))]
    return found


def nearest(c):
    return c.db.get_collection("crud", read_preference=ReadPreference.NEAREST).find_one({"_id": 12}, {"_id": 1})


def write_concerns(c):
    seen = [c.db.get_collection("wc", write_concern=WriteConcern(w)).insert_one({"_id": str(w)}).acknowledged for w in (1, 2, 3, "majority")]
    too_many = c.db.get_collection("wc", write_concern=WriteConcern(9, wtimeout=100))
    return {"seen": seen, "refused": expect_error(lambda: too_many.insert_one({"_id": "nine"}))}


def write_concern_command_error(c):
    refused = []
    for concern in ({"w": "unknown"}, {"w": 60}):
        try:
            c.db.command("insert", "wc", documents=[{"_id": str(concern)}], writeConcern=concern)
        except OperationFailure as error:
            refused.append(failure(error))
    return refused


def after_cluster_time(c):
    hello = c.client.admin.command("hello")
    found = c.db.command("find", "crud", filter={"_id": 12}, readConcern={"level": "majority", "afterClusterTime": hello["operationTime"]})
    return found["cursor"]["firstBatch"]


# `any_`: the driver picks a secondary by chance, and its role is compared; `nearest`: any member at all.
STEPS = [
    (name, step)
    for name, step in {
        "explicit_session": explicit_session, "transaction_commit": transaction_commit, "transaction_abort": transaction_abort,
        "transaction_cursor": transaction_cursor, "transaction_conflict": transaction_conflict, "transaction_error": transaction_error,
        "transaction_commit_retried": transaction_commit_retried, "with_transaction_retried": with_transaction_retried,
        "retryable_write_error": retryable_write_error, "state_change": state_change, "retryable_write_lost": retryable_write_lost, "retryable_write_concern": retryable_write_concern,
        "not_retried": not_retried, "retryable_read": retryable_read, "any_causal": causal, "snapshot": snapshot, "any_secondary_reads": secondary_reads, "nearest": nearest,
        "write_concerns": write_concerns, "write_concern_command_error": write_concern_command_error, "after_cluster_time": after_cluster_time,
    }.items()
]
