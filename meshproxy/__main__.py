"""`python -m meshproxy` is `meshproxy`."""

from __future__ import annotations

import sys

from meshproxy.cli import main

sys.exit(main())
