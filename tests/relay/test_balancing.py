"""Balancing in conversations: keys, cookies, subsets, zones, fail-over and back, slow start."""

from __future__ import annotations

import asyncio
import errno
import re
import select
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.model import Share
from meshproxy.plan import group
from tests.relay.conversation import WITHIN, config, head_of

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

COOKIE = re.compile(rb"Set-Cookie: (books=[0-9a-f]+)((?:; [^;\r]+)*)\r\n")


class Servers:
    """Upstreams of which each answers with its number."""

    def __init__(self, upstream: Upstream, count: int) -> None:
        self.all = [upstream() for _ in range(count)]
        self.addresses = [each.address for each in self.all]

    async def asked(self, client: Any, fields: bytes = b"", target: bytes = b"/a") -> tuple[int, bytes]:
        """Who was asked, and the head of the answer: connections are not used again."""
        await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, fields))
        number, server = await self._accepted()
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        head = await head_of(client)
        server.close()
        return number, head

    async def _accepted(self) -> tuple[int, Any]:
        async with asyncio.timeout(WITHIN):
            while True:
                for number, each in enumerate(self.all):
                    if select.select([each.sock], [], [], 0)[0]:
                        return number, await each.accept()
                await asyncio.sleep(0)

    async def spread(self, client: Any, times: int, fields: bytes = b"") -> Counter[int]:
        return Counter([(await self.asked(client, fields))[0] for _ in range(times)])


def live(w: Any, server: int) -> Any:
    """The endpoint as the balancer sees it."""
    table = w.worker._table._held
    found = [each for key, each in table.items() if key[0] == "endpoint"]
    return found[server]


def state(w: Any) -> Any:
    return w.worker._table.get(("cluster", "up"))


def endpoints(servers: Servers, **of: list[Any]) -> list[dict[str, Any]]:
    """Each with what stands at its place in the lists."""
    return [
        {"address": address, **{key: values[place] for key, values in of.items()}}
        for place, address in enumerate(servers.addresses)
    ]


def said(servers: Servers, rules: list[Any] | None = None, zone: str = "", **cluster: Any) -> dict[str, Any]:
    found = config(rules=rules, pool={"max_idle": 0}, **cluster)
    found["node"] = {"zone": zone}
    found["clusters"]["up"].setdefault("endpoints", [])
    if not found["clusters"]["up"]["endpoints"]:
        found["clusters"]["up"]["endpoints"] = servers.addresses
    return found


def having(found: dict[str, Any], endpoints: list[dict[str, Any]]) -> dict[str, Any]:
    found["clusters"]["up"]["endpoints"] = endpoints
    return found


@pytest.mark.parametrize("balance", ["ring_hash", "maglev"])
def test_requests_with_one_key_go_to_one_endpoint(run: Run, world: World, upstream: Upstream, balance: str) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 3)
        w = world()
        key = [{"header": "x-user"}, {"cookie": "id"}, {"query": "u"}, {"path": True}]
        await w.apply(said(servers, balance=balance, hash=key))
        client = await w.connect()
        homes: dict[bytes, int] = {}
        while len(set(homes.values())) < 3:
            user = b"user-%d" % len(homes)
            assert len(homes) < 100
            homes[user], _ = await servers.asked(client, b"X-User: %b\r\n" % user)
            for fields, target in (
                (b"X-User: %b\r\nCookie: id=other\r\n" % user, b"/b"),
                (b"Cookie: id=%b\r\n" % user, b"/c?u=other"),
                (b"", b"/d?u=%b" % user),
            ):
                assert (await servers.asked(client, fields, target))[0] == homes[user]
        first = homes[b"user-0"]
        live(w, first).doubt("health")
        moved = {user: (await servers.asked(client, b"X-User: %b\r\n" % user))[0] for user in homes}
        assert first not in moved.values()
        if balance == "ring_hash":
            assert all(moved[user] == home for user, home in homes.items() if home != first)
        live(w, first).trust("health")
        assert (await servers.asked(client, b"X-User: user-0\r\n"))[0] == first

    run(scenario())


