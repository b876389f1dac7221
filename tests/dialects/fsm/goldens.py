"""Documents of FSM's sidecar, each with what it is in our words: NAME.json and NAME.yaml.

    python -m tests.dialects.fsm.goldens     # writes what comes of them now; read the difference before it is kept
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meshproxy.dialects import _sheets, fsm, read
from meshproxy.dialects.translation import Setting, Words
from meshproxy.model import Config, decode

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Case:
    name: str
    given: bytes
    shows: str
    setting: dict[str, Any]
    native: dict[str, Any]
    notes: list[str]

    def words(self) -> Words:
        return translated(self.given, self.setting)


def translated(given: bytes, setting: dict[str, Any] | None = None) -> Words:
    config = decode(Config, setting or {})
    sheets = [*_sheets([read(given, "config.json")])]
    return fsm.translate(sheets, Setting(config.node, config.sidecar, config.compat))


def cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*.json")):
        said = yaml.safe_load(path.with_suffix(".yaml").read_text())
        setting, native, notes = said.get("setting", {}), said.get("native", {}), said.get("notes", [])
        yield Case(path.stem, path.read_bytes(), said["shows"], setting, native, notes)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def write(path: Path) -> None:
    """What comes of NAME.json, into NAME.yaml, which says what is shown and for which setting."""
    said = yaml.safe_load(path.with_suffix(".yaml").read_text())
    words = translated(path.read_bytes(), said.get("setting"))
    assert words.problems == [], words.problems
    found = {key: said[key] for key in ("shows", "setting") if key in said}
    found |= {"native": words.value, "notes": [str(note) for note in words.notes]}
    text = yaml.dump({key: what for key, what in found.items() if what}, Dumper=_Plain, sort_keys=False, width=110)
    path.with_suffix(".yaml").write_text(text)


if __name__ == "__main__":
    for each in sorted(FOLDER.glob("*.json")):
        write(each)
