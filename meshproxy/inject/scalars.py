"""What a plain scalar is to Kubernetes, which reads YAML by the rules of 1.1: `0644` is octal, and `yes` is true.

By those of 1.2 the mode of a file would be read as another number, and be written back as that.
"""

from __future__ import annotations

import re
from typing import Any

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset("y Y yes Yes YES on On ON true True TRUE".split())
_FALSE = frozenset("n N no No NO off Off OFF false False FALSE".split())
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0|[1-9][0-9]*)")
_OCTAL = re.compile(r"[-+]?0[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 1000


def plain(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] not in "+-.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    number = text.replace("_", "")
    if _OCTAL.fullmatch(number):
        return int(number, 8)
    if _INT.fullmatch(number):
        return int(number, 0)
    return float(number) if _FLOAT.fullmatch(number) else text
