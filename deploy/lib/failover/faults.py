"""What is done to a primary, in turn, and how it is undone."""

import signal
import time
from dataclasses import dataclass

# How long a killed member stays away: longer than an election takes (5 s and some).
DOWN_SECONDS = 8
# How long a stopped one stands still: longer than drivers take to give it up (heartbeatFrequencyMS and
# connectTimeoutMS, 20 s), so that what was in flight must be given up too, and is not just late.
STOPPED_SECONDS = 28


@dataclass
class Fault:
    """One that has happened."""

    kind: str
    address: str
    begun: float


def kill(member):
    member.signal(signal.SIGKILL)
    time.sleep(DOWN_SECONDS)
    member.restart()


def term(member):
    member.signal(signal.SIGTERM)
    member.restart()


def step_down(member):
    member.step_down()


def stop(member):
    member.signal(signal.SIGSTOP)
    try:
        time.sleep(STOPPED_SECONDS)
    finally:
        member.signal(signal.SIGCONT)


KINDS = {"SIGKILL": kill, "SIGTERM": term, "stepDown": step_down, "SIGSTOP": stop}


def inject_all(members, kinds, seconds, every):
    """A fault every `every` seconds for `seconds`, of each of `kinds` in turn. Returns them."""
    faults = []
    begin = time.monotonic()
    while time.monotonic() + every <= begin + seconds + 1:
        kind = kinds[len(faults) % len(kinds)]
        primary = members.primary()
        fault = Fault(kind, primary.address, time.monotonic())
        faults.append(fault)
        print(f"{fault.begun - begin:6.1f} s: {kind} to {fault.address}", flush=True)
        KINDS[kind](primary)
        time.sleep(max(0.0, begin + every * len(faults) - time.monotonic()))
    return faults
