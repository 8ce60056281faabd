"""The members of a running set as processes that can be harmed and healed."""

import os
import pathlib
import signal
import subprocess
import time

import pymongo
from pymongo.errors import AutoReconnect, PyMongoError

PRIMARY, SECONDARY = 1, 2
# SIGTERM lets a primary hand over and then refuse politely for 15 s (shutdownTimeoutMillisForSignaledShutdown).
ENDS_WITHIN = 60
BACK_WITHIN = 120
LOOK_EVERY = 0.1


class Member:
    """A mongod, started by whoever started the set; restarted by this."""

    def __init__(self, address, pid):
        self.address, self._pid = address, pid
        self._command = [part.decode() for part in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if part]
        self._child = None
        self._log = pathlib.Path(os.readlink(f"/proc/{pid}/fd/1"))
        self.client = pymongo.MongoClient(
            address, directConnection=True, serverSelectionTimeoutMS=1000, socketTimeoutMS=5000, connectTimeoutMS=1000
        )

    def is_primary(self):
        try:
            return self.client.admin.command("hello")["isWritablePrimary"]
        except PyMongoError:
            return False

    def states(self):
        """The states and last writes of all members as this one sees them; nothing if it does not answer."""
        try:
            status = self.client.admin.command("replSetGetStatus")
        except PyMongoError:
            return []
        return [(member["state"], member.get("optime", {}).get("ts")) for member in status["members"]]

    def signal(self, number):
        os.kill(self._pid, number)

    def step_down(self):
        try:
            self.client.admin.command("replSetStepDown", 20, secondaryCatchUpPeriodSecs=10)
        except AutoReconnect:
            pass  # a primary that steps down may close its connections

    def restart(self):
        """Waits until it has ended, and starts it as it was started first."""
        wait_for(f"the end of {self.address}", lambda: not self._runs(), ENDS_WITHIN)
        command = ["setpriv", "--pdeathsig", "KILL", "--", *self._command]
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._pid = self._child.pid

    def end_of_its_own(self):
        """How it ended, if it did without having been asked to."""
        if self._runs():
            return ""
        status = self._child.poll() if self._child else "unknown"
        last = self._log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"{self.address} ended by itself, status {status}; its log:", *last])

    def _runs(self):
        if self._child:
            return self._child.poll() is None
        try:
            stat = pathlib.Path(f"/proc/{self._pid}/stat").read_text()
        except FileNotFoundError:
            return False
        return stat.rpartition(")")[2].split()[0] != "Z"

    def end(self):
        if self._child and self._child.poll() is None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()


class Members:
    """All members of the set."""

    def __init__(self, addresses, pids):
        self._members = [Member(address, pid) for address, pid in zip(addresses, pids, strict=True)]

    def primary(self):
        """The one primary, waited for."""
        found = wait_for("a primary", lambda: [m for m in self._members if m.is_primary()], BACK_WITHIN)
        return found[0]

    def await_all_back(self):
        """Waits until all are in step behind one primary, and returns that."""

        def in_step():
            primaries = [member for member in self._members if member.is_primary()]
            if len(primaries) != 1:
                return None
            states = primaries[0].states()
            wanted = [PRIMARY] + [SECONDARY] * (len(self._members) - 1)
            is_in_step = sorted(state for state, _ in states) == wanted and len({optime for _, optime in states}) == 1
            return primaries[0] if is_in_step else None

        try:
            return wait_for("all members in step", in_step, BACK_WITHIN)
        except SystemExit as nothing:
            ends = filter(None, [member.end_of_its_own() for member in self._members])
            raise SystemExit("\n".join([str(nothing), *ends])) from None

    def end(self):
        for member in self._members:
            member.end()


def wait_for(what, attempt, seconds):
    """What `attempt` returns once that is true; SystemExit after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = attempt()
        if result:
            return result
        if time.monotonic() > deadline:
            raise SystemExit(f"found: waited {seconds} s in vain for {what}")
        time.sleep(LOOK_EVERY)
