"""Answers that a configuration spells out."""

from __future__ import annotations

from meshproxy import model
from meshproxy.core.reply import Reply


def fixed(said: model.Reply) -> Reply:
    fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in said.headers]
    return Reply(said.status, fields, said.body.encode())
