"""What a line of the access log says, and whether there is one: what an operator said, compiled.

    line = compile_format(said.format, Facts(node="web-1", hostname="vm-7", offset=lambda: wall() - now()))
    wanted = compile_when(said.when)
    if wanted is None or wanted(record):
        sink.offer(line(record))

Where to read on: `operators.py` and `fields.py` (what can be said), `columns.py` (how it is taken), `pen.py` (how it is
written).
"""

from meshproxy.observe.access.formats import compile_format as compile_format
from meshproxy.observe.access.operators import Facts as Facts
from meshproxy.observe.access.when import compile_when as compile_when
