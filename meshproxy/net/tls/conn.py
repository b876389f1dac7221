"""A connection on which TLS is spoken: to all others it is a `Conn`.

    conn = secure(plain, session)       # after the handshake; `plain` is nobody's any more

What it reads is deciphered at once, so that at most one read waits above it, as in every `Conn`.  An end is one only
if the peer says so in TLS: a connection that is merely closed has failed, and what was cut does not look whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from meshproxy.net.above import Above
from meshproxy.net.conn import CLOSED, OWING, SMALL_READ, Conn
from meshproxy.net.shaped import ShapedConn
from meshproxy.net.tls.faults import Broken
from meshproxy.net.tls.session import Session

MOST_OWED = 1 << 12
"""Bytes that the protocol answers to one read.  A change of keys takes thirty; nobody honest asks for a hundred."""


class TlsConn(Conn):
    """What TLS changes of a connection, whether that is slowed down or not."""

    __slots__ = ()

    spliceable = False
    session: Session

    # Reading

    def look(self) -> None:
        """What has come with the handshake; the loop tells of all else, as it did of that."""
        if self.session.early or self._paused:
            super().look()

    def _resume(self, reason: int) -> None:
        super()._resume(reason)
        if self.session.early or self.session.ended:
            # No socket tells of what is here already.
            self._loop.call_soon(self._read_what_is_here)

    def _read_what_is_here(self) -> None:
        if not self._paused:
            if self.session.early:
                self._reader()
            elif self.session.ended:
                self._read_end()

    def _read(self) -> bytes:
        session = self.session
        if session.early:
            data, session.early = session.early, b""
            return self._deciphered(data)
        return self._deciphered(super()._read())

    def _deciphered(self, data: bytes) -> bytes:
        if not data:
            return b""
        session = self.session
        try:
            text = session.decipher(data)
        except Broken as error:
            self._broken(error)
            return b""
        return self._heed(session, text) if session.notable else text

    def _broken(self, error: Broken) -> None:
        self._send(error.alert)
        self._lost(error)

    def _heed(self, session: Session, text: bytes) -> bytes:
        """The protocol has something to say itself, or its end has come; what remains of the text."""
        if owed := session.owed():
            self._send(owed)
            if len(owed) > MOST_OWED:
                self._lost(Broken("protocol", "more is asked than anybody answers"))
                return b""
            if self.full:
                # Who does not take an answer asks no more.
                self._pause(OWING)
        if session.ended:
            # Once what came before it has been taken
            self._loop.call_soon(self._read_what_is_here)
        return text

    def _on_room(self) -> None:
        super()._on_room()
        if not self.full:
            self._resume(OWING)

    def _read_end(self) -> None:
        if self.session.ended:
            super()._read_end()
        else:
            self._lost(Broken("closed", "without a close_notify"))

    # Writing

    def _send(self, enciphered: bytes) -> None:
        Conn.write(self, enciphered)

    def write(self, data: bytes) -> None:
        if not data or self._write_over:
            return
        try:
            enciphered = self.session.encipher(data)
        except Broken as error:
            self._not_written(error)
        else:
            self._send(enciphered)

    def write_all(self, pieces: Sequence[bytes]) -> None:
        """Large ones are not copied to be one."""
        if self._write_over:
            return
        try:
            enciphered = self.session.encipher_all(pieces)
        except Broken as error:
            self._not_written(error)
        else:
            self._send(enciphered)

    def end(self) -> None:
        if not self._ending:
            self._send(self.session.goodbye())
        super().end()

    # The end

    def close(self) -> None:
        if not self._paused & CLOSED:
            if not (self._ending or self._write_over or self.full):
                self._say_goodbye()
            self.session.over()
        super().close()

    def _say_goodbye(self) -> None:
        """As far as that is possible at once."""
        with suppress(OSError):
            os.write(self.fd, self.session.goodbye())

    def abort(self) -> None:
        self._write_over = True  # no word of an end
        super().abort()


class _Fast(TlsConn):
    __slots__ = ("__weakref__", "session")

    def __init__(self, plain: Conn, session: Session) -> None:
        super().__init__(plain._loop, plain.sock)
        self.session = session
        self.go_on_from(plain)

    def _read_to_taker(self) -> None:
        session = self.session
        if session.early:
            text = self._read()
        else:
            try:
                data = os.read(self.fd, self._read_size)
            except OSError as error:
                self._not_read(error)
                return
            size = len(data)
            if 0 < size < SMALL_READ:
                # By far the most: there is nothing to decide.
                self._read_size = SMALL_READ
                self.received += size
            elif not self._has_read(size):
                return
            try:
                text = session.decipher(data)
            except Broken as error:
                self._broken(error)
                return
            if session.notable:
                text = self._heed(session, text)
        if text:
            take = self._take
            take(text)


class _Shaped(TlsConn, ShapedConn):
    __slots__ = ("__weakref__", "session")

    def __init__(self, plain: ShapedConn, session: Session) -> None:
        ShapedConn.__init__(self, plain._loop, plain.sock, plain._clock, plain._own)
        self.session = session
        self.go_on_from(plain)

    def _send(self, enciphered: bytes) -> None:
        ShapedConn.write(self, enciphered)


class _Over(TlsConn, Above):
    """On another connection that is no bare socket: TLS in TLS, or in a stream."""

    __slots__ = ("__weakref__", "session")

    def __init__(self, plain: Conn, session: Session) -> None:
        Above.__init__(self, plain)
        self.session = session

    def room(self) -> None:
        super().room()
        self._resume(OWING)

    def _send(self, enciphered: bytes) -> None:
        Above.write(self, enciphered)

    def _say_goodbye(self) -> None:
        self._send(self.session.goodbye())


def secure(plain: Conn, session: Session) -> TlsConn:
    """The same connection, on which this session goes on."""
    if plain.spliceable:
        return _Fast(plain, session)
    return _Shaped(plain, session) if type(plain) is ShapedConn else _Over(plain, session)


def chosen(conn: Conn) -> str | None:
    """What is to be spoken on it, if that was agreed on by ALPN."""
    return conn.session.ssl.selected_alpn_protocol() if isinstance(conn, TlsConn) else None
