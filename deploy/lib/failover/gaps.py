"""How long writers went without an acknowledgment, for each fault.

The rule: for each kind of fault, the longest gap of any writer through torana, over all faults of that kind, is at most
ALLOWANCE above the longest of any direct writer over the same faults. Both write at the same time to the same set, so
how long the set itself took is in both. A gap is the time between two acknowledgments of one writer, its pause included.

Longest of a kind and not fault by fault, because where a member stands still chance decides how long a driver takes to
give it up: its last heartbeat was up to 10 s before, so the same fault costs it 10 to 20 s, and torana 10. In a single
fault either may be the lucky one. Writers through torana are more than direct ones, so theirs is the longer tail: the
rule is not in torana's favour.
"""

import bisect
from collections import defaultdict

ALLOWANCE = 0.5


def longest(acknowledged, begun, ended):
    """The longest gap of any writer that ended between `begun` and `ended`; all of it if the writer never came back."""
    worst = 0.0
    for times in acknowledged.values():
        first = bisect.bisect_right(times, begun)
        last = bisect.bisect_right(times, ended)
        known = [begun if first == 0 else times[first - 1], *times[first:last]]
        if last == len(times):
            known.append(max(ended, known[-1]))
        worst = max([worst, *(later - earlier for earlier, later in zip(known, known[1:]))])
    return worst


def compare(faults, end, torana, direct):
    """Prints a line for each fault and for each kind; returns what breaks the rule."""
    by_kind = defaultdict(list)
    for fault, until in zip(faults, [fault.begun for fault in faults[1:]] + [end], strict=True):
        pair = longest(torana, fault.begun, until), longest(direct, fault.begun, until)
        by_kind[fault.kind].append(pair)
        print(f"{fault.kind:9} {fault.address}: longest gap {pair[0]:.2f} s through torana, {pair[1]:.2f} s direct")
    broken = []
    for kind, pairs in by_kind.items():
        through, beside = (max(values) for values in zip(*pairs))
        print(f"figure failover {kind}: {through:.2f} s through torana, {beside:.2f} s direct, of {len(pairs)}")
        if through > beside + ALLOWANCE:
            broken.append(f"{kind}: a gap of {through:.2f} s through torana, {beside:.2f} s direct")
    return broken
