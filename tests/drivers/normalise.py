"""The one place where a driver's printed replies lose what differs between two honest runs.

Only ids, times and addresses are replaced; whatever else differs is a finding. A replaced id keeps
its identity: the first ObjectId of a run is `oid1` wherever it comes back, so that a reply which
names another document still differs. Input: one JSON object a line in canonical Extended JSON,
`{"step", "reply" | "error", "events": [{"command", "address", "reply" | "failure"}]}`.
"""

import json
import re
import time

# Times of the run are replaced, times written by the scripts (2020-01-01) are compared.
RECENT_SECONDS = 30 * 86400

# Numbers that name something: a connection, an operation, a process, a transaction.
ID_KEYS = {
    "connectionId", "opid", "pid", "txnNumber", "requestId", "conversationId", "yieldCount", "desc", "threadId",
    "rbid",
}
# Numbers that are lengths of time, and counters of the planner that depend on them.
DURATION_KEYS = {
    "executionTimeMillis", "executionTimeMillisEstimate", "uptime", "uptimeMillis", "uptimeEstimate", "pingMs", "secs_running",
    "microsecs_running", "saveState", "restoreState", "works", "needYield", "waitingForFlowControl", "timeReadingMicros", "lastStableRecoveryTimestamp",
    "optimesDurable", "newTermAppliedDate", "durationMillis", "operationTimeMillis", "millis", "electionTime", "collectionScans", "totalSecondsInReplication",
    "tooStale", "syncMillis", "wtime", "waited", "totalOplogSlotDurationMicros", "cpuNanos",
}
CURSOR_LIST_KEYS = {"cursorsKilled", "cursorsNotFound", "cursorsAlive", "cursorsUnknown"}
# `opTime` of a write's reply is that of the last write on the server's connection (mongod's ReplClientInfo). A statement of
# a transaction writes nothing yet: it shows the driver's own last write directly and anybody's through a proxy, and none
# (Timestamp(0, 0)) on a connection that is new.
LAST_OF_CONNECTION = "<optime>"
# Ephemeral addresses of clients, and the servers' idea of ours.
CLIENT_KEYS = {"client", "you", "client_s"}

# Replies full of counters: which top-level fields stay. Names are compared without case and underscores,
# so that the step `server_status`, `server_status_secondary` and the command `serverStatus` share a rule.
KEPT = {
    "serverstatus": ["host", "version", "process", "repl", "ok", "$clusterTime", "operationTime"],
    "connpoolstats": ["hosts", "replicaSets", "ok"],
    "collstats": ["ns", "count", "size", "avgObjSize", "nindexes", "capped", "max", "ok"],
    "dbstats": ["db", "collections", "views", "objects", "dataSize", "indexes", "ok"],
    "hostinfo": ["ok"],
    "currentop": ["inprog", "ok"],
    "getlog": ["ok"],
    "top": ["ok"],
    # `count` is how often the fail point was set since the server started.
    "configurefailpoint": ["ok", "$clusterTime", "operationTime"],
}
# What of an operation is the same when a proxy sends it: its own client metadata takes the place of the driver's.
OPERATION_KEPT = ["type", "host", "active", "op", "ns", "command"]
COMMENT = "torana-drivers"

HEX24 = re.compile(r"\b[0-9a-f]{24}\b")
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
TIMESTAMP = re.compile(r"Timestamp\(\d{9,}, \d+\)")
CURSOR_TEXT = re.compile(r"(cursor(?: id)?:? )(-?\d{6,})")
TXN_TEXT = re.compile(r"(txnNumber:? |[Tt]ransaction (?:with )?(?:number )?(?:is )?)(-?\d+)")
LSID_TEXT = re.compile(r"(lsid|session) [A-Za-z0-9+/=_-]{20,}(?: - [A-Za-z0-9+/=_ -]*)*")
# `conn12` is the server's name of a connection, `connection 7 to` the Node.js driver's.
CONN_TEXT = re.compile(r"\bconn\d+\b|\bconnection \d+(?= to )")


def bare(name):
    return name.replace("_", "").lower()


def parse_members(text):
    """`real=proxy,...` -> {address: symbol}; the order of the pairs gives m0, m1, ..."""
    table = {}
    for index, pair in enumerate(filter(None, (text or "").split(","))):
        for address in pair.split("="):
            table[address.lower()] = f"m{index}"
    return table


