"""The command line of Pipy, as the injectors of FSM and osm-edge write it.

    said = parse_options(["--log-level=warn", "--admin-port=6060", "http://fsm-controller.fsm-system:6060/repo/fsm-sidecar/x/"])
    said.source, said.log_level, said.workers

What would change nothing here is taken and does nothing; what asks for something that is not done is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from meshproxy.model.address import Address, parse
from meshproxy.model.config import MOST_WORKERS
from meshproxy.model.source import Source, is_url, sources_of
from meshproxy.schema.kinds import shown

LEVELS = {
    "trace": "debug", "debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error",
    "critical": "error", "fatal": "error", "panic": "error", "disabled": "error", "off": "error",
}  # fmt: skip
"""Also those that a MeshConfig may have and Pipy does not know."""

WITHOUT_EFFECT = {
    "--reuse-port": "workers share their listeners anyhow",
    "--no-graph": "there are no graphs",
    "--no-metrics": "metrics are not reported to a repository",
    "--log-local-only": "the log goes nowhere else",
    "--log-history-limit": "no log is kept",
    "--instance-uuid": "each process has its own",
    "--instance-name": "it is the name of the host",
    "--admin-gui": "the page of meshproxy is at its own admin side",
}
REFUSED = {
    **dict.fromkeys(("-e", "-eval", "--eval", "-f", "-file", "--file"), "scripts are not run"),
    **dict.fromkeys(("--init-repo", "--init-code"), "this is no repository"),
    **dict.fromkeys(("--admin-tls-cert", "--admin-tls-key", "--admin-tls-trusted"), "the admin port speaks no TLS"),
    **dict.fromkeys(("--log-file", "--admin-log-file"), "the log goes to standard error"),
    "--no-status": "what is in force is always reported",
    "--force-start": "it does not start without the ports that it needs",
    "--openssl-engine": "there are no engines",
}
PAPERS = {"--tls-cert": "certificate", "--tls-key": "key", "--tls-trusted": "ca"}
"""What is shown to the repository."""
USAGE = f"""usage: pipy [options] http://HOST:PORT/repo/CODEBASE/

  --log-level=LEVEL             {", ".join(LEVELS)}; what follows a colon is ignored
  --admin-port=[IP:]PORT        where /metrics and /status are; without an address on 127.0.0.1
  --admin-port-off              nowhere
  --threads=N|max               processes that carry traffic; max: one for each CPU of the container
  --log-local=stdout|stderr     it is standard error
  {", ".join(PAPERS)} =FILE     TLS with the repository

taken, and without effect: {", ".join(WITHOUT_EFFECT)}
refused: {", ".join(REFUSED)}"""


class Wrong(ValueError):
    """What is wrong with the command line."""


@dataclass(frozen=True, slots=True)
class Options:
    source: Source
    log_level: str = "info"
    admin: Address | None = None
    workers: int | str | None = None
    """None: nothing is said."""
    papers: dict[str, str] = field(default_factory=dict)
    """Files, by the key of `tls` of a source."""


def parse_options(arguments: Iterable[str]) -> Options:
    """Raises Wrong."""
    urls = [each for each in arguments if not each.startswith("-")]
    if len(urls) != 1:
        raise Wrong(f"one address of a repository is expected, not {len(urls)}")
    found = Options(_source(urls[0]))
    for name, equals, value in (each.partition("=") for each in arguments if each.startswith("-")):
        if name in KNOWN:
            found = KNOWN[name](found, value)
        elif name in PAPERS:
            found = replace(found, papers={**found.papers, PAPERS[name]: value})
        elif name in REFUSED:
            raise Wrong(f"{name}: {REFUSED[name]}")
        elif name not in WITHOUT_EFFECT:
            raise Wrong(f"unknown option {shown(name + equals + value)}")
    return found


def _source(url: str) -> Source:
    if not is_url(url):
        raise Wrong(f"{shown(url)} is no address of a repository: scripts and built-in codebases are not run")
    whole = url if url.endswith("/") else f"{url}/"
    try:
        (source,) = sources_of([whole])
    except ValueError as why:
        raise Wrong(f"the address of the repository {why}") from None
    if not urlsplit(whole).path.strip("/"):
        raise Wrong(f"{shown(url)} names no codebase: there is no proxy for a repository")
    return source


def _log_level(found: Options, value: str) -> Options:
    level, _, _topics = value.partition(":")
    if level not in LEVELS:
        raise Wrong(f"--log-level: {shown(value)} is none of {', '.join(LEVELS)}")
    return replace(found, log_level=LEVELS[level])


def _admin_port(found: Options, value: str) -> Options:
    try:
        return replace(found, admin=parse(value if ":" in value else f"127.0.0.1:{value}"))
    except ValueError as why:
        raise Wrong(f"--admin-port: {why}") from None


def _threads(found: Options, value: str) -> Options:
    if value == "max":
        return replace(found, workers="auto")
    if not (re.fullmatch("[0-9]{1,3}", value) and 1 <= int(value) <= MOST_WORKERS):
        raise Wrong(f"--threads: {shown(value)} is neither max nor a number from 1 to {MOST_WORKERS}")
    return replace(found, workers=int(value))


def _log_local(found: Options, value: str) -> Options:
    if value not in ("stdout", "stderr"):
        raise Wrong(f"--log-local: {shown(value)} is neither stdout nor stderr: there is always a log")
    return found


KNOWN: dict[str, Callable[[Options, str], Options]] = {
    "--log-level": _log_level,
    "--admin-port": _admin_port,
    "--admin-port-off": lambda found, _: replace(found, admin=None),
    "--threads": _threads,
    "--log-local": _log_local,
}
