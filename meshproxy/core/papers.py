"""What the certificates of a configuration say of themselves, and what is wrong with them before anybody uses them.

    for paper in survey(uses, texts, fault):         # `fault(use, words)` hears of what cannot be served
        paper.certificates[0].identity

Whether a key is that of its certificate, and what else OpenSSL asks for, is found by whoever loads them into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from meshproxy.model.papers import Use
from meshproxy.schema.kinds import Secret
from meshproxy.wire.x509 import Certificate, Unreadable, blocks, read

DAY = 86400
SOON = 30 * DAY
"""Before its end a certificate is to be renewed, or within the last third of its life where that is shorter."""
CERTIFIED = frozenset(("certificate", "client_ca", "ca"))
"""The roles of what holds certificates."""

Fault = Callable[[Use, str], object]


class Unusable(ValueError):
    """A file holds something else than it should: in words that follow its name, and tell no secret of it."""


@dataclass(frozen=True, slots=True)
class Paper:
    """A certificate with those above it, or the CAs that are believed, at one place of the configuration."""

    use: Use
    certificates: tuple[Certificate | str, ...]
    """In the order of the file; in the place of one that cannot be read stands why."""

    @property
    def readable(self) -> list[Certificate]:
        return [each for each in self.certificates if isinstance(each, Certificate)]

    @property
    def decisive(self) -> Certificate | None:
        """The one with which it ends: of a chain the first to expire, of CAs the last, for any of them will do."""
        first_to_last = sorted(self.readable, key=lambda each: each.not_after)
        return first_to_last[0 if self.use.role == "certificate" else -1] if first_to_last else None

    def out_of_time(self, now: float) -> str:
        """What is wrong with it now, in words that follow its name, or nothing."""
        bad = [each for each in self.readable if not each.not_before <= now <= each.not_after]
        if not bad or (self.use.role != "certificate" and len(bad) < len(self.readable)):
            return ""
        if now < bad[0].not_before:
            return f"is not valid before {date(bad[0].not_before)}"
        return f"has expired, at {date(bad[0].not_after)}"

    def ends_soon(self, now: float) -> str:
        said = self.decisive
        if said is not None and said.not_after - now < min(SOON, (said.not_after - said.not_before) / 3):
            return f"expires in {(said.not_after - now) / DAY:.1f} days, at {date(said.not_after)}"
        return ""


def survey(uses: Iterable[Use], texts: Mapping[str, str], fault: Fault) -> list[Paper]:
    """All that hold certificates; `texts` is what files have in them, and whose file is not there is passed over."""
    known: dict[str, tuple[Certificate | str, ...]] = {}
    found = []
    for use in uses:
        text = text_of(use, texts)
        if text is None or use.role not in CERTIFIED:
            continue
        try:
            if text not in known:
                known[text] = _certificates(text)
        except Unreadable as error:
            fault(use, f"holds no certificate: {error}")
        else:
            found.append(Paper(use, known[text]))
    return found


def text_of(use: Use, texts: Mapping[str, str]) -> str | None:
    """None where its file could not be read."""
    if isinstance(use.source, Secret):
        return use.source.text
    return use.source if use.file is None else texts.get(use.file)


def _certificates(pem: str) -> tuple[Certificate | str, ...]:
    found: list[Certificate | str] = []
    for der in blocks(pem, "CERTIFICATE"):
        try:
            found.append(read(der))
        except Unreadable as error:
            found.append(str(error))
    if not found:
        raise Unreadable("there are only other PEM blocks in it")
    return tuple(found)


def date(seconds: int) -> str:
    """As RFC 3339 has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00") + "Z"
