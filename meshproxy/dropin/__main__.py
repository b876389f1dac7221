"""`python -m meshproxy.dropin NAME ARGS...` is the program of that name in the image."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from meshproxy.dropin import life

USAGE = 2


def pipy(arguments: Sequence[str]) -> int:
    # The others are run by kubelet, and need nothing of what a proxy is made of.
    from meshproxy.dropin.pipy import main

    return main(arguments, os.environ)


PROGRAMS = {"pipy": pipy, "wait-pipy": life.wait_pipy, "gkill": life.gkill}


def main(argv: Sequence[str]) -> int:
    if not argv or argv[0] not in PROGRAMS:
        print(f"meshproxy.dropin: the first argument is one of {', '.join(PROGRAMS)}", file=sys.stderr)
        return USAGE
    return PROGRAMS[argv[0]](argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
