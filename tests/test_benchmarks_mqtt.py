"""The harness of MQTT: its loads, the broker that they are themselves, and one short real run of each kind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice

import pytest

from benchmarks import process
from benchmarks.harness import OURS, Plan
from benchmarks.mqtt import gateways, load, memory, packets
from benchmarks.mqtt import run as mqtt
from benchmarks.peers import HAProxy, Peer

CORES = process.Cores.of_this_machine()
SHORT = 0.1
ALONE = frozenset({"haproxy"})


def runnable(*kinds: type[Peer]) -> None:
    for kind in kinds:
        if reason := kind.missing():
            pytest.skip(reason)


@pytest.mark.parametrize("work", ["qos0", "qos0-64", "qos2", "mosquitto-qos1", "fan-out", "memory"])
def test_a_work_is_measured(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runnable(HAProxy, gateways.Mosquitto)
    monkeypatch.setattr(memory, "FEW", 30)
    monkeypatch.setattr(memory, "FIRST", 5)
    monkeypatch.setattr("benchmarks.tls.memory.SETTLE", 0.1)
    cost, *time = mqtt.run(Plan(rounds=1, seconds=SHORT, only=frozenset({work}), peers=ALONE))
    assert cost.work == f"mqtt {work}"
    assert set(cost.samples) == ALONE
    assert [set(each.samples) for each in time] == [] if work == "memory" else [{*ALONE, "direct"}]
    assert all(figure > 0 for each in (cost, *time) for samples in each.samples.values() for figure in samples)


@pytest.mark.parametrize("kind", ["qos0", "qos0-64", "qos1", "qos2"])
def test_the_load_may_be_the_broker_itself(kind: str) -> None:
    port = process.free_port()
    with closing(load.Ends(port, port)) as ends:
        assert sum(islice(load.KINDS[kind](ends), 200)) > 20


def test_each_message_is_acknowledged_by_its_own_id() -> None:
    near, far = socket.socketpair()
    with near, far:
        several = load.messages(7, 2, 3)
        broker = load.Acknowledging(far, several[0], 2)
        near.sendall(several[0] + several[2] + several[1][:9])
        broker.answer()
        assert near.recv(100) == bytes.fromhex("50020001 50020003")
        near.sendall(several[1][9:] + bytes.fromhex("62020003"))
        broker.answer()
        assert near.recv(100) == bytes.fromhex("50020002 70020003")


def test_a_message_of_qos_2_is_done_when_it_is_complete() -> None:
    near, far = socket.socketpair()
    with near, far:
        several = load.messages(7, 2, 2)
        publisher = load.Publisher(near, several, 2)
        assert far.recv(1000) == b"".join(several)
        far.sendall(bytes.fromhex("50020001 50020002 70"))
        assert publisher.answered() == 0
        assert far.recv(1000) == bytes.fromhex("62020001 62020002")
        far.sendall(bytes.fromhex("020001"))
        assert publisher.answered() == 1
        assert far.recv(1000) == several[0]
        far.sendall(bytes.fromhex("e000 0000"))
        with pytest.raises(ConnectionError, match="not an acknowledgement: e0000000"):
            publisher.answered()


@contextmanager
def between(broker: int, change: Callable[[bytes], bytes]) -> Iterator[int]:
    """A relay of one connection that changes what the client says."""

    def pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        while data := source.recv(65536):
            sink.sendall(change(data))

    def relay() -> None:
        near, _ = listener.accept()
        with near, socket.create_connection(("127.0.0.1", broker)) as far:
            back = threading.Thread(target=pump, args=(far, near, bytes))
            back.start()
            pump(near, far, change)
            far.shutdown(socket.SHUT_WR)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=relay)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


def test_a_message_that_was_changed_is_no_work() -> None:
    broker = process.free_port()
    with between(broker, lambda data: data.replace(b"001001", b"001002")) as port:
        with closing(load.Ends(port, broker)) as ends, pytest.raises(ConnectionError, match="something else came out"):
            next(load.one_way(ends, 1, 1))


def test_a_client_that_is_refused_is_no_work() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(bytes.fromhex("20020005"))
        with pytest.raises(ConnectionError, match="not accepted: 20020005"):
            packets.introduce(near)
        far.close()
        with pytest.raises(ConnectionError, match="ended after 0 of 2"):
            packets.introduce(near)


def test_packets_have_their_length_in_front() -> None:
    assert packets.publish(b"t", b"x" * 200)[:3] == bytes((0x30, 0xCB, 0x01))
    assert packets.publish(b"t", b"x", 2, 20).hex() == "34060001740014" + b"x".hex()
    assert packets.subscribe(1, b"#").hex() == "82060001000123" + "00"
    # a double finds an id where it looks for it
    assert all(len({*map(len, load.messages(49, qos))}) == 1 for qos in (0, 1, 2))
    assert all(len(each) < 130 for each in load.messages(49, 2))


def test_mqtt_is_skipped_with_a_reason_where_a_program_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runnable(HAProxy)
    monkeypatch.setattr(gateways.Mosquitto, "missing", lambda: "no `mosquitto` here")
    only = frozenset({"fan-out", "memory", "spool"})
    assert mqtt.run(Plan(rounds=1, seconds=SHORT, only=only, peers=ALONE)) == []
    assert capsys.readouterr().err.splitlines() == [
        "mqtt fan-out skipped: the broker is mosquitto, and there is no `mosquitto` here",
        "mqtt memory skipped: the broker is mosquitto, and there is no `mosquitto` here",
        "mqtt spool skipped: none of its peers",
    ]


def test_every_work_is_done_by_ours_too() -> None:
    for kinds in (gateways.RELAYS, gateways.FANNING, gateways.CROWDED, (gateways.SpoolingMeshproxy,)):
        assert kinds[0].name == OURS
