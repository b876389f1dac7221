"""Attributes as JSON, those whose values are known and those whose values are set in with each request.

    pairs = Pairs('{"key":%s,"value":%s}', '{"key":%s,"value":"%s"}')
    pairs({"http.response.status_code": 200})       # ',{"key":"http.response.status_code","value":"200"}'
    pairs.of_text("url.path", "%b")                 # b',{"key":"url.path","value":"%b"}'

Text is quoted by the encoder of the standard library, in C: what comes of it is ASCII, whatever went in.
"""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as quoted


class Pairs:
    """Each has a comma before it."""

    __slots__ = ("_called", "_number", "_text")

    def __init__(self, text: str, number: str, called: Mapping[str, str] | None = None) -> None:
        """How an attribute with a text and one with a number are written: of its name, quoted, and its value, which is
        quoted if it is a text.  `called`: what is called otherwise there."""
        self._text = "," + text
        self._number = "," + number
        self._called = called or {}

    def __call__(self, attributes: Mapping[str, str | int]) -> str:
        return "".join(
            [
                self._text % (self._name(name), quoted(value))
                if isinstance(value, str)
                else self._number % (self._name(name), value)
                for name, value in attributes.items()
            ]
        )

    def of_text(self, name: str, slots: str) -> bytes:
        """A template for what needs no more than quotes around it, or has all else."""
        return (self._text % (self._name(name), f'"{slots}"')).encode("ascii")

    def of_number(self, name: str) -> bytes:
        return (self._number % (self._name(name), "%d")).encode("ascii")

    def _name(self, name: str) -> str:
        return quoted(self._called.get(name, name))


__all__ = ["Pairs", "quoted"]
