"""What becomes of connections and questions on real hosts, with either backend and in either family."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from meshproxy.net.origdst import original
from meshproxy.redirect.apply import apply
from meshproxy.redirect.layouts import FSM, ISTIO
from meshproxy.redirect.plan import Plan
from tests.lab import Lab, needs_lab
from tests.redirect.played import ANYBODY, BACKENDS, FAMILIES, Net, plan, talk

PROXY = 1500


@pytest.fixture(params=[f"{backend}-{family}" for backend in BACKENDS for family in FAMILIES])
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    needs_lab()
    family = request.param[-1]
    with Lab("app", "client") as lab:
        net = Net(lab, int(family))
        yield net
        net.close()


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["net"][:-2])


def put(net: Net, backend: str, wanted: Plan) -> None:
    with net.lab["app"].inside():
        assert apply(backend, wanted)


def test_what_the_application_sends_comes_to_the_proxy_but_not_what_the_proxy_sends(net: Net, backend: str) -> None:
    put(net, backend, plan())
    proxy, server = net.listen("app", 15001), net.listen("client", 80)
    asking = net.connect("app", (net.client, 80))
    taken = net.accepted(proxy)
    assert original(taken) == (net.client, 80)
    talk(asking, taken)
    net.connect("app", (net.client, 80), uid=PROXY)
    assert net.reached(proxy, server) == (80, (net.client, 80))


def test_what_is_excluded_passes_by(net: Net, backend: str) -> None:
    away = ip_network(net.client)
    put(net, backend, plan(exclude_outbound_ports=((22, 22), (3000, 3010)), exclude_uids=(7,)))
    proxy = net.listen("app", 15001)
    servers = [net.listen("client", port) for port in (22, 80, 3005)]
    for port, uid, reached in ((22, ANYBODY, 22), (3005, ANYBODY, 3005), (80, ANYBODY, 15001), (80, 7, 80)):
        net.connect("app", (net.client, port), uid=uid)
        assert net.reached(proxy, *servers)[0] == reached
    put(net, backend, plan(exclude_outbound_cidrs=(away,)))
    net.connect("app", (net.client, 80))
    assert net.reached(proxy, *servers)[0] == 80
    put(net, backend, plan(exclude_interfaces=("eth0",)))
    net.connect("app", (net.client, 80))
    assert net.reached(proxy, *servers)[0] == 80


def test_only_what_is_listed_is_redirected(net: Net, backend: str) -> None:
    spans = tuple((port, port) for port in range(80, 120, 2))
    there = (ip_network(net.client),)
    put(net, backend, plan(outbound_ports=spans, outbound_cidrs=there, inbound_ports=((8080, 8080),)))
    proxy, inbound, app = net.listen("app", 15001), net.listen("app", 15003), net.listen("app", 9090)
    servers = [net.listen("client", port) for port in (81, 118)]
    net.connect("app", (net.client, 118))
    assert net.reached(proxy, *servers) == (15001, (net.client, 118))
    net.connect("app", (net.client, 81))
    assert net.reached(proxy, *servers) == (81, (net.client, 81))
    net.connect("client", (net.app, 9090))
    assert net.reached(inbound, app)[0] == 9090
    net.connect("client", (net.app, 8080))
    assert net.reached(inbound, app) == (15003, (net.app, 8080))
    put(net, backend, plan(interfaces=("eth7",)))
    net.connect("app", (net.client, 118))
    assert net.reached(proxy, *servers)[0] == 118


def test_what_comes_to_the_application_comes_to_the_proxy(net: Net, backend: str) -> None:
    put(net, backend, plan(exclude_inbound_ports=((22, 22),)))
    proxy = net.listen("app", 15003)
    others = [net.listen("app", port) for port in (22, 8080, 15001, 15021)]
    asking = net.connect("client", (net.app, 8080))
    taken = net.accepted(proxy)
    assert (original(taken), taken.getpeername()[0]) == ((net.app, 8080), net.client)
    talk(asking, taken)
    for port in (22, 15021):
        net.connect("client", (net.app, port))
        assert net.reached(proxy, *others)[0] == port
    # Nobody comes from outside to where only the kernel sends.
    assert net.lost("client", (net.app, 15001))
    assert net.lost("client", (net.app, 15003))


def test_the_admin_port_of_fsm_is_not_for_those_outside(net: Net, backend: str) -> None:
    put(net, backend, plan(FSM))
    admin, metrics, inbound = (net.listen("app", port) for port in (15000, 15010, 15003))
    assert net.lost("client", (net.app, 15000))
    net.connect("client", (net.app, 15010))
    assert net.reached(admin, metrics, inbound)[0] == 15010
    net.connect("app", (net.lo, 15000))
    assert net.reached(admin, metrics, inbound)[0] == 15000


def test_what_stays_on_the_host_is_left_alone(net: Net, backend: str) -> None:
    put(net, backend, plan())
    proxies, app = [net.listen("app", port) for port in (15001, 15003)], net.listen("app", 8080)
    for to in (net.lo, net.app):
        for uid in (ANYBODY, PROXY):
            net.connect("app", (to, 8080), uid=uid)
            assert net.reached(*proxies, app)[0] == 8080


@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_a_call_of_a_service_to_itself_comes_in_once(net: Net, backend: str, mode: str) -> None:
    net.lab["app"].run("ip", "-6", "addr", "add", "::6/128", "dev", "lo")
    put(net, backend, plan(ISTIO, tproxy=mode == "tproxy"))
    inbound, app = net.listen("app", 15006), net.listen("app", 8080)
    proxy = ISTIO.uid
    # The proxy has chosen its own host as the endpoint: as if that call came from elsewhere.
    net.connect("app", (net.app, 8080), uid=proxy)
    assert net.reached(inbound, app) == (15006, (net.app, 8080))
    # What it then sends to the application beside it must not come back.
    net.connect("app", (net.lo, 8080), uid=proxy)
    assert net.reached(inbound, app)[0] == 8080
    net.connect("app", (net.app, 8080), uid=proxy, source="127.0.0.6" if "." in net.app else "::6")
    assert net.reached(inbound, app)[0] == 8080
    net.connect("app", (net.app, 8080))
    assert net.reached(inbound, app)[0] == 8080


def test_questions_for_names_come_to_the_proxy(net: Net, backend: str) -> None:
    put(net, backend, plan(dns_port=5300))
    udp = net.made("app", socket.SOCK_DGRAM)
    udp.bind((net.lo, 5300))
    tcp, elsewhere = net.listen("app", 5300), net.listen("client", 53)
    asking = net.made("app", socket.SOCK_DGRAM, uid=ANYBODY)
    # Connected, it hears only who has the address that was asked.
    asking.connect((net.client, 53))
    asking.send(b"books.shop?")
    question, who = udp.recvfrom(99)
    udp.sendto(b"10.0.0.1", who)
    assert (question, asking.recv(99)) == (b"books.shop?", b"10.0.0.1")
    talk(net.connect("app", (net.client, 53)), net.accepted(tcp))
    net.connect("app", (net.client, 53), uid=PROXY)
    assert net.reached(tcp, elsewhere)[0] == 53
    assert net.lost("client", (net.app, 5300))


def test_fsm_has_a_resolver_of_its_own(net: Net, backend: str) -> None:
    if "." not in net.app:
        pytest.skip("its address is one of IPv4")
    put(net, backend, plan(FSM, dns_port=5300))
    udp = net.made("app", socket.SOCK_DGRAM)
    udp.bind(("127.0.0.153", 5300))
    asking = net.made("app", socket.SOCK_DGRAM, uid=ANYBODY)
    asking.connect(("127.0.0.153", 53))
    asking.send(b"books.shop?")
    _, who = udp.recvfrom(99)
    udp.sendto(b"10.0.0.1", who)
    assert asking.recv(99) == b"10.0.0.1"


@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_a_connection_that_is_older_than_the_rules_goes_on(net: Net, backend: str, mode: str) -> None:
    server, app = net.listen("client", 80), net.listen("app", 8080)
    pairs = [
        (net.connect("app", (net.client, 80)), net.accepted(server)),
        (net.connect("client", (net.app, 8080)), net.accepted(app)),
    ]
    put(net, backend, plan(tproxy=mode == "tproxy"))
    for one, other in pairs:
        talk(one, other)
        talk(other, one)


@pytest.mark.parametrize("own_calls", [False, True])
def test_tproxy_keeps_both_addresses(net: Net, backend: str, own_calls: bool) -> None:
    put(net, backend, plan(tproxy=True, own_calls=own_calls, exclude_inbound_ports=((22, 22),)))
    proxy = net.listen("app", 15003, uid=PROXY, transparent=True)
    ssh, app = net.listen("app", 22), net.listen("app", 8080)
    asking = net.connect("client", (net.app, 8080))
    taken = net.accepted(proxy)
    assert taken.getsockname()[:2] == original(taken) == (net.app, 8080)
    assert taken.getpeername()[:2] == asking.getsockname()[:2]
    talk(asking, taken)
    # To the application it speaks with the address of that client, and what the application answers comes back.
    onward = net.connect("app", (net.app, 8080), uid=PROXY, source=net.client, transparent=True)
    served = net.accepted(app)
    assert served.getpeername()[0] == net.client
    talk(onward, served)
    talk(asking, taken)
    net.connect("client", (net.app, 22))
    assert net.reached(proxy, ssh)[0] == 22
    assert net.lost("client", (net.app, 15003))


def test_tproxy_serves_what_is_routed_over_this_host_as_well(net: Net, backend: str) -> None:
    put(net, backend, plan(tproxy=True))
    proxy = net.listen("app", 15003, uid=PROXY, transparent=True)
    far = "10.99.0.1" if "." in net.app else "fd99::1"
    net.lab["client"].run("ip", "route", "add", far, "via", net.app)
    asking = net.connect("client", (far, 80))
    taken = net.accepted(proxy)
    assert taken.getsockname()[:2] == (far, 80)
    talk(asking, taken)
