"""Which pods are meant, by their labels.

    selector = decode(Selector, {"matchLabels": {"app": "books"}})
    selector.takes({"app": "books", "v": "1"})      # True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from meshproxy.dialects.smi.kinds import FreeText
from meshproxy.dialects.smi.kubernetes import Labels
from meshproxy.dialects.smi.strict import Strict
from meshproxy.schema.kinds import choice
from meshproxy.schema.shapes import Key

Operator = Annotated[
    Literal["In", "NotIn", "Exists", "DoesNotExist"], choice("In", "NotIn", "Exists", "DoesNotExist")
]


@dataclass(frozen=True, slots=True)
class Expression(Strict):
    key: FreeText
    operator: Operator
    values: tuple[FreeText, ...] = ()

    def takes(self, labels: Mapping[str, str]) -> bool:
        if self.operator in ("Exists", "DoesNotExist"):
            return (self.key in labels) is (self.operator == "Exists")
        return (labels.get(self.key) in self.values) is (self.operator == "In")


@dataclass(frozen=True, slots=True)
class Selector(Strict):
    """Everything that is said must hold; nothing said takes all."""

    labels: Annotated[Labels, Key("matchLabels")] = ()
    expressions: Annotated[tuple[Expression, ...], Key("matchExpressions")] = ()

    def takes(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels) and all(
            expression.takes(labels) for expression in self.expressions
        )
