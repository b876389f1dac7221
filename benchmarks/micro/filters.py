"""What each filter and each way to share requests adds to an exchange: the same requests, with and without it.

As in `micro exchange`, with sockets that do nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.harness import Plan, Result, interleave, note
from benchmarks.micro.exchange import EXCHANGES, Words, answer, best, fresh

TWICE = [{"cluster": "up", "weight": 95}, {"cluster": "up", "weight": 5}]

RULES: dict[str, dict[str, Any]] = {
    "none": {"cluster": "up"},
    "access by source": {"filters": [{"access": {"allow": [{"sources": ["10.0.0.0/8", "127.0.0.0/8", "::1/128"]}]}}]},
    "access by path": {"filters": [{"access": {"deny": [{"path": {"prefix": "/admin"}}, {"methods": ["DELETE"]}]}}]},
    "cors": {"filters": [{"cors": {"origins": ["https://shop.local"], "credentials": True}}]},
    "max_body": {"filters": [{"max_body": "1MiB"}]},
    "fault that is not drawn": {"filters": [{"fault": {"abort": {"share": 1e-9}}}]},
    "fault for others": {"filters": [{"fault": {"abort": {}, "headers": {"x-fault": {"exact": "1"}}}}]},
    "fallback that is not needed": {"fallback": {"reply": {}}},
    "split": {"split": TWICE},
    "split by cookie": {"split": TWICE, "split_by": {"cookie": "user"}},
    "split by client": {"split": TWICE, "split_by": {"client": True}},
    "split for a header": {"split": [{"cluster": "up", "headers": {"x-beta": {"exact": "1"}}}, {"cluster": "up"}]},
    "split in steps": {"split": [{"cluster": "up"}, {"cluster": "up", "steps": [{"after": "1h", "weight": 9}]}]},
}


def words() -> Words:
    asks = [
        b"GET /books/%d HTTP/1.1\r\nHost: shop.local\r\nOrigin: https://shop.local\r\n"
        b"Cookie: theme=dark; user=%b\r\nX-Turn: %d\r\n\r\n" % (n, fresh(), n)
        for n in range(EXCHANGES)
    ]
    return asks, [answer(b"Server: origin\r\nX-Time: %d\r\n" % n) for n in range(EXCHANGES)]


def run(plan: Plan) -> list[Result]:
    note(f"micro filters: {plan.rounds} rounds of {plan.seconds / 10:g} s on {len(RULES)} rules")
    said = words()

    def once(rule: dict[str, Any]) -> float:
        return asyncio.run(best(rule, said, plan.seconds / 10))

    rules = {name: rule if "split" in rule else {"cluster": "up", **rule} for name, rule in RULES.items()}
    measured = interleave(rules, plan.rounds, once)
    return [Result(f"micro filters: {name}", "µs", {"each head differs": measured[name]}) for name in rules]