class Normaliser:
    """Holds the numbering of one run's ids; use a new one for each file."""

    def __init__(self, members):
        self.members = dict(members)
        self.numbers = {}
        self.roles = {}
        longest_first = sorted(self.members, key=len, reverse=True)
        self.address = re.compile("|".join(f"(?<![\\w.]){re.escape(a)}(?!\\d)" for a in longest_first), re.I) if self.members else None

    def number(self, kind, value):
        seen = self.numbers.setdefault(kind, {})
        return f"{kind}{seen.setdefault(value, len(seen) + 1)}"

    def line(self, record):
        step = record.get("step", "")
        self.learn_roles(record)
        out = {}
        for field, value in record.items():
            if field == "events":
                out[field] = [self.event(step, event) for event in value]
            elif field == "reply":
                out[field] = self.value(keep(value, [step]), None, None)
            else:
                out[field] = self.value(value, field, None)
        if step == "topology" and isinstance(out.get("reply"), dict):
            out["reply"]["members"] = dict(sorted(out["reply"].get("members", {}).items()))
        return out

    def learn_roles(self, record):
        if record.get("step") == "topology" and isinstance(record.get("reply"), dict):
            self.roles = record["reply"].get("members", {})

    def event(self, step, event):
        event = dict(event)
        # A driver picks among the secondaries by chance: the role is compared, not the member.
        if step.startswith("any_") and event.get("address") in self.roles:
            event["address"] = self.roles[event["address"]]
        if step.startswith("nearest"):
            event["address"] = "<any>"
        if "reply" in event:
            event["reply"] = keep(event["reply"], [step, event.get("command", "")])
        return self.value(event, None, None)

    def value(self, value, key, parent):
        if isinstance(value, dict):
            wrapped = self.wrapper(value, key, parent)
            if wrapped is not None:
                return wrapped
            return {self.text(k): self.value(v, k, key) for k, v in value.items()}
        if isinstance(value, list):
            kind = "cursor" if key in CURSOR_LIST_KEYS else key
            return [self.value(item, kind, parent) for item in value]
        if isinstance(value, str):
            return self.string(value, key, parent)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self.scalar(value, key, parent, value)
        return value

    def string(self, value, key, parent):
        if key in CLIENT_KEYS and re.search(r":\d+$", value):
            return "<client>"
        if key == "_data" and parent == "postBatchResumeToken":
            # Where the oplog had got to: a time, and not always the last event's.
            return "<token>"
        if key == "_data":
            return self.number("token", value)
        return self.text(value)

    def scalar(self, number, key, parent, otherwise):
        """`otherwise`, unless the key says that the number is an id or a time."""
        if key in ID_KEYS:
            return f"<{key}>"
        if key in DURATION_KEYS:
            return f"<{key}>"
        if number and (key in ("cursor", "cursorId", "cursor_id") or (key == "id" and parent == "cursor")):
            return self.number("cursor", number)
        return otherwise

    def wrapper(self, value, key, parent):
        """The replacement of an Extended JSON type wrapper, or None if `value` is a plain document."""
        if key == "opTime" and parent in (None, "reply"):
            return LAST_OF_CONNECTION
        if "$oid" in value:
            return {"$oid": self.number("oid", value["$oid"])}
        if "$timestamp" in value:
            seconds = value["$timestamp"].get("t", 0)
            return {"$timestamp": "<recent>"} if recent(seconds) else value
        if "$date" in value:
            return {"$date": "<recent>"} if recent(date_seconds(value["$date"])) else value
        if "$binary" in value and isinstance(value["$binary"], dict):
            binary = value["$binary"]
            return {"$binary": self.number("uuid", binary["base64"])} if binary.get("subType") in ("04", "4", "03") else value
        for wrapper in ("$numberInt", "$numberLong", "$numberDouble"):
            if wrapper in value:
                return self.scalar(float(value[wrapper]) and value[wrapper], key, parent, value)
        return None

    def text(self, text):
        if self.address:
            text = self.address.sub(lambda m: self.members[m.group(0).lower()], text)
        text = TIMESTAMP.sub("Timestamp(<recent>)", text)
        text = LSID_TEXT.sub(r"\1 <lsid>", text)
        text = UUID.sub(lambda m: "<" + self.number("uuidtext", m.group(0)) + ">", text)
        text = HEX24.sub(lambda m: "<" + self.number("oid", m.group(0)) + ">", text)
        text = CURSOR_TEXT.sub(lambda m: m.group(1) + self.number("cursor", m.group(2)), text)
        text = TXN_TEXT.sub(r"\1<txnNumber>", text)
        return CONN_TEXT.sub("<connection>", text)


def keep(reply, names):
    """The comparable part of a reply that is full of counters."""
    for name in (rule for rule in KEPT for given in names if bare(given).startswith(rule)):
        kept = KEPT[name]
        if not isinstance(reply, dict):
            continue
        if name == "connpoolstats":
            reply = {**reply, "hosts": sorted(reply.get("hosts", {})), "replicaSets": sorted(reply.get("replicaSets", {}))}
        if name == "currentop":
            reply = operations(reply)
        return {field: reply[field] for field in kept if field in reply}
    return reply


def operations(reply):
    """Of $currentOp's answer the operation that asked, which its comment marks, in either of the command's forms."""
    listed = reply.get("inprog") or reply.get("cursor", {}).get("firstBatch") or []
    ours = [op for op in listed if isinstance(op, dict) and COMMENT in json.dumps(op.get("command", {}))]
    kept = [{field: op[field] for field in OPERATION_KEPT if field in op} for op in ours]
    for op in kept:
        # Cluster times and sessions are the connection's, and a hop's own.
        op["command"] = {k: v for k, v in op["command"].items() if k not in ("$clusterTime", "lsid", "$readPreference")}
    return {**reply, "inprog": kept}


def date_seconds(date):
    if isinstance(date, dict):
        return int(date["$numberLong"]) / 1000
    if isinstance(date, (int, float)):
        return date / 1000
    return time.mktime(time.strptime(date[:19], "%Y-%m-%dT%H:%M:%S")) if date[:4].isdigit() else 0


def recent(seconds):
    return abs(time.time() - seconds) < RECENT_SECONDS


def normalised_lines(path, members):
    """The records of a run, normalised; a line that is no JSON is kept as text, since a driver's warning is a difference too."""
    normaliser = Normaliser(members)
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            yield normaliser.line(record) if isinstance(record, dict) else {"step": "(text)", "reply": normaliser.text(line.rstrip("\n"))}