def test_connections_from_one_address_go_to_one_endpoint(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = [upstream() for _ in range(4)]
        w = world()
        cluster = {"endpoints": [each.address for each in servers], "balance": "maglev", "hash": {"source": True}}
        await w.apply(
            {
                "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}],
                "clusters": {"up": cluster},
            }
        )
        for _ in range(8):
            await w.connect()
        await w.until(lambda: w.stats.clusters["up"].connections_total == 8)
        assert sorted(each.connections_total for each in w.stats.clusters["up"].endpoints.values()) == [0, 0, 0, 8]

    run(scenario())


def test_a_client_stays_where_its_cookie_says(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 3)
        w = world()
        await w.apply(said(servers, sticky={"cookie": "books", "ttl": "1h", "path": "/shop"}))
        client = await w.connect()
        home, head = await servers.asked(client)
        found = COOKIE.search(head)
        assert found is not None
        assert found[2] == b"; Path=/shop; Max-Age=3600; HttpOnly; SameSite=Lax"
        assert servers.addresses[home].encode() not in head
        fields = b"Cookie: a=b; %b; c=d\r\n" % found[1]
        for _ in range(7):
            assert await servers.asked(client, fields) == (home, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        # >> its endpoint becomes unfit   << another one, and its cookie
        live(w, home).doubt("health")
        other, head = await servers.asked(client, fields)
        assert other != home
        found = COOKIE.search(head)
        assert found is not None
        assert (await servers.asked(client, b"Cookie: %b\r\n" % found[1]))[0] == other

        # >> it is fit again   << whoever still has the old cookie is at home
        live(w, home).trust("health")
        assert (await servers.asked(client, fields))[0] == home

        # >> a reload, in which the endpoints are others in another order   << who is still there is known
        await w.apply(having(said(servers, sticky="books"), [{"address": each} for each in servers.addresses[::-1]]))
        client = await w.connect()
        assert await servers.asked(client, fields) == (home, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        # >> no cookie of ours   << a new one each time, for as long as the browser lives
        homes = set()
        for _ in range(3):
            number, head = await servers.asked(client, b"Cookie: books=forged\r\n")
            homes.add(number)
            found = COOKIE.search(head)
            assert found is not None
            assert found[2] == b"; Path=/; HttpOnly; SameSite=Lax"
        assert homes == {0, 1, 2}

    run(scenario())


def test_the_cookie_is_that_of_who_has_answered(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 2)
        w = world()
        rules = [{"cluster": "up", "response_headers": {"set": {"x-from": "%{cluster}"}}}]
        await w.apply(said(servers, rules, sticky="books"))
        client = await w.connect()
        _, head = await servers.asked(client)
        first = COOKIE.search(head)
        assert first is not None
        assert b"x-from: up\r\n" in head
        servers.all[0].close()
        servers.all.pop(0)
        # >> its endpoint cannot be reached   << one that can answers, and the client goes on with that
        _, head = await servers.asked(client, b"Cookie: %b\r\n" % first[1])
        assert len(COOKIE.findall(head)) == 1
        second = COOKIE.search(head)
        assert second is not None
        assert second[1] != first[1]

    run(scenario())


def test_who_was_failed_over_stays_there(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 2)
        w = world()
        await w.apply(having(said(servers, sticky="books"), endpoints(servers, priority=[0, 1])))
        client = await w.connect()
        live(w, 0).doubt("health")
        number, head = await servers.asked(client)
        found = COOKIE.search(head)
        assert found is not None
        live(w, 0).trust("health")
        assert (number, (await servers.asked(client))[0]) == (1, 0)
        assert (await servers.asked(client, b"Cookie: %b\r\n" % found[1]))[0] == 1

    run(scenario())


def test_a_connection_stays_where_it_was_sent_first(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 3)
        w = world()
        await w.apply(said(servers, stay=True))
        clients = [await w.connect() for _ in range(3)]
        homes = [(await servers.asked(client))[0] for client in clients]
        assert sorted(homes) == [0, 1, 2], "each is given the next one"
        for client, home in zip(clients, homes, strict=True):
            assert await servers.spread(client, 4) == {home: 4}

        # >> its endpoint becomes unfit   << another one, with which it stays when the first is fit again
        live(w, homes[0]).doubt("health")
        other, _ = await servers.asked(clients[0])
        assert other != homes[0]
        live(w, homes[0]).trust("health")
        assert await servers.spread(clients[0], 3) == {other: 3}

        # >> a reload in which its endpoint still is
        await w.apply(having(said(servers, stay=True), [{"address": each} for each in servers.addresses[::-1]]))
        assert await servers.spread(clients[0], 3) == {other: 3}
        assert await servers.spread(clients[1], 3) == {homes[1]: 3}

        # >> and one in which it is not
        left = [each for number, each in enumerate(servers.addresses) if number != homes[1]]
        await w.apply(having(said(servers, stay=True), [{"address": each} for each in left]))
        number, _ = await servers.asked(clients[1])
        assert number != homes[1]
        assert await servers.spread(clients[1], 3) == {number: 3}

    run(scenario())


def test_a_connection_stays_in_each_part_of_a_cluster(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 4)
        w = world()
        rules = [
            {"match": {"headers": {"v": {"exact": version}}}, "cluster": "up", "subset": {"version": version}}
            for version in ("1", "2")
        ]
        labels = [{"version": version} for version in ("1", "2", "1", "2")]
        await w.apply(having(said(servers, [*rules, {"cluster": "up"}], stay=True), endpoints(servers, labels=labels)))
        client = await w.connect()
        found = [[(await servers.asked(client, fields))[0] for fields in (b"v: 1\r\n", b"v: 2\r\n", b"")]
                 for _ in range(3)]  # fmt: skip
        assert found[0] == found[1] == found[2]
        assert (found[0][0] % 2, found[0][1] % 2) == (0, 1)

    run(scenario())


def test_who_cannot_be_reached_is_asked_again_as_long_as_it_is_fit(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 2)
        w = world()
        await w.apply(said(servers, stay=True))
        client = await w.connect()
        home, _ = await servers.asked(client)
        servers.all[home].close()
        servers.all.pop(home)
        for _ in range(3):
            assert (await servers.asked(client))[0] == 0
        assert live(w, home).stats.connect_failures_total == 3

    run(scenario())


def test_a_route_asks_for_endpoints_with_labels(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 3)
        w = world()
        v1, v2 = {"version": "v1"}, {"version": "v2"}
        rules = [
            {"match": {"path": {"prefix": "/v1"}}, "cluster": "up", "subset": v1},
            {"match": {"path": {"prefix": "/v2"}}, "split": [{"cluster": "up", "subset": v2}]},
            {"match": {"path": {"prefix": "/v3"}}, "cluster": "up", "subset": {"version": "v3"}},
            {
                "match": {"path": {"prefix": "/any"}},
                "cluster": "up",
                "subset": {"version": "v3"},
                "no_subset": "any",
            },
            {"cluster": "up"},
        ]
        await w.apply(having(said(servers, rules), endpoints(servers, labels=[v1, v2, v1])))
        client = await w.connect()

        async def who(target: bytes) -> set[int]:
            return {(await servers.asked(client, target=target))[0] for _ in range(6)}

        assert await who(b"/v1") == {0, 2}
        assert await who(b"/v2") == {1}
        assert await who(b"/any") == {0, 1, 2}
        assert await who(b"/") == {0, 1, 2}
        live(w, 0).doubt("health")
        assert await who(b"/v1") == {2}
        await client.send(b"GET /v3 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")

    run(scenario())


def test_fail_over_and_back(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 3)
        w = world()
        await w.apply(having(said(servers), endpoints(servers, priority=[0, 0, 1])))
        client = await w.connect()
        assert await servers.spread(client, 10) == {0: 5, 1: 5}
        live(w, 0).doubt("health")
        assert await servers.spread(client, 10) == {1: 7, 2: 3}, "half of the level carries 0.7"
        live(w, 1).doubt("outlier")
        assert await servers.spread(client, 10) == {2: 10}
        live(w, 1).trust("outlier")
        live(w, 0).trust("health")
        assert await servers.spread(client, 10) == {0: 5, 1: 5}

    run(scenario())


def test_a_connection_of_an_old_generation_hears_of_health_as_well(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 3)
        w = world()
        await w.apply(said(servers))
        client = await w.connect()
        await servers.spread(client, 3)
        await w.apply(said(servers, connect_timeout="3s"))
        live(w, 1).doubt("health")
        assert await servers.spread(client, 6) == {0: 3, 2: 3}

    run(scenario())


def test_our_zone_first_and_then_the_others(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 3)
        w = world()
        zones = endpoints(servers, zone=["a", "a", "b"])
        await w.apply(having(said(servers, zone="a"), zones))
        client = await w.connect()
        assert await servers.spread(client, 10) == {0: 5, 1: 5}
        live(w, 0).doubt("health")
        assert await servers.spread(client, 10) == {1: 7, 2: 3}
        live(w, 0).trust("health")

        # >> the proxy runs elsewhere   << another zone is ours, or none
        await w.apply(having(said(servers, zone="b"), zones))
        assert await servers.spread(await w.connect(), 4) == {2: 4}
        await w.apply(having(said(servers, zone="c"), zones))
        assert await servers.spread(await w.connect(), 9) == {0: 3, 1: 3, 2: 3}

    run(scenario())


def test_where_our_zone_cannot_be_reached_another_one_is_tried(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 2)
        w = world()
        await w.apply(having(said(servers, zone="a"), endpoints(servers, zone=["a", "b"])))
        client = await w.connect()
        assert (await servers.asked(client))[0] == 0
        servers.all.pop(0).close()
        assert (await servers.asked(client))[1].startswith(b"HTTP/1.1 200 ")

    run(scenario())


@pytest.mark.parametrize(("panic", "asked"), [(0.5, {0: 4, 1: 4, 2: 4}), (0, {2: 12})])
def test_panic(run: Run, world: World, upstream: Upstream, panic: float, asked: dict[int, int]) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 3)
        w = world()
        await w.apply(said(servers, panic=panic))
        client = await w.connect()
        live(w, 0).doubt("health")
        live(w, 1).doubt("health")
        assert await servers.spread(client, 12) == asked
        live(w, 2).doubt("health")
        if panic:
            assert await servers.spread(client, 12) == asked
        else:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")

    run(scenario())


def test_slow_start(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 2)
        w = world()
        await w.apply(said(servers, slow_start="100s"))
        client = await w.connect()
        assert await servers.spread(client, 10) == {0: 5, 1: 5}, "all are equally new"
        w.clock.advance(100)
        client = await w.connect()
        assert await servers.spread(client, 10) == {0: 5, 1: 5}
        assert state(w)._timer is None, "nobody waits for anything"

        # >> one is away for a moment   << its weight grows from a tenth
        live(w, 1).doubt("health")
        await servers.spread(client, 1)
        live(w, 1).trust("health")
        assert (await servers.spread(client, 22))[1] in (1, 2, 3), "two of 22"
        w.clock.advance(50)
        client = await w.connect()
        assert (await servers.spread(client, 32))[1] in (11, 12, 13), "0.6 of 1.6"
        w.clock.advance(50)
        client = await w.connect()
        assert (await servers.spread(client, 20))[1] == 10

        # >> a new one   << as well, also where it is new in a reload
        found = said(servers, slow_start="100s")
        await w.apply({**found, "clusters": {"up": {**found["clusters"]["up"], "endpoints": servers.addresses[:1]}}})
        await w.apply(found)
        client = await w.connect()
        assert (await servers.spread(client, 22))[1] in (1, 2, 3)

    run(scenario())


def test_who_answers_fast_is_preferred(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 2)
        w = world()
        await w.apply(said(servers, balance="ewma"))
        client = await w.connect()
        slow = 0
        for _ in range(2):  # of each nothing is known
            await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            number, server = await servers._accepted()
            await head_of(server)
            w.clock.advance(0.5 if number == slow else 0.1)
            await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await head_of(client)
        assert [round(live(w, number).latency, 6) for number in range(2)] == [0.5, 0.1]
        assert await servers.spread(client, 8) == {1: 8}

    run(scenario())


def test_who_is_connected_to_fast_is_preferred(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = [upstream() for _ in range(2)]
        w = world()
        cluster = {"endpoints": [each.address for each in servers], "balance": "ewma"}
        await w.apply(
            {
                "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}],
                "clusters": {"up": cluster},
            }
        )
        servers[0].close()
        await w.connect()  # to the one that is gone first, and then to the other
        await w.until(lambda: w.stats.clusters["up"].connections_total)
        assert live(w, 0).latency == 1
        assert live(w, 1).heard == w.clock.now()
        for _ in range(5):
            await w.connect()
        await w.until(lambda: w.stats.clusters["up"].connections_total == 6)
        assert w.stats.clusters["up"].connect_failures_total == 1

    run(scenario())


def test_a_connection_that_is_being_made_is_load(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        servers = Servers(upstream, 1)
        # A queue of length 0 that is full leaves a SYN unanswered.
        stuck = socket.create_server(("127.0.0.1", 0), backlog=0)
        crowd = [socket.socket() for _ in range(3)]
        for sock in crowd:
            sock.setblocking(False)
            assert sock.connect_ex(stuck.getsockname()) == errno.EINPROGRESS
        servers.addresses.insert(0, f"127.0.0.1:{stuck.getsockname()[1]}")
        w = world()
        await w.apply(said(servers, balance="least_request"))
        waiting, client = await w.connect(), await w.connect()
        await waiting.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await w.until(lambda: live(w, 0).dialling)
        assert await servers.spread(client, 6) == {0: 6}, "the only one that answers"
        assert live(w, 0).dialling == 1
        # >> whoever waits for it goes away, or it takes too long   << it is no load any more
        waiting.close()
        await w.until(lambda: not live(w, 0).dialling)
        live(w, 1).doubt("health")
        again = await w.connect()
        await again.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await w.until(lambda: live(w, 0).dialling)
        w.clock.advance(1.1)
        assert (await head_of(again)).startswith(b"HTTP/1.1 504 ")
        assert live(w, 0).dialling == 0
        for sock in (*crowd, stuck):
            sock.close()

    run(scenario())


def test_of_a_hundred_changes_one_is_built(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        built = []
        pick = group.Members.pick

        def counted(members: group.Members, share: Share) -> Any:
            built.append(share)
            return pick(members, share)

        monkeypatch.setattr(group.Members, "pick", counted)
        servers = Servers(upstream, 3)
        w = world()
        await w.apply(said(servers))
        client = await w.connect()
        await servers.spread(client, 5)
        for _ in range(100):
            live(w, 0).doubt("health")
            live(w, 0).trust("health")
        await servers.spread(client, 5)
        assert len(built) == 2

    run(scenario())
