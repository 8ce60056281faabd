"""Makes running mongods (host:port ...) the replica set rs0, and waits until it has a primary and all are in step."""

import os
import sys
import time

import pymongo
from pymongo.errors import PyMongoError

LIMIT_SECONDS = 90
ELECTION_TIMEOUT_MS = int(os.environ.get("STAND_ELECTION_MS", "5000"))
PRIMARY, SECONDARY = 1, 2


def within_limit(what, attempt):
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            result = attempt()
            if result:
                return result
        except PyMongoError as error:
            result = error
        if time.monotonic() > deadline:
            sys.exit(f"waited {LIMIT_SECONDS} s in vain: {what}: {result}")
        time.sleep(0.1)


def main():
    members = sys.argv[1:]
    config = {
        "_id": "rs0",
        "members": [{"_id": index, "host": host} for index, host in enumerate(members)],
        # MongoDB's own is 10 s. Much less, and a busy machine elects when nothing has happened.
        "settings": {"electionTimeoutMillis": ELECTION_TIMEOUT_MS, "heartbeatIntervalMillis": 1000},
    }
    clients = {host: pymongo.MongoClient(host, directConnection=True, serverSelectionTimeoutMS=1000) for host in members}
    for host, client in clients.items():
        within_limit(f"{host} answers", lambda client=client: client.admin.command("ping"))
    first = clients[members[0]]
    first.admin.command("replSetInitiate", config)

    def in_step():
        # A member is in state 1 a moment before it takes writes, while it catches up.
        writable = any(client.admin.command("hello")["isWritablePrimary"] for client in clients.values())
        states = sorted(member["state"] for member in first.admin.command("replSetGetStatus")["members"])
        return writable and states == [PRIMARY] + [SECONDARY] * (len(members) - 1)

    within_limit("one primary and all others secondary", in_step)


main()
