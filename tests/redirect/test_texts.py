"""Which rules a plan takes, in the words of both backends; and what is refused before any is made.  Nothing is run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshproxy.redirect import Refused, iptables, nftables
from meshproxy.redirect.apply import printed
from meshproxy.redirect.layouts import FSM, ISTIO
from meshproxy.redirect.plan import cidrs, ids, interfaces, port, ports
from tests.redirect.played import plan

NOBODY: dict[str, int] = {}
MESHPROXY_4 = """\
# iptables-restore --noflush
*mangle
:MESHPROXY_GUARD - [0:0]
-A MESHPROXY_GUARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m multiport --dports 15001,15003 -j DROP
-A PREROUTING ! -i lo -j MESHPROXY_GUARD
COMMIT
*nat
:MESHPROXY_INBOUND - [0:0]
:MESHPROXY_IN_REDIRECT - [0:0]
:MESHPROXY_OUTBOUND - [0:0]
:MESHPROXY_OUT_REDIRECT - [0:0]
-A MESHPROXY_INBOUND -p tcp -m multiport --dports 15000,15020:15021,15901:15904 -j RETURN
-A MESHPROXY_INBOUND -j MESHPROXY_IN_REDIRECT
-A MESHPROXY_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15003
-A MESHPROXY_OUTBOUND -m owner --uid-owner 1500 -j RETURN
-A MESHPROXY_OUTBOUND -o lo -j RETURN
-A MESHPROXY_OUTBOUND -j MESHPROXY_OUT_REDIRECT
-A MESHPROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j MESHPROXY_INBOUND
-A OUTPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j MESHPROXY_OUTBOUND
COMMIT
"""
FSM_6 = """\
*mangle
:FSM_PROXY_GUARD - [0:0]
:MESHPROXY_AS_FSM - [0:0]
-A FSM_PROXY_GUARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m multiport --dports 6060,15000:15001,15003 -j DROP
-A FSM_PROXY_GUARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m multiport --dports 5300 -j DROP
-A FSM_PROXY_GUARD -p udp -m multiport --dports 5300 -j DROP
-A PREROUTING ! -i lo -j FSM_PROXY_GUARD
COMMIT
*nat
:FSM_PROXY_INBOUND - [0:0]
:FSM_PROXY_IN_REDIRECT - [0:0]
:FSM_PROXY_OUTBOUND - [0:0]
:FSM_PROXY_OUT_REDIRECT - [0:0]
:MESHPROXY_AS_FSM - [0:0]
-A FSM_PROXY_INBOUND -p tcp -m multiport --dports 15010,15901:15904 -j RETURN
-A FSM_PROXY_INBOUND -j FSM_PROXY_IN_REDIRECT
-A FSM_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15003
-A FSM_PROXY_OUTBOUND -s ::6/128 -o lo -j RETURN
-A FSM_PROXY_OUTBOUND ! -d ::1/128 -o lo -m owner --uid-owner 1500 -j FSM_PROXY_INBOUND
-A FSM_PROXY_OUTBOUND -m owner --uid-owner 1500 -j RETURN
-A FSM_PROXY_OUTBOUND -o lo -j RETURN
-A FSM_PROXY_OUTBOUND -j FSM_PROXY_OUT_REDIRECT
-A FSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j FSM_PROXY_INBOUND
-A OUTPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j FSM_PROXY_OUTBOUND
COMMIT
"""
ISTIO_TPROXY = """\
# ip -4 route add local default dev lo table 28016
# ip -4 rule add pref 28016 fwmark 0x6d70 lookup 28016

