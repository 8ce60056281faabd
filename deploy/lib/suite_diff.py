"""Compares two JUnit files of one suite: which tests end otherwise. Status 1 if any does.

    suite_diff.py DIRECT.xml THROUGH.xml
"""

import itertools
import sys
import xml.etree.ElementTree


def outcomes(path):
    """The outcome of each test, by its file and name."""
    found = {}
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        parts = case.get("classname").split(".")
        module = list(itertools.takewhile(lambda part: part[:1].islower(), parts))
        file = "/".join(module) + ".py"
        ended = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[file, parts[-1], case.get("name")] = " and ".join(ended) or "passed"
    return found


def main():
    direct, through = (outcomes(path) for path in sys.argv[1:])
    differ = [test for test in {**direct, **through} if direct.get(test) != through.get(test)]
    print(f"{len(direct)} tests directly, {len(through)} through torana, {len(differ)} differ")
    for test in differ:
        file, group, name = test
        print(f"  {name} in {file} ({group}): {direct.get(test)} directly, {through.get(test)} through torana")
    sys.exit(1 if differ or not direct else 0)


main()
