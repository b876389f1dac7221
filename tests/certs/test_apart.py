"""Who does not make certificates neither has nor needs the library that does."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import meshproxy
from meshproxy.cli import FAILED

MAKERS = ("meshproxy.certs", "meshproxy.cli.certs")

EVERYTHING = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(name)
import meshproxy.cli
meshproxy.cli.parser().parse_args(["run"])
print(*[name for name in sys.modules if name.startswith(("cryptography", "meshproxy.certs"))])
"""

MISSING = """
import sys
sys.modules["cryptography"] = None
from meshproxy.cli import main
sys.exit(main(["certs", "ca", "--out", "/nowhere"]))
"""


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)


def test_nothing_that_serves_imports_it() -> None:
    names = [module.name for module in pkgutil.walk_packages(meshproxy.__path__, "meshproxy.")]
    others = [name for name in names if not name.startswith(MAKERS) and name != "meshproxy.__main__"]
    assert "meshproxy.cli.run" in others
    done = python(EVERYTHING, *others)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_where_it_is_missing_the_command_says_what_to_install() -> None:
    done = python(MISSING)
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert done.stderr == "meshproxy: certs needs the library cryptography: pip install 'meshproxy[certs]'\n"
