"""Prints the first of N consecutive ports that nothing listens on now, below the range of outgoing connections."""

import random
import socket
import sys

FIRST, LAST = 20_000, 32_000


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def main():
    count = int(sys.argv[1])
    while True:
        first = random.randrange(FIRST, LAST - count)
        if all(is_free(port) for port in range(first, first + count)):
            print(first)
            return


main()
