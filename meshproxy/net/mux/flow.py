"""A stream of a tunnel that carries datagrams: one conversation, whose end both ends hear of.

    flow = Flow(session, number, purpose)
    flow.on_data, flow.on_over = take, over
    flow.send(b"...")                   # False: it is lost
    flow.close()
    flow.came(b"", True)                # this is said by who has the session: the other end has closed it

What is sent comes once or never; how long the conversation lasts is as sure as with any stream.
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.net.mux.conn import as_error, as_reason
from meshproxy.wire.mux.frames import Reason
from meshproxy.wire.mux.metadata import Purpose
from meshproxy.wire.mux.session import Session


def _nobody(_said: object) -> None:
    """Who has not said how to hear of it hears nothing."""


class Flow:
    __slots__ = ("_number", "_session", "on_data", "on_over", "purpose")

    def __init__(self, session: Session, number: int, purpose: Purpose) -> None:
        self._session: Session | None = session
        """None: it is over."""
        self._number = number
        self.purpose = purpose
        self.on_data: Callable[[bytes], object] = _nobody
        self.on_over: Callable[[OSError | None], None] = _nobody
        """None: in good order."""

    @property
    def closed(self) -> bool:
        return self._session is None

    def send(self, data: bytes) -> bool:
        return self._session is not None and self._session.send_datagram(self._number, data)

    def close(self) -> None:
        """What waits still goes."""
        session = self._leave()
        if session is not None:
            session.end(self._number)

    def refuse(self, reason: Reason) -> None:
        """In words that the other end understands."""
        session = self._leave()
        if session is not None:
            session.reset(self._number, reason)

    def ends_as(self, error: OSError | None) -> None:
        """As another one, which it goes on from."""
        if error is None:
            self.close()
        else:
            self.refuse(as_reason(error))

    # From who has the session

    def came(self, data: bytes, last: bool) -> None:
        """Nothing but its end is to come."""
        on_over = self.on_over
        if data:
            self.refuse(Reason.OUT_OF_STATE)
            on_over(as_error(Reason.OUT_OF_STATE))
        elif last:
            self.close()
            on_over(None)

    def reset(self, reason: int) -> None:
        on_over = self.on_over
        self._leave()
        on_over(as_error(reason))

    def read_on(self) -> None:
        """Nothing waits here."""

    def room(self) -> None:
        """Nobody waits for any: what finds none is lost."""

    def _leave(self) -> Session | None:
        session, self._session = self._session, None
        # Who uses it has it: a circle, which nobody would find in what a reload has frozen.
        self.on_data = self.on_over = _nobody
        return session
