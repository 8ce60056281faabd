"""The client side of deploy/demo: chapters that show one thing each, and say so if it does not hold.

A chapter is a function of the stand; it prints what it sees and calls `check` for what it claims. New features get a
chapter of their own at the end of CHAPTERS.
"""

import argparse
import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter

import pymongo
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

CLIENTS = 200
WRITES_EACH = 20
# Two monitoring connections a member, and one that is being made while another is closed.
BESIDE_THE_POOL = 3
FAILOVER_SECONDS = 12
LEVEL_ROUNDS = 10
PARSE_ROUNDS = 30
TRAFFIC_SECONDS = 10
TRAFFIC_CLIENTS = 4
REPLAY_SPEED = 10
REPORT_LINES = 40
PASSWORD = "open sesame, and do not write it down"
ESTABLISHED = "01"
SHOWN_METRICS = [
    "torana_clients_accepted_total",
    "torana_pool_connections_made_total",
    "torana_pool_acquired_total",
    "torana_operations_total",
    "torana_local_replies_total",
    "torana_rewrites_total",
    "torana_elections_total",
    "torana_tagged_operations_total",
    "torana_reads_behind_total",
    "torana_horizon_writes_total",
]

failures = []


def check(holds, claim):
    print(f"  {'ok  ' if holds else 'FAIL'} {claim}")
    if not holds:
        failures.append(claim)


class Stand:
    """What deploy/demo started: torana's listeners by real member, its process, its addresses."""

    def __init__(self, arguments):
        words = arguments.ready.split()
        self.member_of = dict(word.split("->") for word in words if "->" in word)
        self.uri, self.admin, self.pid = arguments.uri, arguments.admin, arguments.pid
        self.pool_max, self.mongosh, self.parse = arguments.pool_max, arguments.mongosh, arguments.parse
        self.torana, self.target = arguments.torana, arguments.target
        self.capture, self.report = arguments.capture, arguments.report

    def client(self, **options):
        return pymongo.MongoClient(self.uri, **options)

    def metrics(self):
        """All series that torana exports, each with its value."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=10) as answer:
            lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line.startswith("torana_")]
        return {series: float(value) for series, value in lines}

    def metric(self, family, **labels):
        """A family's sum over the series that have these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(value for series, value in self.metrics().items() if (series + "{").startswith(family + "{") and all(text in series for text in wanted))

    def connections(self):
        """Established connections of torana's process: (from clients to listeners, to members), each by address."""
        own = set()
        for descriptor in pathlib.Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                own.add(os.readlink(descriptor))
            except FileNotFoundError:
                continue
        clients = dict.fromkeys(self.member_of, 0)
        servers = dict.fromkeys(self.member_of.values(), 0)
        for line in pathlib.Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] != ESTABLISHED or f"socket:[{fields[9]}]" not in own:
                continue
            local, remote = (f"127.0.0.1:{int(field.split(':')[1], 16)}" for field in fields[1:3])
            if local in clients:
                clients[local] += 1
            elif remote in servers:
                servers[remote] += 1
        return clients, servers


def members(stand):
    """The driver discovers the set, and finds torana's addresses only."""
    with stand.client() as client:
        client.admin.command("ping")
        hello = client.admin.command("hello")
        print(f"  {'a driver dials':24}{'which stands for':24}and is")
        for listener, member in sorted(stand.member_of.items()):
            role = "primary" if listener == hello["primary"] else "secondary"
            print(f"  {listener:24}{member:24}{role}")
        check(sorted(hello["hosts"]) == sorted(stand.member_of), "hello names torana's listeners, and no member's real address")
        check(hello["me"] == hello["primary"], "the primary calls itself by the address that the driver dialled")


