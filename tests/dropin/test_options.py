"""Pipy's command line: what is taken, what is taken without effect, and what is refused by name."""

from __future__ import annotations

import pytest

from meshproxy.dropin.options import PAPERS, REFUSED, USAGE, WITHOUT_EFFECT, Wrong, parse_options

URL = "http://fsm-controller.fsm-system:6060/repo/fsm-sidecar/0c5f.sidecar.books.shop/"


def test_the_command_line_of_the_injector() -> None:
    found = parse_options(["--log-level=error", "--admin-port=6060", URL])
    assert (found.source.url, found.source.name, found.source.is_repo) == (URL, "fsm-controller.fsm-system", True)
    assert (found.log_level, str(found.admin), found.workers) == ("error", "127.0.0.1:6060", None)


def test_a_codebase_needs_no_slash() -> None:
    assert parse_options([URL.rstrip("/")]).source.url == URL


@pytest.mark.parametrize(
    ("said", "meant"),
    [("debug:inbound+outbound", "debug"), ("trace", "debug"), ("warn", "warning"), ("off", "error"), ("info", "info")],
)
def test_levels_of_the_log(said: str, meant: str) -> None:
    assert parse_options([f"--log-level={said}", URL]).log_level == meant


def test_threads_are_workers() -> None:
    assert parse_options(["--threads=max", "--reuse-port", URL]).workers == "auto"
    assert parse_options(["--threads=3", URL]).workers == 3


def test_the_admin_port() -> None:
    assert str(parse_options(["--admin-port=[::1]:6061", URL]).admin) == "[::1]:6061"
    assert parse_options(["--admin-port=6060", "--admin-port-off", URL]).admin is None
    assert parse_options([URL]).admin is None


def test_tls_with_the_repository() -> None:
    options = [f"{name}=/etc/pipy/{key}.pem" for name, key in PAPERS.items()]
    assert parse_options([*options, URL]).papers == {key: f"/etc/pipy/{key}.pem" for key in PAPERS.values()}


def test_what_has_no_effect_is_taken() -> None:
    assert parse_options([*(f"{name}=1" for name in WITHOUT_EFFECT), URL]) == parse_options([URL])


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_done_is_refused_by_name(name: str) -> None:
    with pytest.raises(Wrong, match=f"^{name}: "):
        parse_options([f"{name}=x", URL])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one address of a repository is expected, not 0"),
        ([URL, URL], "one address of a repository is expected, not 2"),
        (["/etc/pipy/main.js"], "is no address of a repository"),
        (["repo://demo"], "is no address of a repository"),
        (["http://fsm-controller:6060"], "names no codebase"),
        (["http://user:word@plane/repo/x/"], "the address of the repository must be an address"),
        (["--log-level=loud", URL], "--log-level: .*loud.* is none of trace, debug"),
        (["--admin-port=http", URL], "--admin-port: "),
        (["--threads=0", URL], "--threads: .*0.* is neither max nor a number from 1 to 256"),
        (["--log-local=null", URL], "--log-local: .*null.* is neither stdout nor stderr"),
        (["--frobnicate=1", URL], "unknown option .*--frobnicate=1"),
    ],
)
def test_what_is_wrong_is_told(arguments: list[str], words: str) -> None:
    with pytest.raises(Wrong, match=words):
        parse_options(arguments)


def test_the_usage_names_every_option() -> None:
    assert all(name in USAGE for name in (*WITHOUT_EFFECT, *REFUSED, *PAPERS))