# nft -f -
table inet meshproxy
delete table inet meshproxy
table inet meshproxy {
	chain ISTIO_GUARD {
		tcp flags & (fin | syn | rst | ack) == syn tcp dport 15006 drop
	}

	chain ISTIO_TPROXY {
		meta l4proto tcp socket transparent 1 meta mark set 0x00006d70
		iifname "eth2" return
		tcp dport { 22, 15008, 15020-15021, 15090 } return
		tcp flags & (fin | syn | rst | ack) == syn tproxy to :15006 meta mark set 0x00006d70 accept
	}

	chain ISTIO_DIVERT {
		oifname "lo" tcp flags & (fin | syn | rst | ack) == syn meta skuid 1337 \
fib saddr type != local ct mark set 0x00006d70
		meta l4proto tcp ct mark 0x00006d70 ct direction reply meta mark set 0x00006d70
	}

	chain mangle_prerouting {
		type filter hook prerouting priority mangle; policy accept;
		meta nfproto ipv4 iifname != "lo" jump ISTIO_GUARD
		meta nfproto ipv4 iifname != "lo" meta l4proto tcp jump ISTIO_TPROXY
	}

	chain mangle_output {
		type route hook output priority mangle; policy accept;
		meta nfproto ipv4 meta l4proto tcp jump ISTIO_DIVERT
	}
}
"""


def test_layout_meshproxy() -> None:
    four, six = printed("iptables", plan()).split("\n\n")
    assert four + "\n" == MESHPROXY_4
    # Nothing in it says an address.
    assert six == MESHPROXY_4.replace("iptables", "ip6tables")


def test_layout_fsm() -> None:
    assert iptables.transition({}, iptables.wanted(plan(FSM, dns_port=5300), 6)) == FSM_6
    four = iptables.transition({}, iptables.wanted(plan(FSM, dns_port=5300), 4))
    assert "-A OUTPUT -d 127.0.0.153/32 -p udp -m multiport --dports 53 -j FSM_PROXY_DNS" in four
    assert "-A FSM_PROXY_DNS -p udp -j DNAT --to-destination 127.0.0.153:5300" in four
    assert "-A FSM_PROXY_OUTBOUND ! -d 127.0.0.0/8 -o lo -m owner --uid-owner 1500 -j FSM_PROXY_INBOUND" in four


def test_layout_istio_with_tproxy() -> None:
    wanted = plan(
        ISTIO,
        tproxy=True,
        outbound=False,
        families=(4,),
        exclude_interfaces=("eth2",),
        exclude_inbound_ports=((22, 22),),
    )
    assert printed("nftables", wanted) == ISTIO_TPROXY


def test_a_rule_of_iptables_has_fifteen_ports_and_a_range_counts_twice() -> None:
    odd = tuple((port, port) for port in range(1, 41, 2))
    nat = iptables.wanted(plan(outbound_ports=(*odd, (100, 200))), 4)["nat"]
    outbound = nat.chains["MESHPROXY_OUT_REDIRECT"]
    assert [line.split()[7] for line in outbound] == [
        "1,3,5,7,9,11,13,15,17,19,21,23,25,27,29",
        "31,33,35,37,39,100:200",
    ]


def test_every_network_goes_to_its_own_family() -> None:
    wanted = plan(outbound_cidrs=cidrs("10.0.0.0/8,fd00::/8,::/0"))
    for version, theirs in ((4, ["-d 10.0.0.0/8 "]), (6, ["-d fd00::/8 ", ""])):
        lines = iptables.wanted(wanted, version)["nat"].chains["MESHPROXY_OUTBOUND"]
        assert [line for line in lines if "OUT_REDIRECT" in line] == [
            f"-A MESHPROXY_OUTBOUND {each}-j MESHPROXY_OUT_REDIRECT" for each in theirs
        ]


def test_what_versions_of_nft_list_differently_is_the_same() -> None:
    text = nftables.text(plan())
    listed = text.replace("tcp flags & (fin | syn | rst | ack) == syn", "tcp flags syn / fin,syn,rst,ack")
    assert listed != text
    assert nftables.lines(listed) == nftables.lines(text)


def test_lists_are_read_and_put_in_order() -> None:
    assert ports("80, 8000-8100,22,81,8050-8200") == ((22, 22), (80, 81), (8000, 8200))
    assert [str(each) for each in cidrs("10.0.0.0/8,fd00::1,10.0.0.0/8")] == ["10.0.0.0/8", "fd00::1/128"]
    assert ids("7,daemon", {"daemon": 1}.__getitem__) == (7, 1)


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (port, "0", "a port is a number from 1 to 65535, not '0'"),
        (port, "http", "not 'http'"),
        (port, "٣", "a port is a number"),
        (ports, "80,", "not ''"),
        (ports, "90-80", "a range of ports goes upwards, not '90-80'"),
        (ports, ",".join(map(str, range(1, 300))), "a list has at most 256 entries"),
        (cidrs, "10.0.0.1/8", "'10.0.0.1/8' is no network: 10.0.0.1/8 has host bits set"),
        (cidrs, "books", "'books' is no network"),
        (cidrs, "fe80::1%lo -j ACCEPT\n-A INPUT -j ACCEPT", "has a zone"),
        (interfaces, "eth0 -j", "'eth0 -j' is no name of an interface"),
        (interfaces, "-i", "no name of an interface"),
        (lambda text: ids(text, NOBODY.__getitem__), "nobody-here", "this host knows nobody of the name 'nobody-here'"),
        (lambda text: ids(text, NOBODY.__getitem__), "4294967295", "no number of a user"),
    ],
)
def test_what_cannot_be_read_is_refused(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        read(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"inbound": False, "outbound": False}, "nothing is left to redirect"),
        ({"inbound_port": 15001}, "outbound, inbound and DNS need ports of their own: 15001, 15001"),
        ({"inbound": False, "tproxy": True}, "tproxy is a way of inbound, which is not redirected"),
        ({"uids": ()}, "say a user or a group of the proxy"),
        ({"interfaces": ("lo",)}, "lo is no interface to choose"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(more: dict[str, object], said: str) -> None:
    with pytest.raises(Refused, match=said):
        plan(**more)  # type: ignore[arg-type]
