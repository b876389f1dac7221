"""What the MQTT codec costs beside amqtt's: messages of about 130 bytes, read and written.

Everything happens in this process, without a socket.  amqtt reads by coroutines out of a `StreamReader`, as in its own
broker, or out of a buffer that holds one packet; they are driven here by hand, so no event loop is paid for.  A figure
is the best of many passes over a thousand messages, in microseconds for each.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import random
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.harness import OURS, Plan, Result, interleave, note
from benchmarks.micro.h1 import best
from meshproxy.wire.mqtt import V5, V311, Frames, decode, publish, topic_at

THEIRS, THEIRS_WHOLE = "amqtt", "amqtt, of whole packets"
TOPICS_ONLY = f"{OURS}, topic only"
MESSAGES, SITES = 1000, 50
PAYLOAD = 92
LARGEST = 1 << 20

Read = Callable[[bytes], object]


def run(plan: Plan) -> list[Result]:
    rng = random.Random(1)
    light = [message(rng, V311, 0) for _ in range(MESSAGES)]
    messages = [message(rng, V311, 1) for _ in range(MESSAGES)]
    newer = [message(rng, V5, 1) for _ in range(MESSAGES)]
    together = [b"".join(messages)]
    seconds = plan.seconds / 10

    def measured(work: str, subjects: dict[str, Read], inputs: list[bytes]) -> Result:
        each = MESSAGES // len(inputs)
        samples = interleave(subjects, plan.rounds, lambda read: best(read, inputs, seconds) / each)
        for theirs in samples.keys() & {THEIRS, THEIRS_WHOLE}:
            for ours in samples.keys() - {THEIRS, THEIRS_WHOLE}:
                times = min(samples[theirs]) / min(samples[ours])
                note(f"{work}: {ours} is {times:.1f} times as fast as {theirs}")
        return Result(f"micro mqtt: {work}", "µs", samples)

    ours = {OURS: reader(V311), TOPICS_ONLY: topics_only()}
    theirs = amqtt_readers()
    return [
        measured("PUBLISH of 3.1.1, QoS 0", ours | theirs, light),
        measured("PUBLISH of 3.1.1, QoS 1", ours | theirs, messages),
        measured("PUBLISH of 5.0, QoS 1", {OURS: reader(V5)}, newer),
        measured(f"PUBLISH of 3.1.1, QoS 1, {MESSAGES} in one piece", ours, together),
        measured("PUBLISH of 3.1.1, QoS 1, read and written", {OURS: rewriter()} | amqtt_rewriter(), messages),
    ]


def message(rng: random.Random, level: int, qos: int) -> bytes:
    topic = b"site/%d/line/%d/temperature" % (rng.randrange(SITES), rng.randrange(4))
    return publish(topic, rng.randbytes(PAYLOAD), qos, False, False, rng.randrange(1, 65536), {}, level)


def reader(level: int) -> Read:
    feed = Frames(LARGEST).feed

    def read(chunk: bytes) -> None:
        data, cuts = feed(chunk)
        for start, body, end in cuts:
            decode(level, data, start, body, end)

    return read


def topics_only() -> Read:
    feed = Frames(LARGEST).feed

    def read(chunk: bytes) -> None:
        data, cuts = feed(chunk)
        for _, body, end in cuts:
            topic_at(data, body, end)

    return read


def rewriter() -> Read:
    feed = Frames(LARGEST).feed

    def read(chunk: bytes) -> None:
        data, cuts = feed(chunk)
        for start, body, end in cuts:
            packet: Any = decode(V311, data, start, body, end)
            publish(packet.topic, packet.payload, packet.qos, packet.retain, packet.dup, 1, {}, V311)

    return read


def amqtt_readers() -> dict[str, Read]:
    if importlib.util.find_spec("amqtt") is None:
        note("amqtt skipped: not installed")
        return {}
    streamed, whole = amqtt_decoder(streamed=True), amqtt_decoder(streamed=False)
    return {THEIRS: lambda chunk: driven(streamed(chunk)), THEIRS_WHOLE: lambda chunk: driven(whole(chunk))}


def amqtt_rewriter() -> dict[str, Read]:
    if importlib.util.find_spec("amqtt") is None:
        return {}
    decoded = amqtt_decoder(streamed=True)

    def read(chunk: bytes) -> None:
        packet = driven(decoded(chunk))
        packet.packet_id = 1
        packet.to_bytes()

    return {THEIRS: read}


def amqtt_decoder(*, streamed: bool) -> Callable[[bytes], Coroutine[Any, Any, Any]]:
    adapters: Any = importlib.import_module("amqtt.adapters")
    packets: Any = importlib.import_module("amqtt.mqtt.packet")
    publishes: Any = importlib.import_module("amqtt.mqtt.publish")
    loop = asyncio.new_event_loop()
    stream = asyncio.StreamReader(loop=loop)
    loop.close()
    over_stream = adapters.StreamReaderAdapter(stream)

    async def decoded(chunk: bytes) -> Any:
        if streamed:
            stream.feed_data(chunk)
            source = over_stream
        else:
            source = adapters.BufferReader(chunk)
        header = await packets.MQTTFixedHeader.from_stream(source)
        return await publishes.PublishPacket.from_stream(source, fixed_header=header)

    return decoded


def driven(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")
