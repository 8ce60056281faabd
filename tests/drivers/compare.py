#!/usr/bin/env python3
"""Compares what a driver printed on a direct connection with what it printed through the proxy.

compare.py DIRECT PROXIED --members real=proxy,real=proxy,... [--steps-min N]

Exits 0 if every step is the same after normalise.py, 1 with a readable difference otherwise.
"""

import argparse
import difflib
import json
import sys

from normalise import normalised_lines, parse_members

DIFF_LINES_MAX = 60


def pretty(record):
    return json.dumps(record, indent=1, ensure_ascii=False).splitlines()


def differences(direct, proxied):
    """Yields (step, diff lines) for each step that is not the same on both sides."""
    for index in range(max(len(direct), len(proxied))):
        left = direct[index] if index < len(direct) else {"missing": True}
        right = proxied[index] if index < len(proxied) else {"missing": True}
        # Text and not ==: 1, 1.0 and true are equal in Python, and the order of keys is part of a reply.
        if json.dumps(left) != json.dumps(right):
            name = left.get("step") or right.get("step")
            yield name, list(difflib.unified_diff(pretty(left), pretty(right), "direct", "proxied", n=4, lineterm=""))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("direct")
    parser.add_argument("proxied")
    parser.add_argument("--members", default="", help="real=proxy,... in the order of the set's configuration")
    parser.add_argument("--steps-min", type=int, default=30, help="fewer steps than this fail: an empty output equals an empty output")
    return parser.parse_args()


def main():
    args = arguments()
    members = parse_members(args.members)
    direct = list(normalised_lines(args.direct, members))
    proxied = list(normalised_lines(args.proxied, members))
    found = list(differences(direct, proxied))
    for step, lines in found:
        print(f"step {step} differs:")
        print("\n".join(line[:400] for line in lines[:DIFF_LINES_MAX]))
        if len(lines) > DIFF_LINES_MAX:
            print(f"... and {len(lines) - DIFF_LINES_MAX} lines more")
    if len(direct) < args.steps_min:
        print(f"only {len(direct)} steps on the direct side, at least {args.steps_min} wanted")
        sys.exit(1)
    events = sum(len(record.get("events", [])) for record in direct)
    print(f"{len(direct)} steps, {events} command replies: {len(found)} steps differ")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
