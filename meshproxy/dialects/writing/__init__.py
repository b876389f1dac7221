"""The model -> other words, as far as they reach. Pure: a configuration in, documents and a list of what is lost out.

    written = write("smi", config, documents)
    written.documents       # plain data
    written.lost            # each thing that they do not say, with the place where it was said

A writer takes what it can say from the configuration, as plain data; what nobody took is lost, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from meshproxy.dialects.writing import fsm, smi
from meshproxy.dialects.writing.places import Places
from meshproxy.dialects.writing.said import Said
from meshproxy.errors import Problem
from meshproxy.model import Config, Document, encode

Target = Literal["native", "smi", "fsm"]
Writer = Callable[[Config, Said], list[dict[str, Any]]]

WRITERS: dict[str, tuple[str, Writer]] = {"smi": ("SMI", smi.write), "fsm": ("FSM", fsm.write)}


@dataclass(frozen=True, slots=True)
class Written:
    documents: list[dict[str, Any]]
    lost: tuple[Problem, ...] = ()


def write(target: Target, config: Config, documents: Sequence[Document]) -> Written:
    """`documents` are those of which the configuration was made."""
    if target == "native":
        return Written([encode(config)])
    name, writer = WRITERS[target]
    said = Said(encode(config))
    found = writer(config, said)
    places = Places(config, documents)
    lost = [*said.lost, *((path, f"{name} has no words for it") for path in said.left())]
    return Written(found, tuple(places.problem(path, message) for path, message in lost))
