"""h2spec, which plays a client of HTTP/2 that does all that is forbidden and much that is rare, against a real process.

Every case of its three parts, also the strict ones, in cleartext and over TLS, with nginx behind the proxy.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import process
from benchmarks.gateways import Origin
from tests.e2e.conftest import Start
from tests.e2e.tls_tools import CORES, inline
from tests.pki import Pki

PARTS = ("generic", "http2", "hpack")
OWN = Path(__file__).parent.parent.parent / ".tools" / "h2spec"
CASES = 140
"""It has some more; with less than these it did not do what it was asked for."""
PATIENCE = 300.0
CONTROLS = re.compile(r"[^\t\n\r -\ufffd]")


@dataclass(frozen=True, slots=True)
class Case:
    section: str
    title: str
    failed: str
    """What was required and what came instead; empty for a case that passed."""

    def __str__(self) -> str:
        return f"{self.section}: {self.title}\n{self.failed}"


@pytest.fixture(scope="module")
def h2spec() -> str:
    found = str(OWN) if OWN.exists() else shutil.which("h2spec")
    if not found:
        pytest.skip("there is no `h2spec` (scripts/install-h2spec)")
    return found


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    if reason := Origin.missing():
        pytest.skip(reason)
    with Origin(CORES.load) as each:
        yield each


def conformance(h2spec: str, address: tuple[str, int], report: Path, *options: str) -> list[Case]:
    host, port = address
    command = [h2spec, *PARTS, "--strict", "--host", host, "--port", str(port), "--junit-report", str(report), *options]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    assert report.exists(), said.stdout + said.stderr
    return read(report.read_text(errors="replace"))


def read(report: str) -> list[Case]:
    """A case that was not done has failed.  What a server said stands there as it came, control characters and all."""
    return [
        Case(suite.get("package", ""), case.get("classname", ""), "\n".join(map(complaint, case)))
        for suite in ElementTree.fromstring(CONTROLS.sub("?", report))
        for case in suite.iter("testcase")
    ]


def complaint(element: ElementTree.Element) -> str:
    return "\n".join(f"    {line.strip()}" for line in (element.text or element.tag).strip().splitlines())


REPORT = """<testsuites>
  <testsuite name="4.2. Frame Size" package="http2/4.2" id="4.2" tests="2" failures="1">
    <testcase package="http2/4.2" classname="Sends a DATA frame" time="0.0015"></testcase>
    <testcase package="http2/4.2" classname="Sends a large size DATA frame" time="0.1">
      <failure>GOAWAY Frame (Error Code: FRAME_SIZE_ERROR)
PING Frame (opaque_data:h2spec\0\1)</failure>
    </testcase>
  </testsuite>
  <testsuite name="6.7. PING" package="http2/6.7" id="6.7" tests="2" errors="1" skipped="1">
    <testcase package="http2/6.7" classname="Sends a PING frame" time="2.0"><error>Timeout</error></testcase>
    <testcase package="http2/6.7" classname="Sends it again" time="0"><skipped></skipped></testcase>
  </testsuite>
</testsuites>
"""


def test_a_report_is_read_for_what_failed() -> None:
    assert [*map(str, read(REPORT))] == [
        "http2/4.2: Sends a DATA frame\n",
        "http2/4.2: Sends a large size DATA frame\n"
        "    GOAWAY Frame (Error Code: FRAME_SIZE_ERROR)\n    PING Frame (opaque_data:h2spec??)",
        "http2/6.7: Sends a PING frame\n    Timeout",
        "http2/6.7: Sends it again\n    skipped",
    ]


NO_PREFACE = "Sends invalid connection preface"
"""Where HTTP/1.1 is spoken as well, what does not begin like HTTP/2 is taken for that, and answered in it: 400."""


@pytest.mark.parametrize(
    ("secure", "versions", "excepted"),
    [(False, ["h2"], set()), (False, ["h1", "h2"], {NO_PREFACE}), (True, ["h1", "h2"], set())],
    ids=["cleartext", "cleartext, told apart", "tls"],
)
def test_every_case_of_h2spec(
    h2spec: str, origin: Origin, start: Start, tmp_path: Path, secure: bool, versions: list[str], excepted: set[str]
) -> None:
    tls = {"tls": inline(Pki(tmp_path).ca().issue("shop/books", ips=["127.0.0.1"]))} if secure else {}
    listener = {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web", **tls}
    running = start(
        {
            "listeners": [{**listener, "http": {"versions": versions}}],
            # An endpoint that answers before a body has come would be faster than what is wrong with that.
            "routes": {"web": [{"cluster": "up", "filters": [{"buffer": {"request": "1MiB"}}]}]},
            "clusters": {"up": {"endpoints": [f"127.0.0.1:{origin.port}"]}},
        }
    )
    cases = conformance(h2spec, running.address(), tmp_path / "report.xml", *["--tls", "--insecure"] * secure)
    assert len(cases) >= CASES
    failed = [case for case in cases if case.failed and case.title not in excepted]
    assert not failed, "\n".join([f"{len(failed)} of {len(cases)} cases failed", *map(str, failed)])
    assert process.accepts(running.address()[1])
