"""Plain data as YAML that means the same by the rules of 1.1 and of 1.2: what either would take for another thing
than a string is in quotes.

    text([{"kind": "TrafficSplit"}, {"kind": "HTTPRouteGroup"}])    # two documents, with `---` between them
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

_TAKEN = re.compile(
    r"[-+]?[0-9]+|[-+]?0[bBoOxX][0-9a-fA-F_]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[nNyY]"
)
"""For a number or a boolean, by 1.2 or by some reader of 1.1, where PyYAML sees a string."""
WIDEST = 120


class Writer(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """What stands in two places is written twice: an operator changes one of them."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """The items of a list stand below their key, and to the right of it."""
        super().increase_indent(flow, False)


def _written(writer: Writer, said: str) -> yaml.ScalarNode:
    taken = _TAKEN.fullmatch(said) is not None
    return writer.represent_scalar("tag:yaml.org,2002:str", said, "'" if taken else "|" if "\n" in said else None)


Writer.add_representer(str, _written)


def text(documents: Sequence[Any]) -> str:
    return yaml.dump_all(documents, Dumper=Writer, sort_keys=False, width=WIDEST, allow_unicode=True)
