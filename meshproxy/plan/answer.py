"""Answers that a configuration spells out."""

from __future__ import annotations

from meshproxy import model
from meshproxy.core.reply import Reply
from meshproxy.relay.http.handling import NO_EDIT, Edit

Fields = list[tuple[bytes, bytes]]


def fixed(said: model.Reply, edit: Edit = NO_EDIT) -> Reply:
    fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in said.headers]
    return Reply(said.status, edited(fields, edit), said.body.encode(), added=edit.lines)


def edited(fields: Fields, edit: Edit) -> Fields:
    return [(name, value) for name, value in fields if name.lower() not in edit.without]
