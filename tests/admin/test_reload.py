"""The road of a configuration: what is refused leaves no trace, what is taken is kept, and layers do not mix."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from meshproxy.admin.reload import Conflict, Missing, Reloader
from meshproxy.dialects import read
from meshproxy.errors import CannotBind, Invalid, Problem
from meshproxy.model import Config, Document, version
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.sources.store import Record, Store

Run = Callable[[Coroutine[Any, Any, None]], None]

A = "clusters: {a: {endpoints: ['127.0.0.1:1']}}"
A2 = "clusters: {a: {endpoints: ['127.0.0.1:2']}}"
B = "clusters: {b: {endpoints: ['127.0.0.1:1']}}"


class Papers:
    """Are as they were, unless a test says otherwise."""

    def __init__(self) -> None:
        self.replaced = False

    async def stale(self) -> bool:
        return self.replaced


class RecordingFleet:
    """Takes everything, or refuses once when told to; knows what was asked of it."""

    def __init__(self) -> None:
        self.papers = Papers()
        self.calls: list[str] = []
        self.refuse: Invalid | None = None
        self.serving: Config | None = None
        self._prepared: Config | None = None

    async def prepare(self, config: Config) -> None:
        self.calls.append("prepare")
        if self.refuse is not None:
            refuse, self.refuse = self.refuse, None
            raise refuse
        self._prepared = config

    async def commit(self) -> None:
        self.papers.replaced = False
        self.calls.append("commit")
        self.serving = self._prepared

    def abort(self) -> None:
        self.calls.append("abort")


class Scene:
    def __init__(self, clock: Any, store: Store | None = None) -> None:
        self.fleet = RecordingFleet()
        self.store = store or Store(None)
        self.stats = ProcessStats("test")
        self.lines: list[str] = []
        self.reloader = Reloader(self.fleet, self.store, self.stats, Log(self.lines.append, clock=clock.wall), clock)

    async def begin(self, *texts: str) -> None:
        def documents() -> Sequence[Document]:
            return [read(text.encode(), f"file{number}") for number, text in enumerate(texts)]

        await self.reloader.begin(documents, "files")

    async def put(self, layer: str, text: str, **options: Any) -> Any:
        return await self.reloader.put(layer, text.encode(), source="PUT", **options)

    @property
    def clusters(self) -> dict[str, str]:
        assert self.fleet.serving is not None
        return {cluster.name: str(cluster.members[0].address) for cluster in self.fleet.serving.clusters}


@pytest.fixture
def scene(clock: Any) -> Callable[..., Scene]:
    return lambda store=None: Scene(clock, store)


def test_a_change_comes_into_force_and_is_kept(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        applied = await s.put("default", A2)
        assert (applied.generation, applied.changes) == (2, ("cluster a: changed (endpoints)",))
        assert s.clusters == {"a": "127.0.0.1:2"}
        assert [summary.generation for summary in s.store.history()] == [2, 1]
        assert s.stats.reloads == {"ok": 2, "refused": 0, "unchanged": 0}

    run(scenario())


def test_what_is_relaxed_is_told_as_long_as_it_is_in_force(run: Run, scene: Callable[..., Scene]) -> None:
    lenient = """
    listeners: [{name: web, listen: '127.0.0.1:0', protocol: http, routes: all, http: {admit: [bare_lf]}}]
    routes: {all: [{reply: {}}]}
    """

    async def scenario() -> None:
        s = scene()
        await s.begin(A, lenient)
        assert s.stats.relaxed == {"web": {"bare_lf": 1}}
        with pytest.raises(Invalid):
            await s.put("default", "listeners: []\nclusterz: {}")
        await s.put("default", A, dry_run=True)
        assert s.stats.relaxed == {"web": {"bare_lf": 1}}
        await s.put("default", A)
        assert s.stats.relaxed == {}

    run(scenario())


def test_the_same_again_is_no_change(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        s.fleet.calls.clear()
        applied = await s.put("default", A + "  # and a comment")
        assert (applied.generation, applied.changes, s.fleet.calls) == (1, (), [])
        assert s.stats.reloads["unchanged"] == 1

    run(scenario())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just words",
        "clusters: {a: {endpoints: [1.2.3.4]}}",
        "listeners: [{name: x, listen: '127.0.0.1:0', protocol: tcp, cluster: nobody}]",
        "workers: 4",
        "admin: {listen: '127.0.0.1:1'}",
        "include: [/etc/passwd]",
        "a: &a [x]\nb: [*a, *a]",
        "clusters: {}\nclusters: {}",
        "\x00",
    ],
)
def test_a_refusal_leaves_no_trace_but_is_told_everywhere(run: Run, scene: Callable[..., Scene], text: str) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        serving, layers = s.fleet.serving, dict(s.reloader.layers)
        with pytest.raises(Invalid) as refusal:
            await s.put("default", text)
        assert refusal.value.problems
        assert (s.fleet.serving, s.reloader.layers, s.reloader.generation) == (serving, layers, 1)
        assert s.reloader.refusal is not None
        assert s.reloader.refusal.problems == refusal.value.problems
        assert s.stats.reloads["refused"] == 1
        assert s.stats.last_reload_successful == 0
        assert any("config-refused" in line for line in s.lines)
        assert len(s.store.history()) == 1
        await s.put("default", A2)
        assert s.reloader.refusal is None

    run(scenario())


def test_what_the_fleet_refuses_is_a_refusal(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        s.fleet.refuse = CannotBind([Problem("listeners[0].listen", "in use")])
        with pytest.raises(Invalid, match="in use"):
            await s.put("default", A2)
        assert s.clusters == {"a": "127.0.0.1:1"}
        assert s.reloader.generation == 1

    run(scenario())


def test_a_dry_run_says_what_would_change_and_changes_nothing(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        s.fleet.calls.clear()
        applied = await s.put("default", A2, dry_run=True)
        assert applied.changes == ("cluster a: changed (endpoints)",)
        assert s.fleet.calls == ["prepare", "abort"]
        assert (s.clusters, s.reloader.generation) == ({"a": "127.0.0.1:1"}, 1)
        with pytest.raises(Invalid):
            await s.put("default", "nonsense: 1", dry_run=True)
        assert s.reloader.refusal is None

    run(scenario())


def test_layers_are_replaced_whole_and_may_not_define_a_name_twice(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        await s.put("mesh", B)
        assert set(s.clusters) == {"a", "b"}
        with pytest.raises(Invalid) as refusal:
            await s.put("other", A2)
        assert "file0" in str(refusal.value)
        await s.put("mesh", "clusters: {c: {endpoints: ['127.0.0.1:1']}}")
        assert set(s.clusters) == {"a", "c"}
        await s.reloader.delete("mesh", source="DELETE")
        assert set(s.clusters) == {"a"}
        with pytest.raises(Missing):
            await s.reloader.delete("mesh", source="DELETE")

    run(scenario())


def test_if_match_guards_a_layer_and_not_the_others(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        seen = s.reloader.layers["default"].etag
        await s.put("mesh", B)
        await s.put("default", A2, if_match=seen)
        with pytest.raises(Conflict):
            await s.put("default", A, if_match=seen)
        await s.put("default", A, if_match="*")
        with pytest.raises(Conflict):
            await s.put("new", B, if_match="*")
        assert s.clusters["a"] == "127.0.0.1:1"

    run(scenario())


def test_changes_at_the_same_time_wait_for_each_other(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        texts = [f"clusters: {{l{n}: {{endpoints: ['127.0.0.1:{n + 1}']}}}}" for n in range(10)]
        applied = await asyncio.gather(*(s.put(f"layer{n}", text) for n, text in enumerate(texts)))
        assert sorted(one.generation for one in applied) == list(range(2, 12))
        assert len(s.clusters) == 11
        assert s.fleet.calls == ["prepare", "commit"] * 11

    run(scenario())


def test_rollback_is_a_new_generation_with_the_old_words(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        await s.put("default", A2)
        await s.put("mesh", B)
        applied = await s.reloader.rollback(None, source="rollback")
        assert (applied.generation, s.clusters) == (4, {"a": "127.0.0.1:2"})
        await s.reloader.rollback(1, source="rollback")
        assert s.clusters == {"a": "127.0.0.1:1"}
        with pytest.raises(Missing):
            await s.reloader.rollback(99, source="rollback")

    run(scenario())


def test_the_last_good_one_serves_where_the_files_are_invalid(
    run: Run, scene: Callable[..., Scene], tmp_path: Path
) -> None:
    async def scenario() -> None:
        s = scene(Store(tmp_path))
        await s.begin(A)
        await s.put("mesh", B)
        again = scene(Store(tmp_path))
        await again.begin("nonsense: 1")
        assert set(again.clusters) == {"a", "b"}
        assert again.reloader.generation == 2
        assert again.reloader.refusal is not None
        assert "nonsense" in str(again.reloader.refusal.problems[0])

    run(scenario())


def test_valid_files_win_and_keep_the_layers_of_others(run: Run, scene: Callable[..., Scene], tmp_path: Path) -> None:
    async def scenario() -> None:
        s = scene(Store(tmp_path))
        await s.begin(A)
        await s.put("mesh", B)
        again = scene(Store(tmp_path))
        await again.begin(A2)
        assert again.clusters == {"a": "127.0.0.1:2", "b": "127.0.0.1:1"}
        assert again.reloader.generation == 3
        clash = scene(Store(tmp_path))
        await clash.begin(A2, B)
        assert clash.clusters == {"a": "127.0.0.1:2", "b": "127.0.0.1:1"}
        assert set(clash.reloader.layers) == {"default"}

    run(scenario())


def test_without_anything_good_a_start_fails(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        with pytest.raises(Invalid):
            await s.begin("nonsense: 1")
        assert s.fleet.serving is None

    run(scenario())


def test_an_address_that_cannot_be_bound_is_not_hidden_by_an_older_configuration(
    run: Run, scene: Callable[..., Scene], tmp_path: Path
) -> None:
    async def scenario() -> None:
        await scene(Store(tmp_path)).begin(A)
        s = scene(Store(tmp_path))
        s.fleet.refuse = CannotBind([Problem("listeners[0].listen", "in use")])
        with pytest.raises(CannotBind):
            await s.begin(A2)

    run(scenario())


def test_a_restart_with_the_same_files_is_the_same_generation(
    run: Run, scene: Callable[..., Scene], tmp_path: Path
) -> None:
    async def scenario() -> None:
        await scene(Store(tmp_path)).begin(A)
        again = scene(Store(tmp_path))
        await again.begin(A)
        assert again.reloader.generation == 1
        assert len(again.store.history()) == 1

    run(scenario())


def test_a_full_disk_does_not_keep_traffic_from_its_configuration(
    run: Run, scene: Callable[..., Scene], tmp_path: Path
) -> None:
    async def scenario() -> None:
        (tmp_path / "blocked").write_text("a file where a directory is needed")
        s = scene(Store(tmp_path / "blocked"))
        await s.begin(A)
        await s.put("default", A2)
        assert s.clusters == {"a": "127.0.0.1:2"}
        assert any("config-not-kept" in line for line in s.lines)

    run(scenario())


def test_a_secret_is_shown_as_a_digest_and_accepted_back(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin("admin: {token: hunter2-hunter2}\n" + A)
        shown = s.reloader.layers["default"].redacted
        assert "hunter2" not in json.dumps(shown)
        before = version(s.reloader.config)
        shown["clusters"]["a"]["endpoints"] = ["127.0.0.1:7"]
        await s.put("default", json.dumps(shown))
        assert s.reloader.config.admin.token is not None
        assert s.reloader.config.admin.token.text == "hunter2-hunter2"
        assert version(s.reloader.config) != before
        assert not any("hunter2" in line for line in s.lines)

    run(scenario())


def test_a_digest_is_no_secret_at_the_start(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        with pytest.raises(Invalid, match="redacted"):
            await scene().begin("admin: {token: {redacted: '" + "0" * 64 + "'}}\n" + A)

    run(scenario())


def test_a_draining_process_takes_nothing_new(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        s.reloader.closed = True
        with pytest.raises(Invalid, match="drains"):
            await s.put("default", A2)

    run(scenario())


def test_what_comes_to_its_end_while_the_process_drains_is_not_taken(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        prepare = s.fleet.prepare

        async def and_then_the_drain_begins(config: Config) -> None:
            await prepare(config)
            s.reloader.closed = True

        s.fleet.prepare = and_then_the_drain_begins  # type: ignore[method-assign]
        with pytest.raises(Invalid, match="drains"):
            await s.put("default", A2)
        assert s.fleet.calls[-1] == "abort"
        assert s.clusters == {"a": "127.0.0.1:1"}

    run(scenario())


def test_a_record_that_this_version_does_not_understand_keeps_no_file_from_serving(
    run: Run, scene: Callable[..., Scene]
) -> None:
    async def scenario() -> None:
        store = Store(None)
        store.save(Record(7, "v", 0.0, "a newer version", (), {"default": {"quantum": True}}))
        s = scene(store)
        await s.begin(A)
        assert s.clusters == {"a": "127.0.0.1:1"}
        assert any("record-skipped" in line and "quantum" in line for line in s.lines)
        assert s.reloader.generation == 8

    run(scenario())


def test_what_files_hold_is_renewed_without_a_new_generation(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        s.fleet.calls.clear()
        await s.reloader.renew()
        assert s.fleet.calls == [], "nothing is stale"
        s.fleet.papers.replaced = True
        await s.reloader.renew()
        assert s.fleet.calls == ["prepare", "commit"]
        assert (s.reloader.generation, len(s.store.history())) == (1, 1)
        assert s.clusters == {"a": "127.0.0.1:1"}

    run(scenario())


def test_a_renewal_that_is_refused_is_told_and_no_reload(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        s.fleet.papers.replaced = True
        s.fleet.refuse = Invalid([Problem("listeners.web.tls.key", "is not the key of its certificate")])
        await s.reloader.renew()
        assert s.stats.certificate_renewals["refused"] == 1
        assert s.stats.last_reload_successful
        assert s.stats.reloads["refused"] == 0
        assert s.reloader.refusal is not None
        assert s.reloader.refusal.as_json()["source"] == "certificates"
        assert any("certificates-refused" in line for line in s.lines)
        assert any("listeners.web.tls.key: is not the key" in line for line in s.lines)
        await s.reloader.renew()
        assert s.reloader.refusal is None
        s.fleet.papers.replaced = True
        with pytest.raises(Invalid):
            await s.put("default", "clusterz: {}")
        await s.reloader.renew()
        assert s.reloader.refusal.source == "PUT", "that of a configuration is still true"

    run(scenario())


def test_the_same_again_renews_what_files_hold(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        s.fleet.calls.clear()
        s.fleet.papers.replaced = True
        s.fleet.refuse = Invalid([Problem("listeners.web.tls.key", "is not the key of its certificate")])
        with pytest.raises(Invalid):
            await s.put("default", A)
        applied = await s.put("default", A)
        assert (applied.generation, applied.changes) == (1, ())
        assert s.fleet.calls == ["prepare", "prepare", "commit"]

    run(scenario())


def test_who_drains_renews_nothing(run: Run, scene: Callable[..., Scene]) -> None:
    async def scenario() -> None:
        s = scene()
        await s.begin(A)
        s.fleet.calls.clear()
        s.fleet.papers.replaced = s.reloader.closed = True
        await s.reloader.renew()
        assert s.fleet.calls == []

    run(scenario())


FSM = json.dumps({
    "Spec": {}, "AllowedEndpoints": {"10.0.0.7": ""}, "Certificate": dict.fromkeys(
        ("CertChain", "PrivateKey", "IssuingCA"), "-----BEGIN X-----"
    ) | {"CommonName": "books.shop.cluster.local"},
    "Inbound": {
        "TrafficMatches": {"80": {
            "Protocol": "http", "HttpHostPort2Service": {"books": "r"}, "HttpServiceRouteRules": {
                "r": {"RouteRules": [{"Path": "/", "AllowedServices": ["buyer.shop"], "TargetClusters": {"c": 1}}]}
            },
        }},
        "ClustersConfigs": {"c": {"127.0.0.1:8080": 1}},
    },
})  # fmt: skip


def believes_a_header(config: Config) -> bool:
    return not config.routes[0].rules[0].match.identities


def test_a_fault_that_was_had_back_ends_with_its_switch_after_a_rollback_or_restart(run: Run, clock: Any) -> None:
    async def story() -> None:
        scene = Scene(clock)
        await scene.begin("drain: {}")
        await scene.put("mesh", FSM)
        await scene.put("faults", "compat: {identity: header}")
        assert believes_a_header(scene.reloader.config)
        await scene.put("more", B)
        await scene.reloader.rollback(None, source="POST")
        later = Scene(clock, scene.store)
        await later.begin("drain: {}")
        for each in (scene, later):
            assert believes_a_header(each.reloader.config)
            await each.reloader.delete("faults", source="DELETE")
            assert not believes_a_header(each.reloader.config)

    run(story())


def test_what_was_kept_and_is_no_text_is_no_layer(run: Run, clock: Any) -> None:
    async def story() -> None:
        for said in (None, [1], [["f", None]], [["f", "a", "b"]]):
            store = Store(None)
            store.save(Record(7, "v", 0.0, "PUT", (), {"mesh": {"said": said}}))
            scene = Scene(clock, store)
            await scene.begin(A)
            assert scene.reloader.layers.keys() == {"default"}

    run(story())
