"""The two steps of a change over several workers, a fault at any of them: all serve the new one, or all the old."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core.buckets import Shelves
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Config, decode
from meshproxy.net.channel import Channel, Message, pair
from meshproxy.net.clock import LoopClock
from meshproxy.net.doors import Doors
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.plan.verdicts import check_of, judge_of
from meshproxy.server import courier, crew
from meshproxy.server.board import ABSENT, shared_memory
from meshproxy.server.crew import Crew
from meshproxy.server.nursery import Death, Nursery
from meshproxy.server.peer import Peer
from tests.examples import examples
from tests.names import Names, resolved_by
from tests.pki import Pki

WORKERS = 3
MOMENT = 0.2
"""Seconds for an answer: enough for a machine that is busy with something else."""

Fault = Literal["", "refuses", "hangs", "dies"]


class Hand:
    """A worker that does what a script says, at the other end of a real channel."""

    def __init__(self, nursery: FakeNursery, number: int, pid: int, sock: socket.socket) -> None:
        self.number = number
        self.pid = pid
        self.serves: str | None = None
        self.alive = True
        self._nursery = nursery
        self.known: dict[str, list[str]] = {}
        self.knew: dict[str, list[str]] = {}
        """When it was to prepare."""
        self._prepared: str | None = None
        self.papers: dict[str, str] = {}
        self.asked = 0
        """For what it remembers."""
        self.verdicts: dict[str, Any] = {}
        """On checks and on ejections."""
        self._peer = Peer(
            Channel(asyncio.get_running_loop(), sock),
            {
                "level": lambda _: None,
                "addresses": self._addresses,
                "health": self._verdicts,
                "ejected": self._verdicts,
                "prepare": self._prepare,
                "commit": self._commit,
                "abort": self._abort,
                "ping": self._ping,
                "history": self._tell_history,
                "drain": lambda _: self.die(),
            },
            self.die,
        )

    def die(self) -> None:
        if self.alive:
            self.alive = False
            self._peer.close()
            self._nursery.died(Death(self.pid, "script"))

    async def _addresses(self, message: Message) -> None:
        await self._suffer(self._nursery.faults.pop(("addresses", self.number), ""))
        self.known |= json.loads(message.body)

    async def _verdicts(self, message: Message) -> None:
        self.verdicts |= json.loads(message.body)

    def eject(self, key: str, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        self._peer.tell("ejected", body=json.dumps({key: [until, 1, "5xx"]}).encode())

    async def _prepare(self, message: Message) -> None:
        await self._suffer(self._nursery.faults.pop(("prepare", self.number), ""))
        self.knew = dict(self.known)
        said = json.loads(message.body)
        self._prepared = said["config"]["node"]["zone"]
        self.papers = said["papers"]

    async def _commit(self, _message: Message) -> None:
        await self._suffer(self._nursery.faults.pop(("commit", self.number), ""))
        self.serves = self._prepared

    def _abort(self, _message: Message) -> None:
        self._prepared = None

    async def _tell_history(self, _message: Message) -> bytes:
        await self._suffer(self._nursery.faults.pop(("history", self.number), ""))
        self.asked += 1
        return json.dumps({"worker": self.number, "asked": self.asked}).encode() + b"\n"

    async def _ping(self, _message: Message) -> None:
        """Alive."""

    async def _suffer(self, fault: Fault) -> None:
        if fault == "refuses":
            raise Invalid([Problem("node", "not this one")])
        if fault == "hangs":
            await asyncio.Event().wait()
        if fault == "dies":
            self.die()
            await asyncio.Event().wait()


class FakeNursery(Nursery):
    """Makes such workers in this process."""

    def __init__(self) -> None:
        self.hands: dict[int, Hand] = {}
        self.faults: dict[tuple[str, int], Fault] = {}
        self.pid = 0
        self._pids = 0

    def open(self, loop: Any, *, born: Callable[[int, int], None], died: Callable[[Death], None], lost: Any) -> None:
        self._born, self.died = born, died

    def fork(self, number: int) -> socket.socket:
        ours, theirs = pair()
        self._pids += 1
        self.hands[number] = Hand(self, number, self._pids, theirs)
        self._born(number, self._pids)
        return ours

    def kill(self, pid: int) -> None:
        for hand in self.hands.values():
            if hand.pid == pid:
                hand.die()

    def close(self) -> None:
        """There is no process."""

    @property
    def serving(self) -> set[str | None]:
        return {hand.serves for hand in self.hands.values() if hand.alive}


def zone(name: str) -> Config:
    found: Config = decode(Config, {"node": {"zone": name}})
    return found


async def change(fleet: Crew, name: str) -> bool:
    try:
        await fleet.prepare(zone(name))
    except Invalid:
        return False
    await fleet.commit()
    return True


async def manned(nursery: FakeNursery, in_force: str) -> None:
    """Every berth is filled again, and serves what is in force."""
    async with asyncio.timeout(10):
        while not all(hand.alive and hand.serves == in_force for hand in nursery.hands.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "PREPARE_WITHIN", MOMENT)
    monkeypatch.setattr(crew, "COMMIT_WITHIN", MOMENT)
    monkeypatch.setattr(crew, "HUNG_AFTER", 5.0)
    monkeypatch.setattr(courier, "WITHIN", MOMENT)
    monkeypatch.setattr(courier, "AGAIN_AFTER", 0.001)
    monkeypatch.setattr(crew, "FIRST_BACK_OFF", 0.001)
    monkeypatch.setattr(crew, "LONGEST_BACK_OFF", 0.001)


def a_crew(nursery: FakeNursery, lines: list[str]) -> Crew:
    clock = LoopClock(asyncio.get_running_loop())
    board = [ABSENT] * WORKERS
    shelves = Shelves(shared_memory(Shelves.SIZE))
    return Crew(nursery, board, shelves, Doors(WORKERS), ProcessStats("test"), Log(lines.append), clock)


faults_of_one = st.dictionaries(
    st.tuples(st.sampled_from(["prepare", "commit"]), st.integers(0, WORKERS - 1)),
    st.sampled_from(["refuses", "hangs", "dies"]),
    max_size=3,
)


@examples(40, deadline=None)
@given(st.lists(faults_of_one, min_size=1, max_size=4))
def test_with_any_fault_at_any_step_all_serve_the_same(script: list[dict[tuple[str, int], Fault]]) -> None:
    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        assert await change(fleet, "0")
        in_force = "0"
        for turn, faults in enumerate(script, 1):
            nursery.faults = dict(faults)
            taken = await change(fleet, str(turn))
            in_force = str(turn) if taken else in_force
            assert nursery.serving <= {in_force, None}, "nobody who lives serves anything else"
            assert taken == (not any(step == "prepare" for step, _ in faults))
            nursery.faults.clear()
            await manned(nursery, in_force)
        fleet.close()

    asyncio.run(scenario())


def test_a_worker_that_hangs_is_found_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(crew, "HUNG_AFTER", MOMENT)
        monkeypatch.setattr(crew, "PING_EVERY", 0.001)
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        assert await change(fleet, "0")
        hung = nursery.hands[1]

        async def never(_message: Message) -> None:
            await asyncio.Event().wait()

        hung._peer._handlers = {**hung._peer._handlers, "ping": never}
        async with asyncio.timeout(10):
            while nursery.hands[1] is hung:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await manned(nursery, "0")
        assert any("worker-killed" in line and "did not answer" in line for line in lines)
        fleet.close()

    asyncio.run(scenario())


def test_a_first_configuration_that_is_refused_by_one_is_in_force_nowhere() -> None:
    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        nursery.faults = {("prepare", 2): "refuses"}
        assert not await change(fleet, "0")
        assert nursery.serving == {None}
        assert await change(fleet, "1")
        assert nursery.serving == {"1"}
        fleet.close()

    asyncio.run(scenario())


# What they remember


def test_who_does_not_answer_is_told_as_it_was_and_who_died_as_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crew, "STATS_WITHIN", MOMENT)

    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        await fleet.prepare(zone("0"))
        await fleet.commit()
        first = [json.loads(told) for told in await fleet.history(60)]
        assert first == [{"worker": number, "asked": 1} for number in range(WORKERS)]
        nursery.faults = {("history", 1): "hangs"}
        assert [json.loads(told)["asked"] for told in await fleet.history(60)] == [2, 1, 2]
        nursery.hands[2].die()
        await manned(nursery, "0")
        *there, gone = (json.loads(told) for told in await fleet.history(60))
        assert [(told["worker"], told["asked"]) for told in there] == [(0, 3), (1, 2), (2, 1)]
        assert gone == {"worker": 2, "asked": 2, "ended": True}
        fleet.close()

    asyncio.run(scenario())


# The addresses of names


def named() -> Config:
    found: Config = decode(Config, {"node": {"zone": "0"}, "clusters": {"up": {"endpoints": ["books:1"]}}})
    return found


async def known(nursery: FakeNursery, addresses: list[str]) -> None:
    """To every worker."""
    async with asyncio.timeout(10):
        while any(hand.known != {"books": addresses} for hand in nursery.hands.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("fault", ["", "refuses", "hangs", "dies"])
def test_all_know_the_addresses_before_they_prepare_and_when_they_change(
    monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    names = Names()
    resolved_by(lambda _: names, monkeypatch)
    names.have("books", "127.0.0.1")

    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        await fleet.prepare(named())
        await fleet.commit()
        assert [hand.knew for hand in nursery.hands.values()] == [{"books": ["127.0.0.1"]}] * WORKERS
        if fault:
            nursery.faults = {("addresses", 1): fault}
        for last in (2, 3, 4):
            fleet.addresses.known["books"] = (f"127.0.0.{last}",)
            fleet.addresses.told("books")
            await asyncio.sleep(0)
        await known(nursery, ["127.0.0.4"])
        await manned(nursery, "0")
        nursery.hands[2].die()
        await manned(nursery, "0")
        assert nursery.hands[2].knew == {"books": ["127.0.0.4"]}
        assert names.asked == ["books"]
        fleet.close()

    asyncio.run(scenario())


def test_a_worker_that_cannot_be_told_refuses_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names()
    resolved_by(lambda _: names, monkeypatch)
    names.have("books", "127.0.0.1")

    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        nursery.faults = {("addresses", 0): "hangs"}
        with pytest.raises(Invalid, match="worker 0"):
            await fleet.prepare(named())
        assert fleet.addresses.known == {}
        await fleet.prepare(named())
        await fleet.commit()
        assert nursery.serving == {"0"}
        fleet.close()

    asyncio.run(scenario())


# The fitness of endpoints


def checked(address: str) -> Config:
    cluster = {"endpoints": [address], "health": {"interval": "10ms"}, "outlier": {}}
    found: Config = decode(Config, {"node": {"zone": "0"}, "clusters": {"up": cluster}})
    return found


async def told(nursery: FakeNursery, key: str, verdict: object) -> None:
    """To every worker."""
    async with asyncio.timeout(10):
        while any(hand.verdicts.get(key) != verdict for hand in nursery.hands.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def test_all_know_what_checks_find_and_so_does_a_successor() -> None:
    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            said = checked(f"127.0.0.1:{port}")
            key = f"{check_of(said.clusters[0])}127.0.0.1:{port}"
            await fleet.prepare(said)
            assert [hand.verdicts for hand in nursery.hands.values()] == [{key: True}] * WORKERS, "before they prepare"
            await fleet.commit()
        await told(nursery, key, False)
        nursery.hands[1].die()
        await manned(nursery, "0")
        assert nursery.hands[1].verdicts == {key: False}
        fleet.close()

    asyncio.run(scenario())


def test_addresses_that_a_name_has_later_are_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names()
    resolved_by(lambda _: names, monkeypatch)
    names.have("books", "127.0.0.1")

    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        said = checked("books:1")
        await fleet.prepare(said)
        await fleet.commit()
        fleet.addresses.known["books"] = ("127.0.0.2",)
        fleet.addresses.told("books")
        await told(nursery, f"{check_of(said.clusters[0])}127.0.0.2:1", False)
        fleet.close()

    asyncio.run(scenario())


def test_whom_one_ejects_all_hear_of_and_so_does_a_successor() -> None:
    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        said = checked("127.0.0.1:1")
        await fleet.prepare(said)
        await fleet.commit()
        key = f"{judge_of(said.clusters[0])}127.0.0.1:1"
        nursery.hands[0].eject(key, 60)
        async with asyncio.timeout(10):
            while not fleet.fitness.ejections.known:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        ejection = [*fleet.fitness.ejections.known[key]]
        await told(nursery, key, ejection)
        nursery.hands[2].die()
        await manned(nursery, "0")
        assert nursery.hands[2].verdicts[key] == ejection
        fleet.close()

    asyncio.run(scenario())


def test_checks_of_a_configuration_that_is_refused_are_given_up() -> None:
    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)
        nursery.faults = {("prepare", 2): "refuses"}
        with pytest.raises(Invalid):
            await fleet.prepare(checked("127.0.0.1:1"))
        assert fleet.fitness.checks.known == {}
        assert await change(fleet, "1")
        fleet.close()

    asyncio.run(scenario())


# The files that a configuration names


def believing(path: Path) -> Config:
    cluster = {"endpoints": ["127.0.0.1:1"], "tls": {"ca": str(path)}}
    found: Config = decode(Config, {"node": {"zone": "0"}, "clusters": {"up": cluster}})
    return found


def test_all_have_the_same_papers_and_a_successor_those_that_are_in_force(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    first, second, third = (pki.ca().root.read_text() for _ in range(3))
    path = tmp_path / "mesh-ca.pem"
    path.write_text(first)

    async def scenario() -> None:
        nursery, lines = FakeNursery(), list[str]()
        fleet = a_crew(nursery, lines)

        def papers() -> list[dict[str, str]]:
            return [hand.papers for hand in nursery.hands.values()]

        await fleet.prepare(believing(path))
        await fleet.commit()
        assert papers() == [{str(path): first}] * WORKERS
        path.write_text(second)
        nursery.hands[1].die()
        await manned(nursery, "0")
        assert nursery.hands[1].papers == {str(path): first}, "what is on the disk is not in force"
        nursery.faults = {("prepare", 2): "refuses"}
        with pytest.raises(Invalid):
            await fleet.prepare(believing(path))
        assert fleet.papers.known == {str(path): first}
        nursery.hands[0].die()
        await manned(nursery, "0")
        assert nursery.hands[0].papers == {str(path): first}, "nor is what one of them has refused"
        await fleet.prepare(believing(path))
        path.write_text(third)
        await fleet.commit()
        assert papers() == [{str(path): second}] * WORKERS
        path.unlink()
        with pytest.raises(Invalid, match=r"clusters\.up\.tls\.ca: `ca` .* cannot be read"):
            await fleet.prepare(believing(path))
        assert fleet.papers.known == {str(path): second}
        assert await change(fleet, "1")
        assert papers() == [{}] * WORKERS
        fleet.close()

    asyncio.run(scenario())
