"""Text that may come from a peer, as a terminal may have it: nothing in it moves a cursor or turns the reading round.

    printable("web\x1b[2J")       # 'web\\x1b[2J'
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Whatever has no shape of its own is written as its escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
