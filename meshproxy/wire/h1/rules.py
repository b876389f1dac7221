"""What an operator may set: how much is taken, and which inputs outside the specifications are."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and counts.  Nothing that a peer sends is held beyond these, and no work grows faster than they do."""

    line: int = 8 * KIB
    """The request line or status line."""
    head: int = 60 * KIB
    """A head with its first line and the empty one at its end; a trailer section too."""
    fields: int = 100
    """In a head, and in a trailer section."""
    body: int | None = None
    """What a body may decode to.  None is without limit: bodies stream and are never held."""
    chunk_line: int = 1 * KIB
    """A chunk size with its extensions."""
    chunk_extensions: int = 16 * KIB
    """All extensions of one body: one byte of data may not cost a KiB of extension, again and again."""
    interim: int = 10
    """Responses of 1xx before the final one."""


@dataclass(frozen=True, slots=True)
class Strictness:
    """Each switch admits one thing that is refused by default.  None of them touches framing or routing.

    What is admitted is never passed on as it came where another recipient could read it in another way.
    """

    bare_lf: bool = False
    """A line of a head may end in LF alone; it is passed on with CR LF."""
    obs_fold: bool = False
    """A field may go on in a line that begins with a space; it is passed on as one line."""
    raw_target: bool = False
    """A target may hold any visible byte and any above 127, except `#`, and `%` need not be followed by two digits."""
    underscores: bool = False
    """A field name may have an underscore, which CGI, WSGI and their like take for a hyphen."""
    bare_status: bool = False
    """A status line may end with its code, without the space before an empty reason."""


DEFAULT_LIMITS = Limits()
STRICT = Strictness()
