"""A format described: as JSON Schema for machines, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshproxy.schema.kinds import NAME
from meshproxy.schema.shapes import Field, Leaf, Pairs, Sequence, Shape, Struct, Table, struct_of

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(cls: type[Any]) -> dict[str, object]:
    """The JSON Schema of what `decode` takes, as far as a schema can say it."""
    definitions: dict[str, object] = {}
    root = _schema(struct_of(cls), definitions)
    return {"$schema": DRAFT, "title": cls.__name__, **root, "$defs": definitions}


def _schema(shape: Shape, definitions: dict[str, object]) -> dict[str, object]:
    match shape:
        case Leaf(kind):
            return dict(kind.json)
        case Sequence(item, how):
            of_item = _schema(item, definitions)
            many: dict[str, object] = {"type": "array", "items": of_item}
            if how.least:
                many["minItems"] = how.least
            return {"anyOf": [of_item, many]} if how.one else many
        case Pairs(item, key):
            return {
                "type": "object",
                "propertyNames": dict(key.kind.json),
                "additionalProperties": _schema(item, definitions),
            }
        case Table(item, by):
            items = _reference(item, definitions, by)
            return {"type": "object", "propertyNames": dict(NAME.json), "additionalProperties": items}
        case Struct():
            return _reference(shape, definitions)
    raise TypeError(f"no schema for {shape}")


def _reference(struct: Struct, definitions: dict[str, object], key: str | None = None) -> dict[str, object]:
    name = struct.cls.__name__
    if name not in definitions:
        definitions[name] = _object(struct, definitions, key)
    return {"$ref": f"#/$defs/{name}"}


def _object(struct: Struct, definitions: dict[str, object], key: str | None) -> dict[str, object]:
    fields = {name: field for name, field in struct.fields.items() if name != key}
    mapping: dict[str, object] = {
        "type": "object",
        "description": (struct.cls.__doc__ or "").partition("\n")[0],
        "additionalProperties": False,
        "properties": {name: _property(field, definitions) for name, field in fields.items()},
    }
    required = [name for name, field in fields.items() if field.required]
    if required:
        mapping["required"] = required
    if struct.choice:
        mapping["minProperties"] = mapping["maxProperties"] = 1
    if struct.shorthand:
        short = _schema(struct.fields[struct.shorthand].shape, definitions)
        return {"anyOf": [short, mapping]}
    return mapping


def _property(field: Field, definitions: dict[str, object]) -> dict[str, object]:
    schema = _schema(field.shape, definitions)
    if field.optional:
        schema = {"anyOf": [schema, {"type": "null"}]}
    described: dict[str, object] = {"description": field.doc, **schema}
    if not field.required:
        described["default"] = None if field.default is None else field.shape.write(field.default, True)
    return described


def reference(cls: type[Any]) -> str:
    """Every key, its kind, its default and its meaning, as a Markdown table; then the reserved keys."""
    struct = struct_of(cls)
    rows = ["| Key | Kind | Default | Meaning |", "| --- | --- | --- | --- |", *_rows(struct, "")]
    reserved = ["| Reserved key | Stands for |", "| --- | --- |", *_reserved(struct, "")]
    return "\n".join([*rows, "", *reserved, ""])


def _rows(struct: Struct, prefix: str, key: str | None = None) -> Iterator[str]:
    for name, field in struct.fields.items():
        if name == key:
            continue
        below = _below(field.shape)
        path = f"{prefix}{name}"
        yield f"| `{path}` | {_kind(field.shape)} | {_default(field)} | {field.doc} |"
        if below:
            inner, suffix, inner_key = below
            yield from _rows(inner, f"{path}{suffix}.", inner_key)


def _reserved(struct: Struct, prefix: str) -> Iterator[str]:
    for name, what in struct.reserved.items():
        yield f"| `{prefix}{name}` | {what} |"
    for name, field in struct.fields.items():
        if below := _below(field.shape):
            inner, suffix, _ = below
            yield from _reserved(inner, f"{prefix}{name}{suffix}.")


def _below(shape: Shape) -> tuple[Struct, str, str | None] | None:
    """The mapping with known keys inside a shape, how a path leads to it, and the key that is its name."""
    match shape:
        case Struct():
            return shape, "", None
        case Sequence(Struct() as item, _):
            return item, "[]", None
        case Table(item, by):
            return item, ".NAME", by
    return None


def _kind(shape: Shape) -> str:
    match shape:
        case Leaf(kind):
            return kind.name
        case Sequence(item, how):
            return f"{_kind(item)}, or a list" if how.one else f"list of {_kind(item)}"
        case Pairs(item):
            return f"mapping of {_kind(item)}"
        case Table():
            return "mapping by name"
        case Struct(shorthand=shorthand, fields=fields) if shorthand:
            return f"mapping or {_kind(fields[shorthand].shape)}"
    return "mapping"


def _default(field: Field) -> str:
    if field.required:
        return "required"
    if field.default is None:
        return "absent"
    written = field.shape.write(field.default, True)
    if isinstance(written, Mapping):
        return ""
    return "empty" if written in ("", []) else f"`{str(written).lower() if isinstance(written, bool) else written}`"
