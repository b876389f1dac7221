"""What becomes of an answer before it is written: filters see it, it is held until it is whole, it replaces another.

    an endpoint's head -> the policy of retries -> filters -> held -> written
    a reply of ours, or a failure and what is said instead of it -> written

How it is written is for who knows the client's protocol: `downstream.py`, `stream.py`.
"""

from __future__ import annotations

from abc import abstractmethod

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import Answer, ask
from meshproxy.core.reply import Reply, of_failure
from meshproxy.errors import Failure
from meshproxy.relay.http import failures, grpc
from meshproxy.relay.http.attempts import Attempts
from meshproxy.wire.h1 import NO_BODY, ResponseHead

OF_THE_ENDPOINT = frozenset((failures.REQUEST_TIMEOUT, failures.IDLE_TIMEOUT))
"""Failures of a request that say something of who was asked."""


class Answers(Attempts):
    __slots__ = ()

    def decide(self, x: Exchange, answer: Reply | Failure) -> None:
        if isinstance(answer, Reply):
            self.reply(x, answer)
        else:
            self.fail(x, answer)

    def begin_anew(self, x: Exchange) -> None:
        if x.units:
            self._give_back(x)
        x.tried = ()
        x.attempts = 0
        self._moved(x)
        self.attempt(x)

    def _filter(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool, at: int) -> None:
        """Ask the filters about an answer, from this one on; then it goes on."""
        answer, at = ask(x.handling.pipeline.response, x, at)
        if answer is None:
            self._respond(x, head, data, whole)
        elif isinstance(answer, Reply | Failure):
            self._replace(x, answer)
        else:
            upstream = x.upstream

            def decided(answer: Answer) -> None:
                if not whole:
                    upstream.start()
                if answer is None:
                    self._filter(x, head, data, whole, at)
                else:
                    self._replace(x, answer)

            if not whole:
                upstream.stop()
            self.wait(answer, decided)

    def _replace(self, x: Exchange, answer: Reply | Failure) -> None:
        if isinstance(answer, Failure):
            self.fail(x, answer)
            return
        if x.upstream is not None:
            x.upstream.cancel()
        self.reply(x, answer)

    def _respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        holds = x.handling.holds
        if holds is None:
            self._pass_on(x, self._opening(x, head), data, whole)
        elif head.body > holds:
            self.fail(x, failures.ANSWER_TOO_LARGE)
        else:
            x.held = bytearray()
            self._hold_answer(x, data, whole)

    def respond_more(self, x: Exchange, data: bytes, last: bool) -> None:
        if x.handling.holds is None:
            self._pass_on(x, b"", data, last)
        else:
            self._hold_answer(x, data, last)

    def _hold_answer(self, x: Exchange, data: bytes, last: bool) -> None:
        held = x.held
        held += data
        if len(held) > x.handling.holds:
            self.fail(x, failures.ANSWER_TOO_LARGE)
        elif last:
            assert x.response is not None
            self._pass_on(x, self._opening(x, x.response), bytes(held), True)
        else:
            self._moved(x)

    @staticmethod
    def _answers_without_body(x: Exchange) -> bool:
        assert x.response is not None
        return x.response.body == NO_BODY

    def reply(self, x: Exchange, reply: Reply) -> None:
        if b"content-type" in x.request.shape.positions:
            reply = grpc.spoken(x, reply)
        self._say(x, reply)

    def fail(self, x: Exchange, failure: Failure) -> None:
        if x.begun:
            # What was cut must not look whole.
            self._gone("reset", failure)
            return
        x.failure = failure
        self._cancel(x, failure if failure in OF_THE_ENDPOINT else None)
        fallback = x.handling.fallback
        if fallback is not None and fallback(self, x, failure):
            return
        for hook in x.handling.pipeline.failure:
            reply = hook(x, failure)
            if reply is not None:
                self.reply(x, reply)
                return
        self.reply(x, of_failure(failure.status, failure.reason))

    def _give_up(self, x: Exchange, failure: Failure) -> None:
        x.failure = failure
        self._cancel(x)
        self._count(x, x.response.status if x.response is not None else failure.status, self._site.now())

    def _count(self, x: Exchange, status: int, now: float) -> None:
        """It is over, whatever became of it."""
        x.status = status
        x.seconds = now - x.started
        failure, tracer = x.failure, x.handling.tracer
        tell = x.tell or self._service.unrouted.tell
        flag = failure.flag if failure is not None else ""
        if x.noted is not None and x.noted.flags:
            flag = f"{x.noted.flags},{flag}" if flag else x.noted.flags
        if tracer is None:
            tell(x, status, flag, x.seconds)
        else:
            tracer.end(x, tell, status, flag, x.seconds)
        if x.units:
            self._give_back(x)
        for hook in x.handling.pipeline.done:
            hook(x)

    @staticmethod
    def _edits(x: Exchange) -> tuple[frozenset[bytes], bytes]:
        """The fields that are left out of an answer, and the lines that are added: by its rule, and by filters."""
        edit = x.handling.response
        without, lines = edit.without, edit.lines
        if edit.more is not None:
            lines += edit.more(x)
        if x.noted is not None:
            changes = x.noted.response
            without, lines = without | changes.without, lines + changes.lines
        return without, lines

    # For who writes them

    @abstractmethod
    def _say(self, x: Exchange, reply: Reply) -> None:
        """All of an answer of ours."""

    @abstractmethod
    def _opening(self, x: Exchange, head: ResponseHead) -> bytes:
        """The head as the client gets it."""

    @abstractmethod
    def _pass_on(self, x: Exchange, opening: bytes, data: bytes, last: bool) -> None:
        """The head, unless it is gone already, and a piece of the body."""

    @abstractmethod
    def _gone(self, reason: str, failure: Failure) -> None:
        """There is nobody to answer any more, or what has begun is cut."""
