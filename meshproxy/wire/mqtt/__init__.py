"""MQTT 3.1.1 and 5.0 as a codec: a stream is cut into packets, and packets are read and written.  No socket, no clock.

    frames = Frames(1 << 20)
    data, cuts = frames.feed(b"\\x10\\x10\\x00\\x04MQTT\\x04\\x02\\x00\\x3c\\x00\\x04boat")
    packet = decode(V311, data, *cuts[0])       # Connect(level=4, client_id="boat", clean=True, keep_alive=60, ...)
    encode(Connack(False, Code.SUCCESS), packet.level)      # b"\\x20\\x02\\x00\\x00"

Where to read on: `packets.py` (what there is), `faults.py` (what can be wrong), `frames.py`, `decode.py`.
"""

from meshproxy.wire.mqtt.codes import (
    AUTH,
    CONNACK,
    CONNACK_311,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    V5,
    V311,
    WILL,
    Code,
)
from meshproxy.wire.mqtt.decode import decode
from meshproxy.wire.mqtt.encode import PINGREQ_BYTES, PINGRESP_BYTES, encode, publish
from meshproxy.wire.mqtt.faults import Cut, Fault, Malformed
from meshproxy.wire.mqtt.frames import Frames
from meshproxy.wire.mqtt.opening import looks_like_connect
from meshproxy.wire.mqtt.packets import (
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Pong,
    Properties,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from meshproxy.wire.mqtt.properties import Property, properties_at
from meshproxy.wire.mqtt.topics import check_filter, check_topic, share_of, topic_at

__all__ = [
    "AUTH",
    "CONNACK",
    "CONNACK_311",
    "CONNECT",
    "DISCONNECT",
    "PINGREQ",
    "PINGREQ_BYTES",
    "PINGRESP",
    "PINGRESP_BYTES",
    "PUBACK",
    "PUBCOMP",
    "PUBLISH",
    "PUBREC",
    "PUBREL",
    "SUBACK",
    "SUBSCRIBE",
    "UNSUBACK",
    "UNSUBSCRIBE",
    "V5",
    "V311",
    "WILL",
    "Ack",
    "Auth",
    "Code",
    "Connack",
    "Connect",
    "Cut",
    "Disconnect",
    "Fault",
    "Frames",
    "Malformed",
    "Packet",
    "Ping",
    "Pong",
    "Properties",
    "Property",
    "Publish",
    "Suback",
    "Subscribe",
    "Subscription",
    "Unsuback",
    "Unsubscribe",
    "Will",
    "check_filter",
    "check_topic",
    "decode",
    "encode",
    "looks_like_connect",
    "properties_at",
    "publish",
    "share_of",
    "topic_at",
]
