"""What the README's first command shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_demo_moves_messages_and_none_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "meshproxy", "demo", "--for", "1500ms", "--admin", f"unix:{tmp_path}/admin.sock"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    total = re.search(r"(\d+) messages went out and came back, 0 of them wrong", shown.stdout)
    assert total is not None, shown.stdout
    assert int(total[1]) > 100
