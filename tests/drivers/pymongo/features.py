#!/usr/bin/env python3
"""Every feature of PyMongo that a replica set answers, one JSON line a step. Runs with 3.13 and with 4.

features.py URI DBNAME
"""

import crud
import cursors
import server
import sessions
import streams
from harness import Context, run, usage


def main():
    context = Context(*usage())
    # Unprinted: its reply tells whether an earlier run left the database behind.
    context.client.drop_database(context.name)
    for part in (server.FIRST, crud.STEPS, cursors.STEPS, streams.STEPS, sessions.STEPS, server.STEPS):
        run(part, context)
    run([("drop_database", lambda c: c.client.drop_database(c.name)), ("close", lambda c: c.client.close())], context)


if __name__ == "__main__":
    main()
