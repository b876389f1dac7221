"""Certificates on a disk under a real process: replaced, spoilt, late, and looked at before anything runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start, command, poll
from tests.pki import Pair, Pki

HURRY = {"meshproxy.server.process.WATCH_EVERY": 0.1}
"""Seconds between two looks at files."""


def believing(path: Path, **more: Any) -> dict[str, Any]:
    return {"clusters": {"up": {"endpoints": ["127.0.0.1:1"], "tls": {"ca": str(path)}}}, **more}


def put_in_place(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def digests(proxy: Any) -> list[str]:
    status, rows = proxy.ask("GET", "/certs?format=json")
    assert status == 200
    return [row["sha256"] for row in rows]


def renewals(proxy: Any, result: str) -> int:
    name = f'meshproxy_certificate_renewals_total{{result="{result}"}} '
    (line,) = [line for line in proxy.ask("GET", "/metrics")[1].splitlines() if line.startswith(name)]
    return int(line.removeprefix(name))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_replaced_on_the_disk_serves_and_what_is_bad_does_not(
    start: Start, tmp_path: Path, workers: int
) -> None:
    directory = tmp_path / "pki"
    directory.mkdir()
    pki, path = Pki(directory), tmp_path / "mesh-ca.pem"
    path.write_text(pki.ca().root.read_text())
    proxy = start(believing(path, workers=workers), hurry=HURRY)
    first = digests(proxy)
    put_in_place(path, pki.ca().root.read_text())
    poll(lambda: renewals(proxy, "ok") == 1, "renewed")
    second = digests(proxy)
    assert second != first
    path.unlink()
    poll(lambda: renewals(proxy, "refused") == 1, "refused")
    assert digests(proxy) == second
    info = proxy.ask("GET", "/server_info")[1]
    assert (info["generation"], info["last_refused"]["source"]) == (1, "certificates")
    assert info["last_refused"]["problems"][0]["path"] == "clusters.up.tls.ca"
    status, answer = proxy.put(believing(path, drain={"delay": "1s"}))
    assert status == 422
    assert answer["problems"][0]["message"] == f"`ca` {path} cannot be read: No such file or directory"
    put_in_place(path, pki.ca().root.read_text())
    poll(lambda: renewals(proxy, "ok") == 2, "renewed again")
    assert not set(digests(proxy)) & {*first, *second}
    status, answer = proxy.put(believing(path, drain={"delay": "1s"}))
    assert (status, answer["generation"]) == (200, 2)
    log = proxy.log.read_text()
    assert log.count("certificates-renewed") == 2
    assert log.count("certificates-refused") == 1


def test_a_certificate_that_comes_after_its_configuration_brings_it_into_force(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    directory.mkdir()
    path = tmp_path / "late.pem"
    proxy = start({"clusters": {}}, hurry=HURRY)
    config = next(tmp_path.glob("*.json"))
    config.write_text(json.dumps(json.loads(config.read_text()) | believing(path)))
    poll(lambda: proxy.ask("GET", "/server_info")[1]["last_refused"], "refused")
    assert digests(proxy) == []
    put_in_place(path, Pki(directory).ca().root.read_text())
    poll(lambda: len(digests(proxy)) == 1, "in force")
    info = proxy.ask("GET", "/server_info")[1]
    assert (info["generation"], info["last_refused"]) == (2, None)


# Before anything runs


def listening(*papers: dict[str, Any]) -> dict[str, Any]:
    listeners = [
        {"name": f"l{number}", "listen": f"127.0.0.1:{number + 8000}", "protocol": "tcp", "cluster": "up", "tls": tls}
        for number, tls in enumerate(papers)
    ]
    return {"listeners": listeners, "clusters": {"up": {"endpoints": ["127.0.0.1:1"]}}}


def check(directory: Path, *papers: dict[str, Any], option: str = "--files") -> tuple[int, str, str]:
    config = directory / "config.yaml"
    config.write_text(json.dumps(listening(*papers), indent=1))
    checked = command("check", str(config), *([option] if option else []))
    return checked.returncode, checked.stdout, checked.stderr


def pair(certificate: Pair, key: Pair | None = None) -> dict[str, str]:
    return {"certificate": str(certificate.certificate), "key": str((key or certificate).key)}


def test_check_looks_at_files_when_it_is_asked_to(tmp_path: Path) -> None:
    ca = Pki(tmp_path).ca()
    good, other = ca.issue("shop/web"), ca.issue("shop/web")
    assert check(tmp_path, pair(good), option="") == (0, "valid: 1 listener, 1 cluster\n", "")
    assert check(tmp_path, pair(good)) == (0, "valid: 1 listener, 1 cluster\n", "")
    other.certificate.unlink()
    missing = pair(other)
    assert check(tmp_path, pair(good), missing, option="")[0] == 0
    code, out, problems = check(tmp_path, pair(good), missing, pair(good, other), missing)
    assert (code, out) == (3, "")
    first, second = problems.splitlines()
    assert first.startswith(f"{tmp_path}/config.yaml:")
    assert first.endswith(
        f"listeners[1].tls.certificate: `certificate` {other.certificate} cannot be read: No such file or directory"
    )
    assert second.endswith(
        f"listeners[2].tls.key: `key` {other.key} is not the key of its certificate"
    )


def test_check_finds_a_misfit_in_the_text_of_the_configuration_and_shows_no_key(tmp_path: Path) -> None:
    ca = Pki(tmp_path).ca()
    one, other = ca.issue("shop/web"), ca.issue("shop/web")
    inline = {"certificate": one.certificate.read_text(), "key": other.key.read_text()}
    code, out, problems = check(tmp_path, inline)
    assert (code, out) == (3, "")
    assert "`key` is not the key of its certificate" in problems
    for line in other.key.read_text().splitlines()[1:-1]:
        assert line not in problems


def test_check_asks_nobody_for_the_password_of_a_key(tmp_path: Path) -> None:
    web = Pki(tmp_path).ca().issue("shop/web")
    encrypt = ["openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:secret", "-in", str(web.key)]
    encrypted = subprocess.run(encrypt, capture_output=True, check=True).stdout
    web.key.write_bytes(encrypted)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(listening(pair(web))))
    # A process, for it is OpenSSL that would ask
    asked = [sys.executable, "-m", "meshproxy", "check", "--files", str(config)]
    checked = subprocess.run(asked, capture_output=True, check=False, text=True)
    problems = checked.stderr
    assert checked.returncode == 3
    assert "`key` " in problems
    assert "has a password, and there is nobody to ask for it" in problems


def test_check_warns_of_what_ends_soon(tmp_path: Path) -> None:
    ca = Pki(tmp_path).ca()
    cases = {
        "": ca.issue("shop/web", days=60),
        "expires in 29": ca.issue("shop/web", start=-61.5, days=91),
        "has expired, at ": ca.issue("shop/web", start=-2, days=1),
        "is not valid before ": ca.issue("shop/web", start=1),
    }
    young, old = ca.issue("shop/web", days=1), ca.issue("shop/web", start=-0.75, days=1)
    code, out, warnings = check(tmp_path, *map(pair, cases.values()), pair(young), pair(old))
    assert (code, out) == (0, "valid: 6 listeners, 1 cluster\n")
    told = warnings.splitlines()
    assert len(told) == 4
    for line, (number, words) in zip(
        told, [(1, "expires in 29"), (2, "has expired, at "), (3, "is not valid before "), (5, "expires in 0.")],
        strict=True,
    ):
        assert line.startswith(f"warning: {tmp_path}/config.yaml:")
        assert f"listeners[{number}].tls.certificate: " in line
        assert words in line
