"""All that a document of FSM says, put together.

Its older versions are first put in the shape of the newest one (`older`), which is then read as strictly as ours
(`said`). Each part of the translation has a module: `inbound`, `outbound`, `probes`, `dns`,
`scripts`, `observability`, `notes`.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.dialects.fsm.dns import put_dns
from meshproxy.dialects.fsm.draft import Draft
from meshproxy.dialects.fsm.inbound import Inbound
from meshproxy.dialects.fsm.notes import put_notes
from meshproxy.dialects.fsm.observability import put_observability
from meshproxy.dialects.fsm.outbound import Outbound
from meshproxy.dialects.fsm.papers import Papers
from meshproxy.dialects.fsm.probes import put_probes
from meshproxy.dialects.fsm.said import Outbound as NoOutbound
from meshproxy.dialects.fsm.scripts import Scripts
from meshproxy.dialects.translation import Setting, Sheet, Words
from meshproxy.errors import Invalid


def translate(sheets: Sequence[Sheet], setting: Setting) -> Words:
    """What the document says, in our words, with all that is wrong with it; `Invalid` if it cannot be read at all."""
    if len(sheets) > 1:
        first = sheets[0].source
        message = f"a proxy has one configuration of FSM, and there is one already, in {first}"
        raise Invalid([sheet.problem((), message) for sheet in sheets[1:]])
    draft = Draft.of(sheets[0], setting)
    papers = Papers.own(draft)
    scripts = Scripts.of(draft)
    if draft.said.inbound is not None:
        Inbound(draft, papers, scripts, draft.said.inbound).put()
    Outbound(draft, papers, scripts, draft.said.outbound or NoOutbound()).put()
    put_probes(draft)
    put_dns(draft)
    put_observability(draft)
    put_notes(draft)
    return draft.finished()
