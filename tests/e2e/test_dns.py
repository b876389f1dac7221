"""Names answered by processes, with a name server behind them that others wrote: dnsmasq (scripts/install-peers)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.discovery.test_dns_real import PROGRAM, Dnsmasq
from tests.e2e.conftest import LONGEST, Running, Start, poll
from tests.wire import dns_messages as dns

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no dnsmasq on this machine (scripts/install-peers)")

NXDOMAIN, REFUSED, SERVFAIL = 3, 5, 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Dnsmasq]:
    hosts = tmp_path / "hosts"
    hosts.write_text("".join(f"10.1.{high}.{low} many.test\n" for high in range(2) for low in range(1, 151)))
    started = Dnsmasq(hosts)
    yield started
    started.close()


def config(server: Dnsmasq, **names: Any) -> dict[str, Any]:
    return {
        "workers": 2,
        "dns": {"servers": [str(server.address)], "names": names},
        "listeners": [{"name": "dns", "listen": "127.0.0.1:0", "protocol": "dns"}],
        "clusters": {},
    }


class Client:
    def __init__(self, proxy: Running) -> None:
        _, (listener,) = proxy.ask("GET", "/listeners?format=json")
        self._udp, self._tcp = (int(each.rpartition(":")[2]) for each in listener["listen"].split(", "))

    def ask(self, name: str, kind: int = dns.A, **how: Any) -> dns.Heard:
        """Each from another port, so that every worker is asked some of them."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(LONGEST)
            sock.connect(("127.0.0.1", self._udp))
            sock.send(dns.query(name, kind, **how))
            return dns.heard(sock.recv(65535))

    def over_tcp(self, *names: str) -> list[dns.Heard]:
        """All of them at once, and the answers in the order of the questions."""
        with socket.create_connection(("127.0.0.1", self._tcp), timeout=LONGEST) as sock:
            messages = [dns.query(name, id=number) for number, name in enumerate(names)]
            sock.sendall(b"".join(len(each).to_bytes(2) + each for each in messages))
            sock.shutdown(socket.SHUT_WR)
            with sock.makefile("rb") as stream:
                found = [dns.heard(stream.read(int.from_bytes(stream.read(2)))) for _ in names]
                assert stream.read() == b""
        return sorted(found, key=lambda heard: heard.id)


def test_what_a_real_server_says_and_what_the_table_says(start: Start, server: Dnsmasq) -> None:
    proxy = start(config(server, **{"shop.test": ["10.9.9.9", "fd00::9"]}))
    client = Client(proxy)
    for _ in range(4):
        assert client.ask("shop.test").addresses == ["10.9.9.9"]
        heard = client.ask("Books.TEST", size=1232)
        assert (heard.addresses, heard.asked) == (["10.0.0.2"], dns.question("Books.TEST", dns.A))
        assert client.ask("books.test", dns.AAAA).addresses == ["fd00::1"]
        assert client.ask("nobody.test").rcode == NXDOMAIN
        assert client.ask("elsewhere.example").rcode == SERVFAIL
        assert client.ask("many.test", size=4096).truncated
    assert [kind for _, kind, _, _ in client.ask("www.test").answers] == [dns.CNAME, dns.A]
    many, shop, books = client.over_tcp("many.test", "shop.test", "books.test")
    assert (len(many.addresses), shop.addresses, books.addresses) == (300, ["10.9.9.9"], ["10.0.0.2"])

    proxy.put(config(server, **{"shop.test": ["10.9.9.8"]}))
    poll(lambda: client.ask("shop.test").addresses == ["10.9.9.8"], "the new table")
    for _ in range(30):
        client.ask("books.test")
    server.close()
    assert [client.ask("books.test").addresses for _ in range(4)] == [["10.0.0.2"]] * 4, "every worker remembers"
    metrics = proxy.ask("GET", "/metrics")[1]
    for result in ("table", "cache", "upstream", "failed"):
        assert f'meshproxy_dns_queries_total{{listener="dns",result="{result}"}} 0\n' not in metrics
        assert f'meshproxy_dns_queries_total{{listener="dns",result="{result}"}}' in metrics
