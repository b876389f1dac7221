"""Putting rules in place and taking them away: all or nothing, once or a hundred times, and nobody else's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from meshproxy.redirect import Refused, tools
from meshproxy.redirect.apply import apply, check, remove
from meshproxy.redirect.layouts import FSM, ISTIO, LAYOUTS, MESHPROXY
from meshproxy.redirect.plan import Plan, merged
from tests.examples import examples
from tests.lab import Host, Lab, needs_lab
from tests.redirect.played import BACKENDS, plan, standing

both_backends = pytest.mark.parametrize("backend", BACKENDS)
EVERYTHING = plan(
    ISTIO,
    tproxy=True,
    dns_port=15053,
    gids=(1337,),
    inbound_ports=tuple((port, port) for port in range(80, 140, 2)),
    exclude_outbound_ports=((22, 22), (1000, 2000)),
    outbound_cidrs=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
    exclude_outbound_cidrs=(ip_network("10.1.2.3"), ip_network("fd00::1")),
    interfaces=("eth0", "eth1"),
    exclude_interfaces=("eth2",),
    exclude_uids=(7, 8),
)


@pytest.fixture
def app() -> Iterator[Host]:
    needs_lab()
    with Lab("app") as lab:
        with lab["app"].inside():
            yield lab["app"]


def someone_has_rules(app: Host) -> None:
    for tool in ("iptables", "ip6tables"):
        app.run(f"{tool}-restore", input=THEIRS)
    for words in ("table inet theirs", "chain inet theirs some", "rule inet theirs some tcp dport 9 return"):
        app.run("nft", "add", *words.split())
    app.run("ip", "rule", "add", "pref", "77", "fwmark", "0x77", "lookup", "77")


THEIRS = """*nat
:THEIRS - [0:0]
-A OUTPUT -p tcp -m tcp --dport 1 -j THEIRS
-A THEIRS -p tcp -m comment --comment "two words" -j RETURN
COMMIT
*filter
-A INPUT -p tcp -m tcp --dport 9 -j DROP
COMMIT
"""


@both_backends
def test_what_was_found_is_there_again_a_hundred_times(app: Host, backend: str, request: pytest.FixtureRequest) -> None:
    before = standing(app)
    for time in range(100 if request.config.getoption("--long") else 15):
        wanted = plan(dns_port=5300) if time % 5 else EVERYTHING
        assert apply(backend, wanted)
        assert remove(backend)
        assert time or standing(app) == before
    assert standing(app) == before
    assert not remove(backend)


@both_backends
def test_the_rules_of_others_stay_as_they_are_and_where_they_are(app: Host, backend: str) -> None:
    someone_has_rules(app)
    before = standing(app)
    assert apply(backend, EVERYTHING)
    app.run("iptables", *"-t nat -A OUTPUT -p tcp --dport 2 -j THEIRS".split())
    app.run("iptables", *"-t mangle -A POSTROUTING -p tcp --dport 3 -j ACCEPT".split())
    assert check(backend, EVERYTHING) == []
    assert apply(backend, plan())
    assert remove(backend)
    app.run("iptables", *"-t mangle -D POSTROUTING -p tcp --dport 3 -j ACCEPT".split())
    app.run("iptables", *"-t nat -D OUTPUT -p tcp --dport 2 -j THEIRS".split())
    app.run("nft", "delete", "table", "ip", "mangle")
    assert standing(app) == before


def test_a_chain_that_others_use_meanwhile_is_left_to_them(app: Host) -> None:
    apply("iptables", plan())
    app.run("iptables", *"-t nat -A OUTPUT -p tcp --dport 2 -j ACCEPT".split())
    remove("iptables")
    assert "--dport 2 -j ACCEPT" in app.run("iptables-save")
    assert "MESHPROXY" not in app.run("iptables-save")


@both_backends
def test_twice_is_once_and_another_plan_replaces_the_first(app: Host, backend: str) -> None:
    assert apply(backend, EVERYTHING)
    whole = standing(app)
    assert not apply(backend, EVERYTHING)
    assert standing(app) == whole
    for layout in (FSM, MESHPROXY):
        assert apply(backend, plan(layout))
        assert check(backend, plan(layout)) == []
        once = standing(app)
        remove(backend)
        apply(backend, plan(layout))
        assert standing(app) == once


@both_backends
def test_what_is_missing_or_strange_is_said(app: Host, backend: str) -> None:
    wanted = plan()
    assert check(backend, wanted)
    apply(backend, wanted)
    assert check(backend, wanted) == []
    if backend == "iptables":
        app.run("ip6tables", *"-t nat -D OUTPUT -p tcp --syn -j MESHPROXY_OUTBOUND".split())
        app.run("iptables", *"-t nat -I MESHPROXY_OUTBOUND -p tcp --dport 7 -j RETURN".split())
        assert check(backend, wanted) == [
            "iptables: strange in nat: -A MESHPROXY_OUTBOUND -p tcp -m tcp --dport 7 -j RETURN",
            "ip6tables: missing in nat: -A OUTPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j MESHPROXY_OUTBOUND",
        ]
    else:
        app.run("nft", "insert rule inet meshproxy MESHPROXY_OUTBOUND tcp dport 7 return")
        assert check(backend, wanted) == ["nftables: strange in inet meshproxy: tcp dport 7 return"]
    assert check(backend, replace(wanted, outbound_port=16001))
    assert apply(backend, wanted)
    assert check(backend, wanted) == []


@both_backends
def test_rules_in_another_order_are_not_the_same(app: Host, backend: str) -> None:
    apply(backend, plan())
    if backend == "iptables":
        app.run("iptables", *"-t nat -D MESHPROXY_OUTBOUND -o lo -j RETURN".split())
        app.run("iptables", *"-t nat -A MESHPROXY_OUTBOUND -o lo -j RETURN".split())
    else:
        app.run("nft", "add rule inet meshproxy MESHPROXY_OUTBOUND meta skuid 1500 return")
    (said,) = check(backend, plan())
    assert "another order" in said


def test_lost_routing_is_missed_and_mended(app: Host) -> None:
    wanted = plan(tproxy=True)
    apply("nftables", wanted)
    app.run("ip", "-6", "route", "flush", "table", "28016")
    assert check("nftables", wanted) == ["missing: ip -6 route add local default dev lo table 28016"]
    apply("nftables", wanted)
    assert check("nftables", wanted) == []


def test_chains_of_a_mesh_that_is_not_ours_are_not_taken(app: Host) -> None:
    app.run("iptables", "-t", "nat", "-N", "ISTIO_OUTPUT")
    before = standing(app)
    with pytest.raises(Refused, match="nat has chains that are not ours: ISTIO_OUTPUT; choose another layout"):
        apply("iptables", plan(ISTIO))
    assert standing(app) == before
    apply("iptables", plan(FSM))
    remove("iptables")
    assert standing(app) == before


FAILING = """#!/bin/sh
case "$*" in list*|*show*) exec {real} "$@";; esac
echo 'line 3 failed' >&2
exit 1
"""


@pytest.mark.parametrize("tool", ["ip6tables-restore", "nft", "ip"])
def test_if_one_part_fails_all_is_as_it_was(
    app: Host, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    someone_has_rules(app)
    backend = "nftables" if tool == "nft" else "iptables"
    new = replace(EVERYTHING, layout=MESHPROXY)
    (tmp_path / tool).write_text(FAILING.format(real=shutil.which(tool)))
    (tmp_path / tool).chmod(0o755)
    for old in (None, plan(FSM, exclude_uids=(9,))):
        if old:
            apply(backend, old)
            # Between our hooks and behind them: they have to come back to their places.
            for chain in ("PREROUTING", "OUTPUT"):
                app.run("iptables", *f"-t nat -A {chain} -p tcp --dport 4 -j THEIRS".split())
        before = standing(app)
        with monkeypatch.context() as patched:
            patched.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            with pytest.raises(Refused, match=f"^{tool} .*: line 3 failed$"):
                apply(backend, new)
        assert standing(app) == before
    assert check(backend, plan(FSM, exclude_uids=(9,))) == []


def test_a_tool_that_hangs_or_is_not_there_is_said(
    app: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = standing(app)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path))
        with pytest.raises(Refused, match="iptables-save is not here: install iptables, or choose another --backend"):
            apply("iptables", plan())
        with pytest.raises(Refused, match="nft is not here: install nftables"):
            check("nftables", plan())
        assert not remove("nftables")
    (tmp_path / "iptables-restore").write_text("#!/bin/sh\nexec sleep 9\n")
    (tmp_path / "iptables-restore").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(tools, "LONGEST", 0.2)
    with pytest.raises(Refused, match=r"iptables-restore --noflush -w 5: not done in 0\.2 s"):
        apply("iptables", plan())
    monkeypatch.undo()
    assert standing(app) == before


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    port = st.integers(1, 65535)
    spans = st.lists(st.tuples(port, port).map(lambda p: (min(p), max(p))), min_size=1, max_size=40).map(merged)
    network = st.one_of(
        st.builds(lambda a, n: ip_network((a >> n << n, 32 - n)), st.integers(0, 2**32 - 1), st.integers(0, 32)),
        st.builds(lambda a, n: ip_network((a >> n << n, 128 - n)), st.integers(2**33, 2**128 - 1), st.integers(0, 128)),
    )
    networks = st.lists(network, min_size=1, max_size=5, unique=True).map(tuple)
    names = st.lists(st.sampled_from(["eth0", "veth-1.2", "cni0", "a_b"]), min_size=1, unique=True).map(tuple)
    users = st.lists(st.integers(0, 2**32 - 2), max_size=3, unique=True).map(tuple)
    inbound = draw(st.booleans())
    more: dict[str, Any] = {
        "inbound": inbound,
        "outbound": True if not inbound else draw(st.booleans()),
        "tproxy": inbound and draw(st.booleans()),
        "own_calls": draw(st.booleans()),
        "dns_port": draw(st.sampled_from([None, 5300])),
        "families": draw(st.sampled_from([(4,), (6,), (4, 6)])),
        "gids": draw(users),
        "exclude_uids": draw(users),
        "exclude_outbound_cidrs": draw(networks),
        "exclude_interfaces": draw(names),
    }
    for name in ("inbound_ports", "outbound_ports", "exclude_inbound_ports", "exclude_outbound_ports"):
        more[name] = draw(spans)
    for name, some in (("outbound_cidrs", networks), ("interfaces", names)):
        more[name] = draw(st.none() | some)
    return plan(draw(st.sampled_from(list(LAYOUTS.values()))), **more)


@both_backends
def test_every_plan_can_be_put_in_place_and_is_there_as_it_is_printed(backend: str) -> None:
    needs_lab()

    @examples(30, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(plans())
    def every_one(wanted: Plan) -> None:
        apply(backend, wanted)
        assert check(backend, wanted) == []

    with Lab("app") as lab, lab["app"].inside():
        before = standing(lab["app"])
        every_one()
        remove(backend)
        assert standing(lab["app"]) == before
