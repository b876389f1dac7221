"""Where a parser stands in a document, and where everything stood when it has gone through."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshproxy.schema.shapes import Path


class Trail:
    """The path to where a parser stands."""

    def __init__(self) -> None:
        self._steps: list[str | int] = []

    @property
    def path(self) -> Path:
        return tuple(self._steps)

    def enter(self, step: str | int, line: int) -> None:
        self._steps.append(step)

    def leave(self) -> None:
        self._steps.pop()


@dataclass(slots=True)
class Mark:
    line: int
    below: dict[str | int, Mark] = field(default_factory=dict)


class Lines(Trail):
    """The line of every place. A tree, for a hundred thousand paths in full would take seconds and gigabytes."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Mark(1)
        self._marks = [self.top]

    def enter(self, step: str | int, line: int) -> None:
        super().enter(step, line)
        mark = Mark(line)
        self._marks[-1].below[step] = mark
        self._marks.append(mark)

    def leave(self) -> None:
        super().leave()
        self._marks.pop()

    def of(self, path: Path) -> int:
        """The line of a place, or of the nearest one above it that stands in the document."""
        mark = self.top
        for step in path:
            if step not in mark.below:
                break
            mark = mark.below[step]
        return mark.line
