"""Files that a configuration names: read as a whole, watched, and replaced as a whole or not at all."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from meshproxy.core.jwk import bytes_of
from meshproxy.errors import Invalid
from meshproxy.model import Config, decode
from meshproxy.observe.exposition import families
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.rendering import expose
from meshproxy.server.papers import Papers
from meshproxy.sources.papers import LARGEST_PAPER
from tests.conftest import FakeClock
from tests.pki import Pair, Pki

DAY = 86400


class Today(FakeClock):
    """Certificates are issued as of today."""

    def wall(self) -> float:
        return time.time() + self.now() - 1000


class World:
    def __init__(self, directory: Path) -> None:
        self.clock = Today()
        self.process = ProcessStats("test")
        self.lines: list[str] = []
        self.papers = Papers(self.clock, self.process, Log(self.lines.append, clock=self.clock.wall))
        (directory / "pki").mkdir()
        self.pki = Pki(directory / "pki")
        self.ca = self.pki.ca()
        self.certificate, self.key = directory / "web.pem", directory / "web.key"
        self.config: Config = self.serving({"certificate": str(self.certificate), "key": str(self.key)})

    def serving(self, *tls: dict[str, Any], **clusters: dict[str, Any]) -> Config:
        listener = {"name": "web", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up", "tls": list(tls)}
        said = {name: {"endpoints": ["127.0.0.1:1"], "tls": client} for name, client in clusters.items()}
        found: Config = decode(Config, {"listeners": [listener], "clusters": said})
        return found

    def replace(self, pair: Pair) -> None:
        for theirs, ours in ((pair.certificate, self.certificate), (pair.key, self.key)):
            beside = ours.with_suffix(".new")
            beside.write_bytes(theirs.read_bytes())
            beside.rename(ours)

    async def take(self, config: Config | None = None) -> None:
        """As whoever steers does: take it, or leave everything as it is."""
        try:
            await self.papers.prepare(config or self.config)
        except Invalid:
            self.papers.abort()
            raise
        self.papers.commit()

    async def looks(self, number: int) -> list[bool]:
        return [await self.papers.changed({}) for _ in range(number)]

    def text(self, path: Path) -> str:
        return self.papers.known[str(path)]


def scenario(work: Callable[[World], Coroutine[Any, Any, None]], directory: Path) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work(World(directory))

    asyncio.run(bounded())


def test_a_pair_that_is_replaced_is_seen_when_it_is_complete_and_once(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        w.replace(w.ca.issue("shop/web"))
        await w.take()
        assert await w.looks(3) == [False, False, False]
        new = w.ca.issue("shop/web")
        w.certificate.write_bytes(new.certificate.read_bytes())
        assert await w.looks(1) == [False]
        w.key.write_bytes(new.key.read_bytes())  # >> a moment later
        assert await w.looks(4) == [False, True, False, False]
        await w.take()
        assert (w.text(w.certificate), w.text(w.key)) == (new.certificate.read_text(), new.key.read_text())
        assert await w.looks(3) == [False, False, False]
        assert w.process.certificate_renewals == {"ok": 1, "refused": 0}
        (renewed,) = [line for line in w.lines if "certificates-renewed" in line]
        assert str(w.certificate) in renewed
        assert str(w.key) in renewed

    scenario(work, tmp_path)


def test_a_dictionary_is_any_bytes_and_no_certificate(tmp_path: Path) -> None:
    words = tmp_path / "words"

    async def work(w: World) -> None:
        tunnel = {"accept": ["shop/edge"], "compress": "zstd", "dictionary": str(words)}
        said: Config = decode(Config, {"tunnels": {"edge": tunnel}})
        for data in (b"\x37\xa4\x30\xec", bytes(range(256))):
            words.write_bytes(data)
            await w.take(said)
        assert bytes_of(w.text(words)) == data
        assert w.process.certificate_renewals["ok"] == 0
        (renewed,) = w.lines
        assert "dictionaries-renewed" in renewed
        assert str(words) in renewed

    scenario(work, tmp_path)


def test_a_kubernetes_secret_is_swapped_as_a_directory(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        volume = tmp_path / "secret"
        volume.mkdir()
        for number in (1, 2):
            pair = w.ca.issue("shop/web")
            generation = volume / f"..{number}"
            generation.mkdir()
            (generation / "tls.crt").write_bytes(pair.certificate.read_bytes())
            (generation / "tls.key").write_bytes(pair.key.read_bytes())
        (volume / "..data").symlink_to("..1")
        for name in ("tls.crt", "tls.key"):
            (volume / name).symlink_to(f"..data/{name}")
        said = w.serving({"certificate": str(volume / "tls.crt"), "key": str(volume / "tls.key")})
        await w.take(said)
        assert await w.looks(2) == [False, False]
        (volume / "..new").symlink_to("..2")
        (volume / "..new").rename(volume / "..data")
        assert await w.looks(3) == [False, True, False]
        await w.take(said)
        assert w.text(volume / "tls.crt") == (volume / "..2" / "tls.crt").read_text()

    scenario(work, tmp_path)


def _touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def test_what_is_touched_and_says_the_same_is_no_renewal(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        w.replace(w.ca.issue("shop/web"))
        await w.take()
        assert not await w.papers.stale()
        _touched(w.key)
        assert await w.papers.stale()
        assert await w.looks(3) == [False, True, False]
        await w.take()
        assert not await w.papers.stale()
        assert w.process.certificate_renewals["ok"] == 0

    scenario(work, tmp_path)


def _gone(path: Path) -> None:
    path.unlink()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _huge(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"#" * LARGEST_PAPER)


def _endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _locked(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.chmod(0)


BAD: dict[Callable[[Path], None], str] = {
    _gone: "cannot be read: No such file or directory",
    _fifo: "cannot be read: Not a regular file",
    _directory: "cannot be read: Is a directory",
    _endless: "cannot be read: Not a regular file",
    _circle: "cannot be read: Too many levels of symbolic links",
    _locked: "cannot be read: Permission denied",
    _huge: "has more than 1 MiB",
}


@pytest.mark.parametrize("spoil", BAD)
def test_what_cannot_be_read_is_refused_once_and_what_was_stays(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    async def work(w: World) -> None:
        w.replace(w.ca.issue("shop/web"))
        await w.take()
        before = dict(w.papers.known)
        spoil(w.key)
        assert await w.looks(3) == [False, True, False]
        with pytest.raises(Invalid) as refusal:
            await w.take()
        (problem,) = refusal.value.problems
        assert problem.path == "listeners.web.tls.key"
        assert problem.message.startswith(f"`key` {w.key} {BAD[spoil]}")
        assert w.papers.known == before
        assert await w.papers.stale()
        assert await w.looks(3) == [False, False, False], "it is not tried again before it is touched again"
        if w.key.is_dir() and not w.key.is_symlink():
            w.key.rmdir()
        else:
            w.key.unlink(missing_ok=True)
        w.replace(w.ca.issue("shop/web"))
        assert await w.looks(3) == [False, True, False]
        await w.take()
        assert w.papers.known != before

    scenario(work, tmp_path)


def test_who_may_read_it_now_is_told_so(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        w.replace(w.ca.issue("shop/web"))
        w.key.chmod(0o400)
        await w.take()
        w.key.chmod(0o440)
        assert await w.looks(2) == [False, True]

    scenario(work, tmp_path)


def test_all_that_is_wrong_is_told_at_once_each_file_once(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        w.replace(w.ca.issue("shop/web"))
        w.key.unlink()
        w.certificate.write_text("no PEM at all")
        pair = {"certificate": str(w.certificate), "key": str(w.key)}
        said = w.serving(pair, {**pair, "sni": ["other"]}, up=pair)
        with pytest.raises(Invalid) as refusal:
            await w.take(said)
        assert [problem.path for problem in refusal.value.problems] == [
            "listeners.web.tls[0].key",
            "listeners.web.tls[0].certificate",
            "listeners.web.tls[1].certificate",
            "clusters.up.tls.certificate",
        ]
        assert "holds no certificate: no PEM block" in refusal.value.problems[1].message
        assert w.papers.known == {}

    scenario(work, tmp_path)


def test_all_of_them_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(w: World) -> None:
        w.replace(w.ca.issue("shop/web"))
        monkeypatch.setattr("meshproxy.sources.papers.MOST_BYTES", w.certificate.stat().st_size)
        with pytest.raises(Invalid, match="all files together have more than"):
            await w.take()

    scenario(work, tmp_path)


def test_an_expired_certificate_serves_at_the_start_but_replaces_no_good_one(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        expired, early = w.ca.issue("shop/web", start=-2, days=1), w.ca.issue("shop/web", start=1)
        w.replace(expired)
        await w.take()
        assert any("certificate-bad" in line and "has expired" in line for line in w.lines)
        w.replace(early)
        await w.take()  # >> nothing good is lost
        w.replace(w.ca.issue("shop/web"))
        await w.take()
        for bad, words in ((expired, "has expired, at "), (early, "is not valid before ")):
            w.replace(bad)
            with pytest.raises(Invalid) as refusal:
                await w.take()
            (problem,) = refusal.value.problems
            assert problem.path == "listeners.web.tls.certificate"
            assert words in problem.message
            assert "is to replace one that is good" in problem.message
        w.clock.advance(91 * DAY)
        w.replace(expired)
        await w.take()  # >> the one in force has expired meanwhile

    scenario(work, tmp_path)


def test_a_bundle_of_cas_is_good_as_long_as_one_of_them_is(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        bundle = tmp_path / "ca.pem"
        roots = [w.ca.root, w.pki.ca(start=-2, days=1).root, w.pki.ca(start=1).root]
        bundle.write_text("".join(root.read_text() for root in roots))
        await w.take(w.serving(up={"ca": str(bundle)}))
        assert not any("certificate-bad" in line for line in w.lines)
        bundle.write_text(roots[1].read_text())
        with pytest.raises(Invalid, match="has expired"):
            await w.take(w.serving(up={"ca": str(bundle)}))

    scenario(work, tmp_path)


def test_words_around_a_certificate_need_not_be_ascii(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        bundle = tmp_path / "ca.pem"
        bundle.write_text("# Főtanúsítvány\n" + w.ca.root.read_text())
        await w.take(w.serving(up={"ca": str(bundle)}))
        assert w.text(bundle).isascii()
        assert w.text(bundle).endswith(w.ca.root.read_text())

    scenario(work, tmp_path)


def test_text_in_the_configuration_is_no_file_and_is_known_all_the_same(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        pair = w.ca.issue("shop/web")
        said = w.serving({"certificate": pair.certificate.read_text(), "key": pair.key.read_text()})
        await w.take(said)
        assert w.papers.known == {}
        (paper,) = w.papers.in_force.papers
        assert [each.identity for each in paper.readable] == ["spiffe://cluster.local/ns/shop/sa/web"]
        assert await w.looks(2) == [False, False]

    scenario(work, tmp_path)


def test_files_of_a_configuration_that_was_refused_may_be_awaited(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        await w.take(w.serving())
        with pytest.raises(Invalid):
            await w.take()
        awaited = w.papers.tried
        assert [await w.papers.changed(awaited) for _ in range(2)] == [False, False]
        w.replace(w.ca.issue("shop/web"))
        assert [await w.papers.changed(awaited) for _ in range(3)] == [False, True, False]
        assert not await w.papers.stale(), "nothing that is in force has changed"

    scenario(work, tmp_path)


def test_the_metric_tells_the_first_end_of_a_chain_and_the_last_of_cas(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        w.replace(w.ca.below(days=10).issue("shop/web", days=5))
        second = w.ca.issue("shop/web", days=3)
        both = tmp_path / "both.pem"
        both.write_text(w.ca.root.read_text() + w.pki.ca(days=2).root.read_text())
        pairs = [(w.certificate, w.key), (second.certificate, second.key)]
        several = [{"certificate": str(certificate), "key": str(key)} for certificate, key in pairs]
        await w.take(w.serving(*several, up={"ca": str(both)}))
        exposed = expose(families({"process": w.process.snapshot(), **Stats().snapshot()})).decode()
        found = {}
        for line in exposed.splitlines():
            if line.startswith("meshproxy_certificate_not_after_seconds{"):
                labels, _, value = line.removeprefix("meshproxy_certificate_not_after_seconds").rpartition(" ")
                found[labels] = round((int(value) - w.clock.wall()) / DAY)
        assert found == {
            '{listener="web",cluster="",role="certificate"}': 3,
            '{listener="",cluster="up",role="ca"}': 3650,
        }
        await w.take(w.serving())
        assert w.process.certificates == {}

    scenario(work, tmp_path)


def test_no_key_is_ever_shown(tmp_path: Path) -> None:
    async def work(w: World) -> None:
        pair = w.ca.issue("shop/web")
        w.replace(pair)
        await w.take()
        w.replace(w.ca.issue("shop/web"))
        await w.take()
        w.certificate.write_text(w.key.read_text())
        with pytest.raises(Invalid) as refusal:
            await w.take()
        shown = repr(w.papers.in_force) + str(refusal.value) + repr(w.lines) + repr(w.process.snapshot())
        for text in (pair.key.read_text(), w.key.read_text()):
            for line in text.splitlines()[1:-1]:
                assert line not in shown

    scenario(work, tmp_path)
