"""Documents that are wrong in ways that nobody has thought of: those of the golden files, put out of joint.

    python -m tests.dialects.fsm.mutants 10000      # more than the suite takes
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from random import Random
from typing import Any

from meshproxy.dialects import read, translated
from meshproxy.dialects.translation import Setting
from meshproxy.errors import Invalid
from meshproxy.model import combine
from meshproxy.model.sidecar import Compat
from tests.dialects.fsm.goldens import FOLDER

SEEDS = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 65536, 2**32, 2**63, 1e300, -0.5, 1e-9,
    "", "*", ".*", "^", "$", "|", "(", "a|", "[", "\\", "(a+)+$", "/", "//", "../..", "0", "80", "é", "x" * 2000,
    "127.0.0.1", "10.0.0.0/8", "::/0", "300.1.1.1", "a:b:c",
    [], [None], ["a", "a"], [[]], [{}],
    {}, {"": None}, {"a": {}}, {"*": "*"}, {"80": []}, {"127.0.0.1:80": 0},
]  # fmt: skip
SETTINGS = [
    Setting(),
    Setting(compat=Compat("header", "ignored", "connection", "any", "closed", "search", "seven", "specific")),
    Setting(compat=Compat(bodies="buffered", headers="last", plugins="refuse")),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document: what holds it, and the key there."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def mutant(random: Random) -> bytes:
    document = copy.deepcopy(random.choice(SEEDS))
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        holder, key = random.choice([*places(document)] or [({"": 0}, "")])
        kind = random.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = copy.deepcopy(random.choice(STRANGE))
        elif kind == 2:
            other, there = random.choice([*places(random.choice(SEEDS))])
            holder[key] = copy.deepcopy(other[there])
        elif kind == 3 and isinstance(holder, dict):
            new = random.choice([each for each in STRANGE if isinstance(each, str)])
            holder[new] = holder.pop(key)
        elif kind == 4 and isinstance(holder[key], list | dict) and isinstance(holder, dict):
            old = holder[key]
            holder[key] = list(old) if isinstance(old, dict) else dict.fromkeys(map(str, range(len(old))), old)
        elif isinstance(holder[key], int | float):
            holder[key] = -holder[key] if random.random() < 0.5 else holder[key] * 1e6
    text = json.dumps(document, indent=1).encode()
    return text[: random.randrange(len(text))] if random.random() < 0.05 else text


def outcome(data: bytes, setting: Setting) -> str:
    """How it ends: refused with reasons, or in force as a whole. Anything else is raised."""
    try:
        documents = [read(data, "config.json")]
        if documents[0].foreign is None:
            return "another dialect"
        combine(translated(documents, setting).documents)
    except Invalid as invalid:
        return "refused" if all(problem.message for problem in invalid.problems) else "refused without a reason"
    return "in force"


def main(count: int, seed: int) -> dict[str, int]:
    random = Random(seed)
    found: dict[str, int] = {}
    for number in range(count):
        data, setting = mutant(random), random.choice(SETTINGS)
        try:
            how = outcome(data, setting)
        except Exception:
            sys.stderr.write(f"mutant {number} of seed {seed}:\n{data.decode()}\n")
            raise
        found[how] = found.get(how, 0) + 1
    return found


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
