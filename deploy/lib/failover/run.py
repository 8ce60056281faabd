"""The failover soak: writers through torana and direct ones, a primary harmed every 40 s, and the account at the end."""

import argparse
import sys
import time

import faults
import gaps
from members import Members
from pymongo.read_concern import ReadConcern
from writers import DATABASE, Writers

# From every writer's first acknowledgment to the first fault, and after the last.
WARM_UP_SECONDS = 5
SETTLE_SECONDS = 10
ERRORS_SHOWN = 5


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--torana", required=True, help="connection string through torana")
    parser.add_argument("--direct", required=True, help="connection string of the set itself")
    parser.add_argument("--members", required=True, help="host:port,...")
    parser.add_argument("--pids", required=True, help="of the members, in the same order")
    parser.add_argument("--seconds", type=float, default=600, help="of faults")
    parser.add_argument("--every", type=float, default=40, help="seconds from one fault to the next")
    parser.add_argument("--kinds", default=",".join(faults.KINDS), help="of faults, in turn")
    parser.add_argument("--writers", type=int, default=64, help="through torana")
    parser.add_argument("--direct-writers", type=int, default=32)
    return parser.parse_args()


def stored(primary, role):
    """The ids that a majority has, as the primary knows."""
    collection = primary.client[DATABASE].get_collection(role, read_concern=ReadConcern("majority"))
    return {document["_id"] for document in collection.find({}, {"_id": 1})}


def account(primary, role, ids, errors):
    """Prints the figures of `role`; returns what is wrong with them."""
    lost = ids - stored(primary, role)
    print(f"figure failover {role} acknowledged: {len(ids)}")
    print(f"figure failover {role} lost: {len(lost)}")
    print(f"figure failover {role} errors: {len(errors)}")
    for _, text in errors[:ERRORS_SHOWN]:
        print(f"  {role} error: {text}")
    found = [f"{len(lost)} acknowledged writes lost, among them {sorted(lost)[:3]}"] if lost else []
    return found + ([f"{len(errors)} errors reached the application"] if errors else [])


def main():
    options = arguments()
    members = Members(options.members.split(","), [int(pid) for pid in options.pids.split(",")])
    try:
        sets = [Writers("torana", options.torana, options.writers), Writers("direct", options.direct, options.direct_writers)]
        for writers in sets:
            writers.await_begun()
        time.sleep(WARM_UP_SECONDS)
        happened = faults.inject_all(members, options.kinds.split(","), options.seconds, options.every)
        time.sleep(SETTLE_SECONDS)
        end = time.monotonic()
        results = {writers.role: writers.end() for writers in sets}
        primary = members.await_all_back()
        found = gaps.compare(happened, end, results["torana"][0], results["direct"][0])
        for role, (_, ids, errors) in results.items():
            wrong = account(primary, role, ids, errors)
            # What the direct driver goes through is the set's own; only losing a write would make the run worthless.
            found += wrong if role == "torana" else [text for text in wrong if "lost" in text]
    finally:
        members.end()
    for text in found:
        print(f"found: {text}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