def pooling(stand):
    """Two hundred client connections write at once over a few server connections."""
    with stand.client(minPoolSize=CLIENTS, maxPoolSize=CLIENTS) as client:
        collection = client.demo.get_collection("writes", write_concern=WriteConcern("majority"))
        collection.drop()
        peak = {}
        errors = []

        def write(number):
            try:
                for index in range(WRITES_EACH):
                    collection.insert_one({"_id": number * WRITES_EACH + index, "by": number})
            except PyMongoError as error:
                errors.append(error)

        started = time.monotonic()
        threads = [threading.Thread(target=write, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            clients, servers = stand.connections()
            peak = {"clients": max(peak.get("clients", 0), *clients.values()), "servers": max(peak.get("servers", 0), *servers.values())}
            time.sleep(0.05)
        took = time.monotonic() - started
        written = collection.count_documents({})
    print(f"  {written} majority writes in {took:.1f} s; at the most {peak['clients']} connections of clients to one member's")
    print(f"  listener, and {peak['servers']} connections from torana to one member (--pool-max {stand.pool_max}, and monitoring)")
    check(not errors and written == CLIENTS * WRITES_EACH, f"every write is there{': ' + str(errors[0]) if errors else ''}")
    check(peak["clients"] >= CLIENTS, f"{CLIENTS} connections of clients were open at once")
    check(peak["servers"] <= stand.pool_max + BESIDE_THE_POOL, "no member had more than the pool's limit")


def shell(stand):
    """mongosh asks for rs.status() and sees torana."""
    script = "rs.status().members.forEach(m => print('  ' + m.name + '  ' + m.stateStr))"
    with tempfile.TemporaryDirectory() as home:
        # A home of its own: mongosh leaves a history and logs there.
        environment = dict(os.environ, HOME=home)
        command = [stand.mongosh, "--quiet", "--norc", stand.uri, "--eval", script]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    print(answer.stdout.rstrip())
    names = re.findall(r"127\.0\.0\.1:\d+", answer.stdout)
    check(answer.returncode == 0 and sorted(names) == sorted(stand.member_of), f"rs.status() names torana's listeners{answer.stderr}")


def failover(stand):
    """A writer goes on while the primary steps down."""
    with stand.client() as client:
        collection = client.demo.get_collection("failover", write_concern=WriteConcern("majority"))
        collection.drop()
        before = client.admin.command("hello")["primary"]
        acknowledged, errors, longest = [], [], 0.0
        stop = time.monotonic() + FAILOVER_SECONDS
        step_down_at = time.monotonic() + FAILOVER_SECONDS / 4
        last = time.monotonic()
        while time.monotonic() < stop:
            if step_down_at and time.monotonic() > step_down_at:
                step_down_at = None
                threading.Thread(target=step_down, args=(stand,)).start()
            try:
                collection.insert_one({"_id": len(acknowledged) + len(errors)})
                acknowledged.append(len(acknowledged) + len(errors))
            except PyMongoError as error:
                errors.append(error)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        after = client.admin.command("hello")["primary"]
        found = collection.count_documents({})
    print(f"  primary {before} stepped down, {after} was elected; {len(acknowledged)} writes acknowledged,")
    print(f"  {len(errors)} errors in the application, the longest wait for a write {longest:.2f} s")
    check(before != after, "another member is primary")
    check(not errors, f"the application saw no error{': ' + str(errors[0]) if errors else ''}")
    check(found >= len(acknowledged), "no acknowledged write is lost")


def step_down(stand):
    with stand.client() as client:
        try:
            client.admin.command({"replSetStepDown": 20, "secondaryCatchUpPeriodSecs": 5})
        except PyMongoError as error:
            print(f"  replSetStepDown: {error}")


@contextlib.contextmanager
def frozen_secondary(stand, ready):
    """A secondary stands still meanwhile: its address at torana. First `ready` has to hold of its client."""
    with stand.client() as client:
        status = client.admin.command("replSetGetStatus")
        sources = {member["name"]: member.get("syncSourceHost") for member in status["members"] if member["stateStr"] == "SECONDARY"}
        # One that no other member copies from, so that writes still reach a majority.
        address = next(name for name in sources if name not in sources.values())
    with pymongo.MongoClient(address, directConnection=True) as secondary:
        wait_for(lambda: ready(secondary), "the secondary has what it is to show")
        secondary.admin.command("configureFailPoint", "rsSyncApplyStop", mode="alwaysOn")
        try:
            yield address
        finally:
            secondary.admin.command("configureFailPoint", "rsSyncApplyStop", mode="off")


def levels(stand):
    """A secondary stands still: it shows what is old, but not of a collection that is tagged `sequential`."""
    names = ("plain", "tagged")
    with stand.client(w="majority") as client:
        for name in names:
            client.demo.drop_collection(name)
            client.demo[name].insert_one({"_id": 1, "v": 0})
        seen = {name: Counter() for name in names}
        with frozen_secondary(stand, lambda secondary: all(secondary.demo[name].find_one() for name in names)) as address:
            with pymongo.MongoClient(address, directConnection=True) as reader:
                for v in range(1, LEVEL_ROUNDS + 1):
                    for name, kinds in seen.items():
                        client.demo[name].update_one({"_id": 1}, {"$set": {"v": v}})
                        found = reader.demo[name].find_one({"_id": 1})
                        kinds["fresh" if found["v"] == v else "stale"] += 1
    for name, kinds in seen.items():
        words = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        print(f"  demo.{name:8} written {LEVEL_ROUNDS} times on the primary, each time read on {address} at once: {words}")
    check(seen["plain"]["stale"] > 0, "the secondary was behind")
    check(seen["tagged"]["fresh"] == LEVEL_ROUNDS, "every read of the tagged collection was fresh: the primary answered in its place")


def parse(stand):
    """Parse Server, unmodified, reads from secondaries, of which one stands still: the class GameScore is tagged `sequential`."""

    rest = functools.partial(ask_parse, stand)
    behind = stand.metric("torana_observed_reads_total", outcome="behind")
    made = {name: rest("POST", f"classes/{name}", {"score": 0})["objectId"] for name in ("Untagged", "GameScore")}
    has_all = lambda secondary: all(secondary.parse[name].find_one({"_id": made[name]}) for name in made)
    seen = {name: Counter() for name in made}
    with frozen_secondary(stand, has_all):
        for score in range(1, PARSE_ROUNDS + 1):
            for name, kinds in seen.items():
                rest("PUT", f"classes/{name}/{made[name]}", {"score": score})
                found = rest("GET", f"classes/{name}/{made[name]}")
                kinds["fresh" if found["score"] == score else "stale"] += 1
    for name, kinds in seen.items():
        words = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        print(f"  {name:10} PUT, then GET, {PARSE_ROUNDS} times: {words}")
    behind = stand.metric("torana_observed_reads_total", outcome="behind") - behind
    print(f"  the class Untagged is observed: of its reads {behind:.0f} were answered by a member that was behind, says torana")
    check(seen["Untagged"]["stale"] > 0, "reads of the class without a level were stale")
    check(seen["GameScore"]["fresh"] == PARSE_ROUNDS, "no read of GameScore was")
    check(behind >= seen["Untagged"]["stale"], "torana counted them")


def ask_parse(stand, method, path, body=None):
    request = urllib.request.Request(f"{stand.parse}/{path}", method=method, data=json.dumps(body).encode() if body else None)
    for header, value in (("Application-Id", "demo"), ("Master-Key", "demo")):
        request.add_header(f"X-Parse-{header}", value)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def traffic(stand):
    """Parse's traffic is captured, and replayed against another server ten times as fast."""
    with stand.client() as source, pymongo.MongoClient(stand.target) as target:
        copy_database(source.parse, target.parse)
    command = [stand.torana, "record", "--admin", stand.admin, "--out", stand.capture, "--replies", "digests"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as recording:
        try:
            wait_for(lambda: stand.metric("torana_capture_recording") == 1, "the recording has begun")
            asked, token = use_parse(stand)
        finally:
            recording.send_signal(signal.SIGINT)
            said = "".join(recording.communicate(timeout=60))
    check(recording.returncode == 0, f"torana record ended in order{'' if recording.returncode == 0 else ': ' + said}")
    kept = subprocess.run([stand.torana, "capture", "cat", stand.capture], capture_output=True, text=True, timeout=120)
    print(f"  {asked} requests to Parse Server; {kept.stdout.count(chr(10))} records of what it asked its database, and was told")
    check(kept.returncode == 0 and "GameScore" in kept.stdout, f"the capture can be read{kept.stderr}")
    secrets = PASSWORD in kept.stdout or token in kept.stdout or re.search(r"\$2[aby]\$\d\d\$", kept.stdout)
    check(not secrets, "no password, no password's hash and no session token of a user is in it")
    figures = pathlib.Path(stand.report).with_suffix(".json")
    command = [stand.torana, "replay", stand.capture, "--to", stand.target, "--writes", "--speed", str(REPLAY_SPEED), "--quiet"]
    command += ["--html", stand.report, "--json", str(figures)]
    replayed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    print("\n".join(f"  {line}" for line in replayed.stdout.splitlines()[:REPORT_LINES]))
    print(f"  the whole report: {stand.report}")
    check(replayed.returncode == 0, f"the replay ran{'' if replayed.returncode == 0 else ': ' + replayed.stderr}")
    check(pathlib.Path(stand.report).exists() and figures.exists(), "its report was written")


def copy_database(source, target):
    """What a restored backup would be."""
    for name in source.list_collection_names():
        documents = list(source[name].find())
        if documents:
            target[name].insert_many(documents)
        for index, keys in source[name].index_information().items():
            if index != "_id_":
                options = {key: value for key, value in keys.items() if key in ("unique", "sparse", "expireAfterSeconds")}
                target[name].create_index(keys["key"], name=index, **options)


def use_parse(stand):
    """Users sign up and log in, objects are made, changed and asked for: the number of requests, and a session's token."""
    asked = Counter()
    rest = functools.partial(ask_parse, stand)
    rest("POST", "users", {"username": "demo", "password": PASSWORD})
    token = rest("POST", "login", {"username": "demo", "password": PASSWORD})["sessionToken"]

    def play(number):
        stop = time.monotonic() + TRAFFIC_SECONDS
        while time.monotonic() < stop:
            made = rest("POST", "classes/GameScore", {"score": number, "player": f"player {number}"})["objectId"]
            rest("PUT", f"classes/GameScore/{made}", {"score": {"__op": "Increment", "amount": 1}})
            rest("GET", f"classes/GameScore/{made}")
            rest("GET", "classes/GameScore?" + urllib.parse.urlencode({"where": json.dumps({"player": f"player {number}"}), "limit": 10}))
            asked[number] += 4

    threads = [threading.Thread(target=play, args=(number,)) for number in range(TRAFFIC_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(asked.values()) + 2, token


def wait_for(holds, what):
    deadline = time.monotonic() + 20
    while not holds():
        if time.monotonic() > deadline:
            raise OSError(f"waited 20 s in vain: {what}")
        time.sleep(0.1)


def metrics(stand):
    """What torana measured meanwhile, summed over the members."""
    sums = Counter()
    for series, value in stand.metrics().items():
        sums[re.split(r"[{ ]", series)[0]] += value
    for family in SHOWN_METRICS:
        print(f"  {family:40}{sums.get(family, 0):12,.0f}")
    print(f"  and {len(sums) - len(SHOWN_METRICS)} more at http://{stand.admin}/metrics")
    check(all(sums.get(family) for family in SHOWN_METRICS), "none of these is 0")


CHAPTERS = [members, pooling, shell, failover, levels, parse, metrics, traffic]


def main():
    parser = argparse.ArgumentParser()
    for name in ("ready", "uri", "admin", "mongosh", "parse", "torana", "target", "capture", "report"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("pid", "pool-max"):
        parser.add_argument(f"--{name}", required=True, type=int)
    stand = Stand(parser.parse_args())
    for chapter in CHAPTERS:
        print(f"\n{chapter.__doc__.splitlines()[0]}", flush=True)
        try:
            chapter(stand)
        except (PyMongoError, OSError, subprocess.SubprocessError) as error:
            check(False, f"{chapter.__name__}: {error}")
        sys.stdout.flush()
    print(f"\n{'All of this held.' if not failures else f'{len(failures)} of these claims did not hold.'}")
    sys.exit(1 if failures else 0)


main()
