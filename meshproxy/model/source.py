"""What an operator can say about control planes that are asked for documents, again and again.

    said = decode(Source, {"name": "mesh", "url": "http://fsm-controller.fsm-system:6060/repo/fsm-sidecar/books/"})
    said.is_repo            # True: the path ends with a slash
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from meshproxy.model.matching import Found
from meshproxy.model.tls import ClientTls, client_problems
from meshproxy.schema.kinds import PositiveDuration, Scalar, SecretText, choice, refuse, same, string

MOST_SOURCES = 16
LONGEST_URL = 2048
LONGEST_NAME = 63
TAKEN = ("default", "history", "rollback")

_URL = re.compile(r"https?://[A-Za-z0-9._~\[\]:-]+(?:/[!$-;=?-Z_a-z~]*)?")


def read_url(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_URL or not _URL.fullmatch(value):
        raise refuse("an address such as https://plane.local/config.yaml", value)
    try:
        if not urlsplit(value).hostname or urlsplit(value).port == 0:
            raise ValueError
    except ValueError:
        raise refuse("an address with a host, and with a port from 1 to 65535 if any", value) from None
    return value


def is_url(text: str) -> bool:
    """And not the path of a file."""
    return text.startswith(("http://", "https://"))


Url = Annotated[
    str, Scalar("URL", read_url, same, {"type": "string", "pattern": f"^{_URL.pattern}$", "maxLength": LONGEST_URL})
]
LayerName = Annotated[
    str, string("layer name", "a name of letters, digits, dots, dashes", r"[A-Za-z0-9][A-Za-z0-9._-]*", LONGEST_NAME)
]


@dataclass(frozen=True, slots=True)
class Source:
    """One control plane: what it says is a layer of the configuration."""

    name: Annotated[LayerName, "the layer that it fills"]
    url: Annotated[Url, "the document; or a repository of Pipy, whose address ends with a slash"]
    kind: Annotated[
        Literal["auto", "document", "repo"],
        choice("auto", "document", "repo"),
        "what stands there; auto: a repository where the path ends with a slash, else a document",
    ] = "auto"
    every: Annotated[PositiveDuration, "how long after an answer it is asked again, a little more or less"] = 5.0
    timeout: Annotated[PositiveDuration, "how long an answer may take, all of it"] = 10.0
    token: Annotated[SecretText | None, "the bearer token that is shown"] = None
    tls: Annotated[ClientTls | None, "how TLS is spoken where the address begins with https; absent: the defaults"] = (
        None
    )

    @property
    def is_repo(self) -> bool:
        return self.kind == "repo" or (self.kind == "auto" and urlsplit(self.url).path.endswith("/"))


def sources_of(urls: Iterable[str]) -> tuple[Source, ...]:
    """With all defaults, each named by its host; of several with one host, those after the first by number."""
    found: list[Source] = []
    for url in urls:
        host = re.sub(r"[^A-Za-z0-9.-]+", "-", urlsplit(read_url(url)).hostname or "").strip("-.")[:LONGEST_NAME]
        alike = sum(source.name.partition("_")[0] == host for source in found)
        found.append(Source(f"{host}_{alike + 1}" if alike else host, url))
    return tuple(found)


# What does not fit together -----------------------------------------------------------------------


def source_problems(sources: tuple[Source, ...]) -> Found:
    """Each with its place among them."""
    if len(sources) > MOST_SOURCES:
        yield (), f"`sources` has {len(sources)} entries, more than {MOST_SOURCES}"
    names: dict[str, int] = {}
    for index, said in enumerate(sources):
        before = names.setdefault(said.name, index)
        if before != index:
            yield (index, "name"), f"`name` {said.name} is there twice: first in `sources[{before}]`"
        if said.name in TAKEN:
            yield (index, "name"), f"`name` {said.name} is taken, as in `/config/{said.name}`: choose another one"
        if said.is_repo and "?" in said.url:
            yield (index, "url"), "`url` of a repository has no query"
        if said.tls is not None and not said.url.startswith("https:"):
            yield (index, "tls"), "`tls` needs a `url` that begins with https"
        if said.tls is not None:
            for path, message in client_problems(said.tls):
                yield (index, "tls", *path), message
