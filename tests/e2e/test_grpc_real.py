"""gRPC between a client and a server of grpcio: nothing between them, one proxy, and two with mTLS between those.

What is asked of the proxies is asked of the direct way too, which proves the questions.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import pytest

from tests.e2e.conftest import LONGEST, Running, poll, starting
from tests.e2e.tls_tools import inline
from tests.pki import Pki

grpc = pytest.importorskip("grpc")
health = pytest.importorskip("grpc_health.v1.health")
health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
health_pb2_grpc = pytest.importorskip("grpc_health.v1.health_pb2_grpc")

MIB = 1 << 20
LARGE = random.Random(1).randbytes(4 * MIB)
OPTIONS = [
    ("grpc.max_receive_message_length", 8 * MIB),
    ("grpc.max_send_message_length", 8 * MIB),
    # each channel has connections of its own, and none asks another proxy
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]
PIECE = bytes(64 << 10)
PIECES = 1000
"""More than all windows and buffers on the way hold."""
HELD = 500
QUIET = 0.5
"""Seconds after which whoever is held up has gone as far as it will."""
WAYS = ("direct", "one", "two")
PROXIED = WAYS[1:]
DEAD = "127.0.0.1:9"
Metadata = tuple[tuple[str, str | bytes], ...]


class Service:
    """All four shapes, with bytes for messages; what happens to its calls can be asked."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[str] = SimpleQueue()
        self.ended: SimpleQueue[str] = SimpleQueue()
        """The names of calls that wait, and of those that were cut short."""
        self.produced = 0
        self.go_on = threading.Event()

    def handler(self) -> Any:
        shapes: dict[str, tuple[Any, Callable[..., Any]]] = {
            "Echo": (grpc.unary_unary_rpc_method_handler, self.echo),
            "Tell": (grpc.unary_unary_rpc_method_handler, self.tell),
            "Fail": (grpc.unary_unary_rpc_method_handler, self.fail),
            "Wait": (grpc.unary_unary_rpc_method_handler, self.wait),
            "Left": (grpc.unary_unary_rpc_method_handler, self.left),
            "Count": (grpc.unary_stream_rpc_method_handler, self.count),
            "Produce": (grpc.unary_stream_rpc_method_handler, self.produce),
            "Endless": (grpc.unary_stream_rpc_method_handler, self.endless),
            "Break": (grpc.unary_stream_rpc_method_handler, self.break_off),
            "Sum": (grpc.stream_unary_rpc_method_handler, self.sum),
            "Consume": (grpc.stream_unary_rpc_method_handler, self.consume),
            "Talk": (grpc.stream_stream_rpc_method_handler, self.talk),
        }
        handlers = {name: shape(behaviour) for name, (shape, behaviour) in shapes.items()}
        return grpc.method_handlers_generic_handler("test.Service", handlers)

    def echo(self, request: bytes, context: Any) -> bytes:
        return request

    def tell(self, request: bytes, context: Any) -> bytes:
        """Send back what was told beside the message: as it came before the answer, and after it."""
        told = tuple((key, value) for key, value in context.invocation_metadata() if key.startswith("told-"))
        context.send_initial_metadata(told)
        context.set_trailing_metadata(afterwards(told))
        return request

    def fail(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-reason-bin", bytes(range(256))), ("x-reason", "none")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, request.decode())
        return b""

    def wait(self, request: bytes, context: Any) -> bytes:
        cut = threading.Event()
        self.begun.put("Wait")
        if not context.add_callback(cut.set) or cut.wait(LONGEST):
            self.ended.put("Wait")
        return b""

    def left(self, request: bytes, context: Any) -> bytes:
        return str(context.time_remaining()).encode()

    def count(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()

    def produce(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(PIECES):
            self.produced = number + 1
            yield PIECE

    def endless(self, request: bytes, context: Any) -> Iterator[bytes]:
        context.add_callback(lambda: self.ended.put("Endless"))
        while context.is_active():
            yield request
            time.sleep(0.001)

    def break_off(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield request
        context.abort(grpc.StatusCode.DATA_LOSS, "in the middle")

    def sum(self, requests: Iterator[bytes], context: Any) -> bytes:
        return str(sum(map(int, requests))).encode()

    def consume(self, requests: Iterator[bytes], context: Any) -> bytes:
        assert self.go_on.wait(LONGEST)
        return str(sum(map(len, requests))).encode()

    def talk(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield request[::-1]


def afterwards(told: Metadata) -> Metadata:
    """The same under other names, and all of it in bytes."""
    return tuple((f"{key}-after-bin", value.encode() if isinstance(value, str) else value) for key, value in told)


class Client:
    """A channel, and its calls by name."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.insecure_channel(target, OPTIONS)
        self.tell, self.echo = self.unary("Tell"), self.unary("Echo")

    def unary(self, name: str) -> Any:
        return self.channel.unary_unary(f"/test.Service/{name}")

    def down(self, name: str) -> Any:
        return self.channel.unary_stream(f"/test.Service/{name}")

    def up(self, name: str) -> Any:
        return self.channel.stream_unary(f"/test.Service/{name}")

    def both(self, name: str) -> Any:
        return self.channel.stream_stream(f"/test.Service/{name}")


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def server(service: Service) -> Iterator[str]:
    made = grpc.server(futures.ThreadPoolExecutor(64), options=OPTIONS)
    made.add_generic_rpc_handlers((service.handler(),))
    servicer = health.HealthServicer()
    servicer.set("test.Service", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("test.Sick", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, made)
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield f"127.0.0.1:{port}"
    made.stop(None).wait(LONGEST)


@pytest.fixture(scope="module")
def targets(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where a client goes for each way, and for nobody behind one proxy (`one-dead`) and two (`two-dead`)."""
    directory = tmp_path_factory.mktemp("grpc")
    ca = Pki(directory).ca()
    own, other = ca.issue("shop/buyer"), ca.issue("shop/store")
    trusted = {"client_ca": ca.root.read_text()}
    caller = {"ca": ca.root.read_text(), "names": ["spiffe://cluster.local/ns/shop/sa/store"], **inline(own)}
    with ExitStack() as stack:

        def started(name: str, config: dict[str, Any]) -> Running:
            (directory / name).mkdir()
            return stack.enter_context(starting(directory / name))(config)

        one = started("one", proxy({"in": server, "dead": DEAD}))
        far = started("far", proxy({"in": server, "dead": DEAD}, tls={**inline(other), **trusted}))
        behind = {name: "{}:{}".format(*far.address(name)) for name in ("in", "dead")}
        near = started("near", proxy(behind, onward={"tls": caller}))
        yield {
            "direct": server,
            "one": "{}:{}".format(*one.address()),
            "two": "{}:{}".format(*near.address()),
            "one-dead": "{}:{}".format(*one.address("dead")),
            "two-dead": "{}:{}".format(*near.address("dead")),
        }


def proxy(
    upstreams: dict[str, str], tls: dict[str, Any] | None = None, onward: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A listener for each upstream."""
    return {
        "listeners": [
            {
                "name": name,
                # port 0 of an address can be listened to once
                "listen": f"127.0.0.{number}:0",
                "protocol": "http",
                "routes": name,
                **({"tls": tls} if tls else {}),
            }
            for number, name in enumerate(upstreams, 1)
        ],
        "routes": {name: [{"cluster": name}] for name in upstreams},
        "clusters": {
            name: {"endpoints": [address], "http": {"version": "h2"}, **(onward or {})}
            for name, address in upstreams.items()
        },
    }


@pytest.fixture(params=WAYS)
def client(request: pytest.FixtureRequest, targets: dict[str, str]) -> Iterator[Client]:
    made = Client(targets[request.param])
    yield made
    made.channel.close()


# Shapes -------------------------------------------------------------------------------------------


def test_one_message_each_way(client: Client) -> None:
    for message in (b"", b"hello", bytes(range(256))):
        assert client.echo(message, timeout=LONGEST) == message


def test_many_messages_down(client: Client) -> None:
    assert list(client.down("Count")(b"1000", timeout=LONGEST)) == [str(number).encode() for number in range(1000)]
    assert list(client.down("Count")(b"0", timeout=LONGEST)) == []


def test_many_messages_up(client: Client) -> None:
    requests = (str(number).encode() for number in range(1000))
    assert client.up("Sum")(requests, timeout=LONGEST) == str(sum(range(1000))).encode()
    assert client.up("Sum")(iter(()), timeout=LONGEST) == b"0"


def test_each_message_of_a_talk_passes_before_the_next_is_said(client: Client) -> None:
    said: SimpleQueue[bytes | None] = SimpleQueue()
    answers = client.both("Talk")(iter(said.get, None), timeout=LONGEST)
    for number in range(100):
        message = b"message %d" % number
        said.put(message)
        assert next(answers) == message[::-1]
    said.put(None)
    assert list(answers) == []
    assert answers.code() is grpc.StatusCode.OK


def test_large_messages_both_ways(client: Client) -> None:
    assert client.echo(LARGE, timeout=LONGEST) == LARGE
    assert list(client.both("Talk")(iter([LARGE] * 3), timeout=LONGEST)) == [LARGE[::-1]] * 3


def test_many_calls_at_once(client: Client) -> None:
    messages = [b"%d " % number * 1000 for number in range(500)]
    calls = [client.echo.future(message, timeout=LONGEST) for message in messages]
    assert [call.result() for call in calls] == messages


def test_many_talks_at_once(client: Client) -> None:
    def talk(number: int) -> bool:
        messages = [b"%d %d" % (number, turn) for turn in range(30)]
        return list(client.both("Talk")(iter(messages), timeout=LONGEST)) == [message[::-1] for message in messages]

    with futures.ThreadPoolExecutor(30) as several:
        assert all(several.map(talk, range(30)))


# What is told beside messages ---------------------------------------------------------------------


def test_metadata_of_text_and_of_bytes_passes_both_ways(client: Client) -> None:
    several = (("told-twice", "1"), ("told-twice", "2"))
    told = (("told-plain", "a b, c"), *several, ("told-any-bin", bytes(range(256))), ("told-no-bin", b""))
    answer, call = client.tell.with_call(b"hello", metadata=told, timeout=LONGEST)
    assert answer == b"hello"
    before = [(key, value) for key, value in call.initial_metadata() if key.startswith("told-")]
    assert sorted(before) == sorted(told)
    after = [(key, value) for key, value in call.trailing_metadata() if key.startswith("told-")]
    assert sorted(after) == sorted(afterwards(told))


def test_an_error_comes_with_its_words_and_its_details(client: Client) -> None:
    words = "100 % wrong: é\n\t„no“"
    with pytest.raises(grpc.RpcError) as error:
        client.unary("Fail")(words.encode(), timeout=LONGEST)
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.value.details() == words
    assert {("x-reason-bin", bytes(range(256))), ("x-reason", "none")} <= {*error.value.trailing_metadata()}


def test_an_error_in_the_middle_comes_behind_the_messages(client: Client) -> None:
    answers = client.down("Break")(b"first", timeout=LONGEST)
    assert next(answers) == b"first"
    with pytest.raises(grpc.RpcError) as error:
        next(answers)
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.DATA_LOSS, "in the middle")


def test_a_method_that_nobody_has_is_unimplemented(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as error:
        client.unary("Nothing")(b"", timeout=LONGEST)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("way", PROXIED)
def test_nobody_behind_is_said_in_the_words_of_grpc(targets: dict[str, str], way: str) -> None:
    client = Client(targets[f"{way}-dead"])
    with pytest.raises(grpc.RpcError) as error:
        client.echo(b"", timeout=LONGEST)
    client.channel.close()
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    # what grpcio says of a status of HTTP, when there is none of gRPC
    assert "HTTP" not in error.value.details().upper()


# Ends before the end ------------------------------------------------------------------------------


def test_a_deadline_is_kept_and_the_server_learns_of_it(client: Client, service: Service) -> None:
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        client.unary("Wait")(b"", timeout=0.5)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < LONGEST / 2
    assert service.begun.get(timeout=LONGEST) == "Wait"
    assert service.ended.get(timeout=LONGEST) == "Wait"


def test_the_server_is_told_how_long_it_may_take(client: Client) -> None:
    # The client says it in three digits, rounded up.
    assert LONGEST - 5 < float(client.unary("Left")(b"", timeout=LONGEST)) <= LONGEST + 0.1


def test_a_call_that_is_cancelled_ends_at_the_server(client: Client, service: Service) -> None:
    call = client.unary("Wait").future(b"", timeout=LONGEST)
    assert service.begun.get(timeout=LONGEST) == "Wait"
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert service.ended.get(timeout=LONGEST) == "Wait"


def test_a_stream_that_is_cancelled_ends_at_the_server_and_others_go_on(client: Client, service: Service) -> None:
    one, other = (client.down("Endless")(word, timeout=LONGEST) for word in (b"one", b"other"))
    assert (next(one), next(other)) == (b"one", b"other")
    one.cancel()
    assert service.ended.get(timeout=LONGEST) == "Endless"
    assert {next(other) for _ in range(10)} == {b"other"}
    other.cancel()
    assert service.ended.get(timeout=LONGEST) == "Endless"


# Flow ---------------------------------------------------------------------------------------------


def settled(value: Callable[[], int]) -> int:
    """When it has not moved for a while."""
    seen, since = value(), time.monotonic()

    def still() -> bool:
        nonlocal seen, since
        if (now := value()) != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > QUIET

    poll(still, "standstill")
    return seen


def test_a_client_that_does_not_read_holds_the_server_up_and_nobody_else(client: Client, service: Service) -> None:
    service.produced = 0
    answers = client.down("Produce")(b"", timeout=2 * LONGEST)
    next(answers)
    assert settled(lambda: service.produced) < HELD
    assert client.echo(b"besides", timeout=LONGEST) == b"besides"
    assert sum(map(len, answers)) == (PIECES - 1) * len(PIECE)
    assert service.produced == PIECES


def test_a_server_that_does_not_read_holds_the_client_up_and_nobody_else(client: Client, service: Service) -> None:
    service.go_on.clear()
    sent = 0

    def requests() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(PIECES):
            sent += 1
            yield PIECE

    call = client.up("Consume").future(requests(), timeout=2 * LONGEST)
    try:
        assert settled(lambda: sent) < HELD
        assert client.echo(b"besides", timeout=LONGEST) == b"besides"
    finally:
        service.go_on.set()
    assert call.result() == str(PIECES * len(PIECE)).encode()


# Health -------------------------------------------------------------------------------------------


def test_the_service_of_health_is_asked_and_watched(client: Client) -> None:
    stub, states = health_pb2_grpc.HealthStub(client.channel), health_pb2.HealthCheckResponse
    for name, state in (("", states.SERVING), ("test.Service", states.SERVING), ("test.Sick", states.NOT_SERVING)):
        assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=LONGEST).status == state
    with pytest.raises(grpc.RpcError) as error:
        stub.Check(health_pb2.HealthCheckRequest(service="unknown"), timeout=LONGEST)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    watching = stub.Watch(health_pb2.HealthCheckRequest(service="test.Sick"), timeout=LONGEST)
    assert next(watching).status == states.NOT_SERVING
    watching.cancel()
