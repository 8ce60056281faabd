"""Runs steps and prints one JSON line for each: what the driver returned and every raw command reply behind it."""

import json
import sys
import threading
import time

import pymongo
from bson import json_util
from bson.codec_options import CodecOptions
from pymongo import monitoring

LEGACY = pymongo.version_tuple < (4,)
# A script has 30 s in all; what takes more than this is named.
SLOW_SECONDS = 1.0
COMMENT = "torana-drivers"


class Recorder(monitoring.CommandListener):
    """Collects the replies of the running step, in the order in which they came."""

    def __init__(self):
        self.events = []
        self.lock = threading.Lock()

    def started(self, event):
        """Requests are the driver's own affair; only replies are compared."""

    def succeeded(self, event):
        self.add(event, "reply", event.reply)

    def failed(self, event):
        self.add(event, "failure", event.failure)

    def add(self, event, kind, reply):
        # Encoded at once: the driver may take the documents of a batch out of the reply.
        text = encode(reply)
        with self.lock:
            self.events.append((event.command_name, address(event.connection_id), kind, text))

    def take(self):
        with self.lock:
            taken, self.events = self.events, []
        return taken


def encode(value):
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)


def address(pair):
    return f"{pair[0]}:{pair[1]}" if pair else None


class Context:
    """What a step gets: the client, its database and its address book."""

    def __init__(self, uri, name):
        self.recorder = Recorder()
        self.uri = uri
        self.name = name
        self.direct = "directConnection=true" in uri
        self.client = self.connect()
        self.db = self.client[name]

    def connect(self, uri=None, **options):
        # A failed selection must not hold a script up for the default 30 s.
        options.setdefault("serverSelectionTimeoutMS", 5000)
        return pymongo.MongoClient(uri or self.uri, event_listeners=[self.recorder], tz_aware=False, **options)

    def members(self):
        """The members' addresses as the driver knows them, in the order of the set's configuration."""
        return self.client.admin.command("hello")["hosts"]


def failure(error):
    """All that an application can see of an error."""
    seen = {"type": type(error).__name__, "message": str(error)}
    if getattr(error, "details", None):
        seen["details"] = error.details
    if getattr(error, "code", None) is not None:
        seen["code"] = error.code
    labels = sorted(getattr(error, "_error_labels", None) or [])
    return {**seen, "labels": labels} if labels else seen


def run(steps, context):
    for name, step in steps:
        context.recorder.take()
        started = time.monotonic()
        try:
            line = '"reply": ' + encode(step(context))
        except Exception as error:  # an error is an answer too, and is compared
            line = '"error": ' + encode(failure(error))
        events = [
            '{"command": %s, "address": %s, "%s": %s}' % (json.dumps(command), json.dumps(member), kind, text)
            for command, member, kind, text in context.recorder.take()
        ]
        print('{"step": %s, %s, "events": [%s]}' % (json.dumps(name), line, ", ".join(events)), flush=True)
        if time.monotonic() - started > SLOW_SECONDS:
            print(f"{name} took {time.monotonic() - started:.1f} s", file=sys.stderr)


def expect_error(call):
    """The error that `call` is there to raise; a step whose error does not come fails by itself."""
    try:
        got = call()
    except Exception as error:
        return failure(error)
    raise AssertionError(f"expected an error, got {got!r}")


def fail_point(context, mode, **data):
    context.client.admin.command("configureFailPoint", "failCommand", mode=mode, data=data)


def usage():
    if len(sys.argv) != 3:
        sys.exit("usage: features.py URI DBNAME")
    return sys.argv[1], sys.argv[2]
