"""Each way in which a packet can be malformed is refused, with the code that a peer of 5.0 is told and a word."""

from __future__ import annotations

import pytest

from meshproxy.wire.mqtt import V5, V311, Code, Fault, Frames, Malformed, decode

MALFORMED, PROTOCOL = Code.MALFORMED_PACKET, Code.PROTOCOL_ERROR
TOPIC, FILTER, ALIAS = Code.TOPIC_NAME_INVALID, Code.TOPIC_FILTER_INVALID, Code.TOPIC_ALIAS_INVALID
VERSION, CLIENT = Code.UNSUPPORTED_PROTOCOL_VERSION, Code.CLIENT_IDENTIFIER_NOT_VALID

CASES = [
    ("type 0", V311, b"\x00\x00", MALFORMED, "bad_type"),
    ("type 15 in 3.1.1", V311, b"\xf0\x00", MALFORMED, "bad_type"),
    ("CONNECT with flags", V311, b"\x11\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a", MALFORMED, "bad_flags"),
    ("CONNACK with flags", V311, b"!\x02\x00\x00", MALFORMED, "bad_flags"),
    ("PUBACK with flags", V311, b"A\x02\x00\x01", MALFORMED, "bad_flags"),
    ("PUBREC with flags", V311, b"R\x02\x00\x01", MALFORMED, "bad_flags"),
    ("PUBCOMP with flags", V311, b"r\x02\x00\x01", MALFORMED, "bad_flags"),
    ("SUBACK with flags", V311, b"\x91\x03\x00\x01\x00", MALFORMED, "bad_flags"),
    ("UNSUBACK with flags", V311, b"\xb2\x02\x00\x01", MALFORMED, "bad_flags"),
    ("PINGREQ with flags", V311, b"\xc1\x00", MALFORMED, "bad_flags"),
    ("PINGRESP with flags", V311, b"\xd8\x00", MALFORMED, "bad_flags"),
    ("DISCONNECT with flags", V311, b"\xe1\x00", MALFORMED, "bad_flags"),
    ("PUBREL without its flag", V311, b"`\x02\x00\x01", MALFORMED, "bad_flags"),
    ("PUBREL with others", V311, b"j\x02\x00\x01", MALFORMED, "bad_flags"),
    ("SUBSCRIBE without its flag", V311, b"\x80\x06\x00\x01\x00\x01a\x00", MALFORMED, "bad_flags"),
    ("UNSUBSCRIBE without its flag", V311, b"\xa0\x05\x00\x01\x00\x01a", MALFORMED, "bad_flags"),
    ("AUTH with flags", V5, b"\xf1\x00", MALFORMED, "bad_flags"),
    ("PUBLISH of QoS 3", V311, b"6\x05\x00\x01a\x00\x01", MALFORMED, "bad_qos"),
    ("PUBLISH of QoS 3 in 5.0", V5, b"7\x06\x00\x01a\x00\x01\x00", MALFORMED, "bad_qos"),
    ("PUBLISH of QoS 0 again", V311, b"8\x03\x00\x01a", MALFORMED, "bad_flags"),
    ("PUBLISH of QoS 0 again in 5.0", V5, b"9\x04\x00\x01a\x00", MALFORMED, "bad_flags"),
    ("MQTT 3.1", V311, b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01a", VERSION, "unknown_version"),
    ("level 3", V311, b"\x10\x0d\x00\x04MQTT\x03\x02\x00\x00\x00\x01a", VERSION, "unknown_version"),
    ("level 6", V311, b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x00\x00\x01a", VERSION, "unknown_version"),
    ("level of a bridge", V311, b"\x10\x0d\x00\x04MQTT\x84\x02\x00\x00\x00\x01a", VERSION, "unknown_version"),
    ("another name", V311, b"\x10\x0d\x00\x04mqtt\x04\x02\x00\x00\x00\x01a", VERSION, "not_mqtt"),
    ("an empty name", V311, b"\x10\x09\x00\x00\x04\x02\x00\x00\x00\x01a", VERSION, "not_mqtt"),
    ("the reserved flag of a CONNECT", V311, b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01a", MALFORMED, "bad_flags"),
    (
        "the reserved flag of a CONNECT of 5.0", V5,
        b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x00\x00\x00\x01a",
        MALFORMED,
        "bad_flags",
    ),
    ("an empty CONNECT", V311, b"\x10\x00", MALFORMED, "cut_short"),
    ("a CONNECT that ends after the name", V311, b"\x10\x06\x00\x04MQTT", MALFORMED, "cut_short"),
    ("a CONNECT without a keep-alive", V311, b"\x10\x09\x00\x04MQTT\x04\x02\x00", MALFORMED, "cut_short"),
    ("a CONNECT without a client id", V311, b"\x10\x0a\x00\x04MQTT\x04\x02\x00\x00", MALFORMED, "cut_short"),
    (
        "a client id longer than its packet", V311,
        b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x05abc",
        MALFORMED,
        "cut_short",
    ),
    ("a client id with U+0000", V311, b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03a\x00b", MALFORMED, "bad_text"),
    (
        "a client id with a surrogate", V311,
        b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03\xed\xa0\x80",
        MALFORMED,
        "bad_text",
    ),
    (
        "a client id with an overlong letter", V311,
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02\xc1\xa1",
        MALFORMED,
        "bad_text",
    ),
    (
        "a client id with U+0000 overlong", V311,
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02\xc0\x80",
        MALFORMED,
        "bad_text",
    ),
    (
        "a client id beyond U+10FFFF", V5,
        b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04\xf4\x90\x80\x80",
        MALFORMED,
        "bad_text",
    ),
    (
        "a client id with half a letter", V311,
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\xc3",
        MALFORMED,
        "bad_text",
    ),
    (
        "no client id for a session that is kept", V311,
        b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00",
        CLIENT,
        "bad_client_id",
    ),
    ("QoS of a will that is not there", V311, b"\x10\x0d\x00\x04MQTT\x04\x0a\x00\x00\x00\x01a", MALFORMED, "bad_will"),
    (
        "retain of a will that is not there", V5,
        b"\x10\x0e\x00\x04MQTT\x05\"\x00\x00\x00\x00\x01a",
        MALFORMED,
        "bad_will",
    ),
    ("a will of QoS 3", V311, b"\x10\x13\x00\x04MQTT\x04\x1e\x00\x00\x00\x01a\x00\x01t\x00\x01p", MALFORMED, "bad_qos"),
    ("a will that is missing", V311, b"\x10\x0d\x00\x04MQTT\x04\x06\x00\x00\x00\x01a", MALFORMED, "cut_short"),
    (
        "a will without a payload", V311,
        b"\x10\x10\x00\x04MQTT\x04\x06\x00\x00\x00\x01a\x00\x01t",
        MALFORMED,
        "cut_short",
    ),
    (
        "a will for a wildcard", V311,
        b"\x10\x15\x00\x04MQTT\x04\x06\x00\x00\x00\x01a\x00\x03t/#\x00\x01p",
        TOPIC,
        "bad_topic",
    ),
    (
        "a will without a topic", V311,
        b"\x10\x12\x00\x04MQTT\x04\x06\x00\x00\x00\x01a\x00\x00\x00\x01p",
        TOPIC,
        "bad_topic",
    ),
    (
        "a will topic that is not UTF-8", V311,
        b"\x10\x13\x00\x04MQTT\x04\x06\x00\x00\x00\x01a\x00\x01\xff\x00\x01p",
        MALFORMED,
        "bad_text",
    ),
    (
        "a password without a user in 3.1.1", V311,
        b"\x10\x10\x00\x04MQTT\x04B\x00\x00\x00\x01a\x00\x01p",
        MALFORMED,
        "bad_credentials",
    ),
    ("a user name that is missing", V311, b"\x10\x0d\x00\x04MQTT\x04\x82\x00\x00\x00\x01a", MALFORMED, "cut_short"),
    (
        "a user name with U+0000", V311,
        b"\x10\x10\x00\x04MQTT\x04\x82\x00\x00\x00\x01a\x00\x01\x00",
        MALFORMED,
        "bad_text",
    ),
    (
        "a password that is missing", V311,
        b"\x10\x10\x00\x04MQTT\x04\xc2\x00\x00\x00\x01a\x00\x01u",
        MALFORMED,
        "cut_short",
    ),
    ("bytes after a CONNECT", V311, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x01ax", MALFORMED, "left_over"),
    ("a CONNECT of 5.0 without properties", V5, b"\x10\x0a\x00\x04MQTT\x05\x02\x00\x00", MALFORMED, "cut_short"),
    ("receive maximum 0", V5, b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x03!\x00\x00\x00\x01a", PROTOCOL, "bad_value"),
    (
        "maximum packet size 0", V5,
        b"\x10\x13\x00\x04MQTT\x05\x02\x00\x00\x05'\x00\x00\x00\x00\x00\x01a",
        PROTOCOL,
        "bad_value",
    ),
    (
        "request problem information 2", V5,
        b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x02\x17\x02\x00\x01a",
        PROTOCOL,
        "bad_value",
    ),
    (
        "request response information 2", V5,
        b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x02\x19\x02\x00\x01a",
        PROTOCOL,
        "bad_value",
    ),
    (
        "session expiry twice", V5,
        b"\x10\x18\x00\x04MQTT\x05\x02\x00\x00\x0a\x11\x00\x00\x00\x01\x11\x00\x00\x00\x01\x00\x01a",
        PROTOCOL,
        "repeated_property",
    ),
    (
        "authentication data without a method", V5,
        b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x04\x16\x00\x01x\x00\x01a",
        PROTOCOL,
        "missing_property",
    ),
    (
        "topic alias in a CONNECT", V5,
        b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x03#\x00\x01\x00\x01a",
        MALFORMED,
        "foreign_property",
    ),
    (
        "will delay outside of a will", V5,
        b"\x10\x13\x00\x04MQTT\x05\x02\x00\x00\x05\x18\x00\x00\x00\x01\x00\x01a",
        MALFORMED,
        "foreign_property",
    ),
    (
        "session expiry in a will", V5,
        b"\x10\x1a\x00\x04MQTT\x05\x06\x00\x00\x00\x00\x01a\x05\x11\x00\x00\x00\x01\x00\x01t\x00\x01p",
        MALFORMED,
        "foreign_property",
    ),
    (
        "an unknown property", V5,
        b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x02\x7f\x00\x00\x01a",
        MALFORMED,
        "unknown_property",
    ),
    (
        "a property of two bytes", V5,
        b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x03\x80\x01\x00\x00\x01a",
        MALFORMED,
        "unknown_property",
    ),
    ("property 0", V5, b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x02\x00\x00\x00\x01a", MALFORMED, "unknown_property"),
    (
        "properties longer than the packet", V5,
        b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00 !\x00\x01\x00\x01a",
        MALFORMED,
        "cut_short",
    ),
    (
        "a property longer than the properties", V5,
        b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x02!\x00\x00\x01a",
        MALFORMED,
        "cut_short",
    ),
    (
        "a property of a name alone", V5,
        b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\x01\x17\x00\x01a",
        MALFORMED,
        "cut_short",
    ),
    (
        "four bytes of which three are there", V5,
        b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x04\x11\x00\x00\x00\x00\x01a",
        MALFORMED,
        "cut_short",
    ),
    (
        "a user property without a value", V5,
        b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x04&\x00\x01k\x00\x01a",
        MALFORMED,
        "cut_short",
    ),
    (
        "a user property with a surrogate", V5,
        b"\x10\x17\x00\x04MQTT\x05\x02\x00\x00\x09&\x00\x01k\x00\x03\xed\xbf\xbf\x00\x01a",
        MALFORMED,
        "bad_text",
    ),
    (
        "properties' length of five bytes", V5,
        b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x80\x80\x80\x80\x01\x00\x01a",
        MALFORMED,
        "bad_length",
    ),
    (
        "properties' length of more bytes than it needs", V5,
        b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\x80\x00\x00\x01a",
        MALFORMED,
        "bad_length",
    ),
    ("an empty CONNACK", V311, b" \x00", MALFORMED, "cut_short"),
    ("reserved flags of a CONNACK", V311, b" \x02\x02\x00", MALFORMED, "bad_flags"),
    ("return code 6", V311, b" \x02\x00\x06", PROTOCOL, "bad_code"),
    ("reason code 1 of a CONNACK", V5, b" \x03\x00\x01\x00", PROTOCOL, "bad_code"),
    ("a session for who is refused", V311, b" \x02\x01\x05", PROTOCOL, "bad_session"),
    ("a session for who is refused in 5.0", V5, b" \x03\x01\x87\x00", PROTOCOL, "bad_session"),
    ("bytes after a CONNACK", V311, b" \x03\x00\x00\x00", MALFORMED, "left_over"),
    ("a CONNACK of 5.0 without properties", V5, b" \x02\x00\x00", MALFORMED, "cut_short"),
    ("bytes after a CONNACK of 5.0", V5, b" \x04\x00\x00\x00\x00", MALFORMED, "left_over"),
    ("maximum QoS 2", V5, b" \x05\x00\x00\x02$\x02", PROTOCOL, "bad_value"),
    ("retain available 2", V5, b" \x05\x00\x00\x02%\x02", PROTOCOL, "bad_value"),
    ("wildcard subscriptions available 255", V5, b" \x05\x00\x00\x02(\xff", PROTOCOL, "bad_value"),
    ("receive maximum 0 of a server", V5, b" \x06\x00\x00\x03!\x00\x00", PROTOCOL, "bad_value"),
    ("reason string twice", V5, b" \x0b\x00\x00\x08\x1f\x00\x01a\x1f\x00\x01b", PROTOCOL, "repeated_property"),
    ("content type in a CONNACK", V5, b" \x07\x00\x00\x04\x03\x00\x01a", MALFORMED, "foreign_property"),
    ("an empty PUBLISH", V311, b"0\x00", MALFORMED, "cut_short"),
    ("half a topic length", V311, b"0\x01\x00", MALFORMED, "cut_short"),
    ("a topic longer than its packet", V311, b"0\x05\x00\x05abc", MALFORMED, "cut_short"),
    ("no topic", V311, b"0\x04\x00\x00hi", TOPIC, "bad_topic"),
    ("neither a topic nor an alias", V5, b"0\x05\x00\x00\x00hi", PROTOCOL, "bad_topic"),
    ("+ in a topic", V311, b"0\x07\x00\x05a/+/b", TOPIC, "bad_topic"),
    ("# in a topic", V5, b"0\x04\x00\x01#\x00", TOPIC, "bad_topic"),
    ("+ within a level of a topic", V311, b"0\x05\x00\x03a+b", TOPIC, "bad_topic"),
    ("a topic with U+0000", V311, b"0\x05\x00\x03a\x00b", MALFORMED, "bad_text"),
    ("a topic with a surrogate", V311, b"0\x05\x00\x03\xed\xb0\x80", MALFORMED, "bad_text"),
    ("a topic that is not UTF-8", V5, b"0\x05\x00\x02\xff\xfe\x00", MALFORMED, "bad_text"),
    ("QoS 1 without an identifier", V311, b"2\x04\x00\x01a\x01", MALFORMED, "cut_short"),
    ("QoS 1 with identifier 0", V311, b"2\x05\x00\x01a\x00\x00", PROTOCOL, "bad_id"),
    ("QoS 2 with identifier 0 in 5.0", V5, b"4\x06\x00\x01a\x00\x00\x00", PROTOCOL, "bad_id"),
    ("a PUBLISH of 5.0 without properties", V5, b"0\x03\x00\x01a", MALFORMED, "cut_short"),
    ("topic alias 0", V5, b"0\x07\x00\x01a\x03#\x00\x00", ALIAS, "bad_value"),
    ("topic alias twice", V5, b"0\x0a\x00\x01a\x06#\x00\x01#\x00\x02", PROTOCOL, "repeated_property"),
    ("payload format 2", V5, b"0\x06\x00\x01a\x02\x01\x02", PROTOCOL, "bad_value"),
    ("subscription identifier 0", V5, b"0\x06\x00\x01a\x02\x0b\x00", PROTOCOL, "bad_value"),
    (
        "subscription identifier of five bytes", V5,
        b"0\x0a\x00\x01a\x06\x0b\x80\x80\x80\x80\x01",
        MALFORMED,
        "bad_length",
    ),
    ("a response topic with a wildcard", V5, b"0\x0a\x00\x01a\x06\x08\x00\x03b/+", TOPIC, "bad_topic"),
    ("a content type with U+0000", V5, b"0\x08\x00\x01a\x04\x03\x00\x01\x00", MALFORMED, "bad_text"),
    ("correlation data longer than the properties", V5, b"0\x08\x00\x01a\x04\x09\x00\x05a", MALFORMED, "cut_short"),
    ("session expiry in a PUBLISH", V5, b"0\x09\x00\x01a\x05\x11\x00\x00\x00\x01", MALFORMED, "foreign_property"),
    ("a reason string in a PUBLISH", V5, b"0\x08\x00\x01a\x04\x1f\x00\x01x", MALFORMED, "foreign_property"),
    ("an empty PUBACK", V311, b"@\x00", MALFORMED, "cut_short"),
    ("half an identifier", V311, b"P\x01\x01", MALFORMED, "cut_short"),
    ("a PUBACK of identifier 0", V311, b"@\x02\x00\x00", PROTOCOL, "bad_id"),
    ("a PUBREL of identifier 0", V5, b"b\x02\x00\x00", PROTOCOL, "bad_id"),
    ("a code in a PUBACK of 3.1.1", V311, b"@\x03\x00\x01\x00", MALFORMED, "left_over"),
    ("code 0x92 of a PUBACK", V5, b"@\x03\x00\x01\x92", PROTOCOL, "bad_code"),
    ("code 0x01 of a PUBREC", V5, b"P\x03\x00\x01\x01", PROTOCOL, "bad_code"),
    ("code 0x10 of a PUBREL", V5, b"b\x03\x00\x01\x10", PROTOCOL, "bad_code"),
    ("code 0x97 of a PUBCOMP", V5, b"p\x03\x00\x01\x97", PROTOCOL, "bad_code"),
    ("bytes after a PUBACK", V5, b"@\x05\x00\x01\x00\x00x", MALFORMED, "left_over"),
    ("a user property in a PUBACK cut short", V5, b"@\x07\x00\x01\x00\x03&\x00\x01", MALFORMED, "cut_short"),
    ("a topic alias in a PUBREC", V5, b"P\x07\x00\x01\x00\x03#\x00\x01", MALFORMED, "foreign_property"),
    ("a SUBSCRIBE to nothing", V311, b"\x82\x02\x00\x01", PROTOCOL, "nothing_asked"),
    ("a SUBSCRIBE to nothing in 5.0", V5, b"\x82\x03\x00\x01\x00", PROTOCOL, "nothing_asked"),
    ("a SUBSCRIBE of identifier 0", V311, b"\x82\x06\x00\x00\x00\x01a\x00", PROTOCOL, "bad_id"),
    ("a filter without options", V311, b"\x82\x05\x00\x01\x00\x01a", MALFORMED, "cut_short"),
    ("a filter of no bytes", V311, b"\x82\x05\x00\x01\x00\x00\x00", FILTER, "bad_filter"),
    ("a subscription of QoS 3", V311, b"\x82\x06\x00\x01\x00\x01a\x03", PROTOCOL, "bad_qos"),
    ("reserved bits of a subscription", V311, b"\x82\x06\x00\x01\x00\x01a\x04", MALFORMED, "bad_options"),
    ("reserved bits of a subscription in 5.0", V5, b"\x82\x07\x00\x01\x00\x00\x01a@", MALFORMED, "bad_options"),
    ("retain handling 3", V5, b"\x82\x07\x00\x01\x00\x00\x01a0", PROTOCOL, "bad_options"),
    ("no local, shared", V5, b"\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x04", PROTOCOL, "bad_options"),
    ("# that is not the last level", V311, b"\x82\x0a\x00\x01\x00\x05a/#/b\x00", FILTER, "bad_filter"),
    ("# within a level", V311, b"\x82\x09\x00\x01\x00\x04a/b#\x00", FILTER, "bad_filter"),
    ("+ within a level", V311, b"\x82\x09\x00\x01\x00\x04a+/b\x00", FILTER, "bad_filter"),
    ("two +", V311, b"\x82\x07\x00\x01\x00\x02++\x00", FILTER, "bad_filter"),
    ("# before a level", V311, b"\x82\x07\x00\x01\x00\x02#a\x00", FILTER, "bad_filter"),
    ("# twice", V311, b"\x82\x08\x00\x01\x00\x03#/#\x00", FILTER, "bad_filter"),
    ("a share without a group", V5, b"\x82\x0f\x00\x01\x00\x00\x09$share//a\x00", FILTER, "bad_filter"),
    ("a share of a wildcard group", V5, b"\x82\x10\x00\x01\x00\x00\x0a$share/+/a\x00", FILTER, "bad_filter"),
    ("a share without a filter", V5, b"\x82\x0e\x00\x01\x00\x00\x08$share/g\x00", FILTER, "bad_filter"),
    ("a share of an empty filter", V5, b"\x82\x0f\x00\x01\x00\x00\x09$share/g/\x00", FILTER, "bad_filter"),
    ("$share alone", V5, b"\x82\x0c\x00\x01\x00\x00\x06$share\x00", FILTER, "bad_filter"),
    ("a filter with U+0000", V311, b"\x82\x08\x00\x01\x00\x03a/\x00\x00", MALFORMED, "bad_text"),
    ("a share of a group with U+0000", V5, b"\x82\x10\x00\x01\x00\x00\x0a$share/\x00/a\x00", MALFORMED, "bad_text"),
    ("a filter with a surrogate", V311, b"\x82\x0a\x00\x01\x00\x05a/\xed\xa0\x80\x00", MALFORMED, "bad_text"),
    ("a second filter that is cut short", V311, b"\x82\x09\x00\x01\x00\x01a\x00\x00\x03a", MALFORMED, "cut_short"),
    (
        "subscription identifier twice", V5,
        b"\x82\x0b\x00\x01\x04\x0b\x01\x0b\x02\x00\x01a\x00",
        PROTOCOL,
        "repeated_property",
    ),
    (
        "a reason string in a SUBSCRIBE", V5,
        b"\x82\x0b\x00\x01\x04\x1f\x00\x01x\x00\x01a\x00",
        MALFORMED,
        "foreign_property",
    ),
    ("a SUBACK of nothing", V311, b"\x90\x02\x00\x01", MALFORMED, "cut_short"),
    ("code 3 of a SUBACK", V311, b"\x90\x03\x00\x01\x03", PROTOCOL, "bad_code"),
    ("code 0x87 of a SUBACK of 3.1.1", V311, b"\x90\x03\x00\x01\x87", PROTOCOL, "bad_code"),
    ("code 0x11 of a SUBACK", V5, b"\x90\x04\x00\x01\x00\x11", PROTOCOL, "bad_code"),
    ("a SUBACK of identifier 0", V311, b"\x90\x03\x00\x00\x00", PROTOCOL, "bad_id"),
    ("an UNSUBSCRIBE from nothing", V311, b"\xa2\x02\x00\x01", PROTOCOL, "nothing_asked"),
    ("an UNSUBSCRIBE of identifier 0", V5, b"\xa2\x06\x00\x00\x00\x00\x01a", PROTOCOL, "bad_id"),
    ("an UNSUBSCRIBE from half a filter", V311, b"\xa2\x05\x00\x01\x00\x05a", MALFORMED, "cut_short"),
    ("an UNSUBSCRIBE from a filter with # within", V311, b"\xa2\x06\x00\x01\x00\x02a#", FILTER, "bad_filter"),
    (
        "a subscription identifier in an UNSUBSCRIBE", V5,
        b"\xa2\x08\x00\x01\x02\x0b\x01\x00\x01a",
        MALFORMED,
        "foreign_property",
    ),
    ("bytes after an UNSUBACK of 3.1.1", V311, b"\xb0\x03\x00\x01\x00", MALFORMED, "left_over"),
    ("an UNSUBACK of 5.0 of nothing", V5, b"\xb0\x03\x00\x01\x00", MALFORMED, "cut_short"),
    ("code 1 of an UNSUBACK", V5, b"\xb0\x04\x00\x01\x00\x01", PROTOCOL, "bad_code"),
    ("a PINGREQ with a body", V311, b"\xc0\x01x", MALFORMED, "left_over"),
    ("a PINGRESP with a body", V5, b"\xd0\x01x", MALFORMED, "left_over"),
    ("a DISCONNECT with a body in 3.1.1", V311, b"\xe0\x01\x00", MALFORMED, "left_over"),
    ("code 1 of a DISCONNECT", V5, b"\xe0\x01\x01", PROTOCOL, "bad_code"),
    ("code 0x84 of a DISCONNECT", V5, b"\xe0\x01\x84", PROTOCOL, "bad_code"),
    ("bytes after a DISCONNECT", V5, b"\xe0\x03\x00\x00x", MALFORMED, "left_over"),
    (
        "session expiry in a DISCONNECT twice", V5,
        b"\xe0\x0c\x00\x0a\x11\x00\x00\x00\x01\x11\x00\x00\x00\x01",
        PROTOCOL,
        "repeated_property",
    ),
    ("receive maximum in a DISCONNECT", V5, b"\xe0\x05\x00\x03!\x00\x01", MALFORMED, "foreign_property"),
    ("an AUTH without a method", V5, b"\xf0\x02\x18\x00", PROTOCOL, "missing_property"),
    ("an AUTH without properties", V5, b"\xf0\x01\x18", MALFORMED, "cut_short"),
    ("code 1 of an AUTH", V5, b"\xf0\x02\x01\x00", PROTOCOL, "bad_code"),
    ("bytes after an AUTH", V5, b"\xf0\x07\x00\x04\x15\x00\x01mx", MALFORMED, "left_over"),
]

# What only the stream shows
STREAMS = [
    ("type 0, as soon as it is seen", b"\x00", MALFORMED, "bad_type"),
    ("type 0 with flags", b"\x0f\x00", MALFORMED, "bad_type"),
    ("type 0, whole", b"\x0f\x01x", MALFORMED, "bad_type"),
    ("type 0, whole and long", b"\x0f\x80\x01" + bytes(128), MALFORMED, "bad_type"),
    ("a length of five bytes", b"\x30\xff\xff\xff\xff\x7f", MALFORMED, "bad_length"),
    ("as soon as it must have five", b"\x30\x80\x80\x80\x80", MALFORMED, "bad_length"),
    ("a length of two bytes that needs one", b"\x30\x85\x00\x00\x01axy", MALFORMED, "bad_length"),
    ("a length of no bytes in four", b"\xc0\x80\x80\x80\x00", MALFORMED, "bad_length"),
    ("a packet that is too large", b"\x30\xff\x07", Code.PACKET_TOO_LARGE, "too_large"),
    ("a whole packet that is too large", b"\x30\xe6\x07" + bytes(998), Code.PACKET_TOO_LARGE, "too_large"),
    ("the largest packet there is", b"\x30\xff\xff\xff\x7f", Code.PACKET_TOO_LARGE, "too_large"),
]

Case = tuple[str, int, bytes, Code, str]


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_a_malformed_packet_is_refused(case: Case) -> None:
    _, level, data, code, word = case
    whole, cuts = (data, [(0, 2, len(data))]) if data[0] < 0x10 else Frames(1000).feed(data)
    with pytest.raises(Malformed) as raised:
        decode(level, whole, *cuts[0])
    assert (raised.value.code, raised.value.word) == (code, word)


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_what_follows_makes_no_packet_whole(case: Case) -> None:
    """A packet that is cut short does not read on in the next one."""
    _, level, data, code, word = case
    with pytest.raises(Malformed) as raised:
        decode(level, b"\0" + data + b"\0\1a\0" * 9, 1, 3, 1 + len(data))
    assert (raised.value.code, raised.value.word) == (code, word)


@pytest.mark.parametrize(("_", "data", "code", "word"), STREAMS, ids=[name for name, *_ in STREAMS])
def test_a_malformed_stream_is_refused_after_what_was_whole(_: str, data: bytes, code: Code, word: str) -> None:
    frames = Frames(1000)
    good = b"\xc0\x00\xd0\x00"
    with pytest.raises(Malformed) as raised:
        frames.feed(good + data)
    assert (raised.value.code, raised.value.word) == (code, word)
    assert raised.value.before == (good + data, [(0, 2, 2), (2, 4, 4)])


@pytest.mark.parametrize(("_", "data", "code", "word"), STREAMS, ids=[name for name, *_ in STREAMS])
def test_it_is_refused_alone_too(_: str, data: bytes, code: Code, word: str) -> None:
    with pytest.raises(Malformed) as raised:
        Frames(1000).feed(data)
    assert (raised.value.code, raised.value.word) == (code, word)
    assert raised.value.before == (data, [])


@pytest.mark.parametrize(("_", "data", "code", "word"), STREAMS, ids=[name for name, *_ in STREAMS])
def test_it_is_refused_byte_by_byte_too(_: str, data: bytes, code: Code, word: str) -> None:
    frames = Frames(1000)
    with pytest.raises(Malformed) as raised:
        for byte in data:
            frames.feed(bytes((byte,)))
    assert (raised.value.code, raised.value.word) == (code, word)


def test_each_word_is_shown_by_a_case() -> None:
    assert {word for *_, word in CASES} | {word for *_, word in STREAMS} == set(Fault)


def test_names_are_given_once() -> None:
    assert len({name for name, *_ in CASES}) == len(CASES) > 60
