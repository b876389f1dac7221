"""The open loop: requests fall due whatever became of earlier ones, and each is counted from then."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from benchmarks import openloop

LATE = 0.2


@contextmanager
def answering(*pieces: bytes, after: float = 0.0) -> Iterator[int]:
    """A server that looks at its requests after so many seconds, and answers each in pieces; yields its port."""

    def serve(listener: socket.socket) -> None:
        with ExitStack() as stack:
            accepted = [stack.enter_context(listener.accept()[0]) for _ in range(openloop.CONNECTIONS)]
            time.sleep(after)
            while True:
                for each in select.select(accepted, [], [])[0]:
                    if not each.recv(100):
                        return
                    for piece in pieces:
                        each.sendall(piece)

    with socket.create_server(("127.0.0.1", 0), backlog=openloop.CONNECTIONS) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        yield listener.getsockname()[1]
        server.join()


def test_quantiles_are_figures_that_were_measured() -> None:
    hundred = [float(each) for each in range(1, 101)]
    assert [openloop.quantile(hundred, share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert openloop.quantile([7.0], 0.99) == openloop.quantile([7.0], 0) == 7


def test_requests_fall_due_at_the_rate_and_the_same_in_each_run() -> None:
    due = list(openloop.schedule(1000, 2))
    assert due == sorted(due) == list(openloop.schedule(1000, 2))
    assert 1900 < len(due) < 2100
    assert due[-1] < 2


def test_a_stall_is_paid_by_all_that_fell_due_meanwhile() -> None:
    due = [number * 0.001 for number in range(100)]
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla", b"te", after=LATE) as port:
        answers = openloop.answers(("127.0.0.1", port), b"late", iter(due))
    assert sorted(at for at, _ in answers) == due
    # one half for what the load needs to connect; half of the requests found no connection idle, and count that too
    assert min(at + took for at, took in answers) > LATE / 2


def test_nothing_but_a_good_answer_is_taken() -> None:
    with answering(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") as port:
        with pytest.raises(ConnectionError, match="503"):
            openloop.answers(("127.0.0.1", port), b"", iter([0.0]))


def test_an_answer_may_begin_with_a_single_byte() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = openloop.Connection(listener.getsockname())
        with connection.sock, listener.accept()[0] as server:
            connection.ask(0.0)
            for piece, whole in ((b"H", False), (b"TTP/1.1 200 OK\r\n\r\nlate", True)):
                server.sendall(piece)
                select.select([connection.sock], [], [])
                assert connection.answered(b"late") is whole
            connection.ask(0.0)
            server.sendall(b"N")
            select.select([connection.sock], [], [])
            with pytest.raises(ConnectionError, match="not an answer"):
                connection.answered(b"late")
