"""What a certificate says: whom it names, until when, and which of its names is the identity of a peer.

    certificate = read(der)                             # of the peer, as OpenSSL hands it over
    certificate.identity                                # "spiffe://cluster.local/ns/shop/sa/books"
    [read(der) for der in blocks(pem, "CERTIFICATE")]   # of a file

Nothing is verified here: OpenSSL has done that, or will.  What is no certificate is `Unreadable`, and so is one whose
names could be taken for others; to leave such a name out would let the next best one speak for the peer.

    form      lengths that are indefinite, longer than need be, or lead out of what they stand in; bytes left over
    parts     one is missing, there twice, out of order or of an unknown kind; extensions before version 3
    size      more than 64 KiB, a subject or issuer of more than 2 KiB, a serial of more than 20 bytes, a URI of more
              than 2048
    text      bytes that are no text of their kind, or hold a character that cannot be seen: NUL, a line feed, a mark
              that turns the direction of writing
    time      no date, or one that does not go from the year to the second and end in Z
    names     a DNS name of other characters than names have (and the star), a URI of others than RFC 3986 knows, an IP
              address of neither 4 nor 16 bytes; two attributes of one type where an RDN has several
    PEM       a block that is not base64, or does not end, or ends as another; no block at all
"""

from __future__ import annotations

import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

LARGEST = 64 * 1024
"""Room for two thousand names; OpenSSL takes no chain of more than 100 KiB."""
LARGEST_NAME = 2048
LONGEST_URI = 2048
LONGEST_SERIAL = 20
LONGEST_TYPE = 64

_BOOLEAN, _INTEGER, _BITS, _OCTETS, _TYPE = 0x01, 0x02, 0x03, 0x04, 0x06
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_SEQUENCE, _SET = 0x30, 0x31
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_SIGNED = [_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE]
"""Serial, kind of signature, issuer, validity, subject, key."""
_OPTIONAL = 0x81, 0x82, _EXTENSIONS
"""What may follow, in this order; the first two are numbers of issuer and subject that nobody uses."""
_VERSIONS = b"\0", b"\1", b"\2"
_EXTENSION = [_TYPE, _OCTETS], [_TYPE, _BOOLEAN, _OCTETS]
_CONSTRAINTS: tuple[list[int], ...] = [], [_BOOLEAN], [_INTEGER], [_BOOLEAN, _INTEGER]
_DNS, _URI, _IP = 0x82, 0x86, 0x87
_OTHER_NAMES = frozenset((0xA0, 0x81, 0xA3, 0xA4, 0xA5, 0x88))
"""Mail addresses, directory names and the like, which nobody here asks for."""

_STRINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",  # "printable", which the star and the @ are not, but they are met there
    0x14: "latin-1",  # T.61 by its name; what is written into it is this
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}

_COMMON_NAME = bytes.fromhex("550403")
_ATTRIBUTES = {
    _COMMON_NAME: "CN",
    bytes.fromhex("550405"): "serialNumber",
    bytes.fromhex("550406"): "C",
    bytes.fromhex("550407"): "L",
    bytes.fromhex("550408"): "ST",
    bytes.fromhex("550409"): "STREET",
    bytes.fromhex("55040a"): "O",
    bytes.fromhex("55040b"): "OU",
    bytes.fromhex("2a864886f70d010901"): "emailAddress",
    bytes.fromhex("0992268993f22c640119"): "DC",
    bytes.fromhex("0992268993f22c640101"): "UID",
}
_ALTERNATIVE_NAMES, _BASIC_CONSTRAINTS = bytes.fromhex("551d11"), bytes.fromhex("551d13")

_is_dns = re.compile(rb"[A-Za-z0-9_.*-]{1,253}").fullmatch
_is_uri = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*").fullmatch
_is_spiffe_id = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)*").fullmatch
_special = re.compile(r'[,+"\\<>;]|\A[ #]| \Z')
_is_mark = re.compile(r"-----(BEGIN|END) (.+)-----").fullmatch


class Unreadable(ValueError):
    """No certificate, or one that says it in a way that leaves doubts."""


@dataclass(frozen=True, slots=True)
class Certificate:
    serial: int
    subject: str
    """As RFC 4514 writes it, the most specific part first."""
    issuer: str
    common_name: str
    """Of the subject, or nothing; the most specific one where there are several."""
    not_before: int
    """Seconds since the epoch; valid from this one on."""
    not_after: int
    """Valid up to this one."""
    dns: tuple[str, ...]
    """In small letters."""
    uris: tuple[str, ...]
    ips: tuple[str, ...]
    is_ca: bool
    sha256: str
    """Of all of it, in hex."""

    @property
    def names(self) -> frozenset[str]:
        """All that it may be known by: nothing, if its SPIFFE ID leaves doubts."""
        if not self.identity and self.uris and any(uri[:7].lower() == "spiffe:" for uri in self.uris):
            return frozenset()
        return frozenset((*self.dns, *self.uris, *self.ips))

    @property
    def identity(self) -> str:
        """Whom it stands for: a SPIFFE ID, else the first DNS name, else the common name, else nobody.

        By the rules of SPIFFE, who has another URI beside the ID, or an ID of a wrong form, is to be turned away, so
        that is nobody, whatever other names there are.
        """
        if any(uri[:7].lower() == "spiffe:" for uri in self.uris):
            uri = self.uris[0]
            return uri if len(self.uris) == 1 and _is_spiffe_id(uri) else ""
        if self.dns:
            return self.dns[0]
        return self.by_subject

    @property
    def by_subject(self) -> str:
        """Whom it stands for by its common name alone.

        That can be any text; with a slash it could be taken for a URI, or for an account that is written as
        `namespace/name`, and stands for nobody.
        """
        return "" if "/" in self.common_name else self.common_name


def read(der: bytes) -> Certificate:
    if len(der) > LARGEST:
        raise Unreadable(f"more than {LARGEST} bytes")
    (whole,) = _parts(der, _SEQUENCE)
    signed, _, _ = _parts(whole, _SEQUENCE, _SEQUENCE, _BITS)
    (serial, _, issuer, validity, subject, _), extensions = _signed(signed)
    subject_text, common_name = _name(subject)
    issuer_text, _ = _name(issuer)
    not_before, not_after = _validity(validity)
    dns, uris, ips = _alternative_names(extensions.get(_ALTERNATIVE_NAMES))
    return Certificate(
        _number(serial),
        subject_text,
        issuer_text,
        common_name,
        not_before,
        not_after,
        dns,
        uris,
        ips,
        _is_ca(extensions.get(_BASIC_CONSTRAINTS)),
        hashlib.sha256(der).hexdigest(),
    )


def blocks(pem: str, label: str) -> list[bytes]:
    """What the blocks of this label hold, in order; others are stepped over, and so is what stands around them."""
    found: list[bytes] = []
    lines: list[str] = []
    inside = seen = ""
    for line in map(str.strip, pem.splitlines()):
        mark = _is_mark(line)
        if mark is None:
            if inside == label:
                lines.append(line)
        elif mark[1] == "BEGIN" and not inside:
            inside = seen = mark[2]
            lines = []
        elif mark[1] == "END" and mark[2] == inside:
            if inside == label:
                found.append(_binary("".join(lines)))
            inside = ""
        else:
            raise Unreadable("a PEM block without its end or its beginning")
    if inside or not seen:
        raise Unreadable("a PEM block that does not end" if inside else "no PEM block")
    return found


def _binary(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise Unreadable("a PEM block that is not base64") from None


# DER: an element is a tag, a length and a value, and the values of some are elements again.  How deep, is written here.


def _elements(data: bytes) -> tuple[list[int], list[bytes]]:
    """The tags and the values of what stands one after another, to the last byte."""
    tags: list[int] = []
    values: list[bytes] = []
    at, end = 0, len(data)
    while at < end - 1:
        start = at + 2
        size = data[at + 1]
        if size > 0x7F:
            digits = data[start : start + size - 0x80]
            start += len(digits)
            size = int.from_bytes(digits, "big")
            if size <= 0x7F or digits[0] == 0:
                raise Unreadable("a length of a wrong form")
        tags.append(data[at])
        at = start + size
        values.append(data[start:at])
    if at != end:
        raise Unreadable("an element that is cut short")
    return tags, values


def _parts(data: bytes, *wanted: int) -> list[bytes]:
    """The values of elements that must have these tags."""
    tags, values = _elements(data)
    if tuple(tags) != wanted:
        raise Unreadable("other parts than belong there")
    return values


def _each(data: bytes, tag: int) -> list[bytes]:
    """The values of any number of elements with this tag."""
    tags, values = _elements(data)
    if tags.count(tag) != len(tags):
        raise Unreadable("other parts than belong there")
    return values


def _signed(data: bytes) -> tuple[list[bytes], dict[bytes, bytes]]:
    """What every certificate has, and the extensions by their types."""
    tags, values = _elements(data)
    version = b"\0"
    if tags[:1] == [_VERSION]:
        (version,) = _parts(values[0], _INTEGER)
        del tags[0], values[0]
    count = len(_SIGNED)
    optional = tags[count:]
    if version not in _VERSIONS or tags[:count] != _SIGNED or optional != [tag for tag in _OPTIONAL if tag in optional]:
        raise Unreadable("other parts than a certificate has")
    if _EXTENSIONS not in optional:
        return values[:count], {}
    if version != _VERSIONS[-1]:
        raise Unreadable("extensions before version 3")
    return values[:count], _extensions(values[-1])


def _extensions(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    (listed,) = _parts(data, _SEQUENCE)
    for extension in _each(listed, _SEQUENCE):
        tags, values = _elements(extension)
        if tags not in _EXTENSION:
            raise Unreadable("other parts than an extension has")
        if len(values) == 3:
            _flag(values[1])  # whether it is critical: whoever verifies minds that
        if values[0] in found:
            raise Unreadable("an extension that is there twice")
        found[values[0]] = values[-1]
    return found


def _alternative_names(data: bytes | None) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    dns: list[str] = []
    uris: list[str] = []
    ips: list[str] = []
    listed = b"" if data is None else _parts(data, _SEQUENCE)[0]
    for tag, name in zip(*_elements(listed), strict=True):
        if tag == _DNS:
            if not _is_dns(name):
                raise Unreadable("a DNS name that is none")
            dns.append(name.decode().lower())
        elif tag == _URI:
            if len(name) > LONGEST_URI or not _is_uri(name):
                raise Unreadable("a URI that is none")
            uris.append(name.decode())
        elif tag == _IP:
            if len(name) not in (4, 16):
                raise Unreadable("an IP address that is none")
            ips.append(str(ip_address(name)))
        elif tag not in _OTHER_NAMES:
            raise Unreadable("a name of an unknown kind")
    return tuple(dns), tuple(uris), tuple(ips)


def _is_ca(data: bytes | None) -> bool:
    if data is None:
        return False
    tags, values = _elements(_parts(data, _SEQUENCE)[0])
    if tags not in _CONSTRAINTS:
        raise Unreadable("other parts than constraints have")
    return tags[:1] == [_BOOLEAN] and _flag(values[0])


def _name(data: bytes) -> tuple[str, str]:
    """The text of it, and the last common name: a name goes from the whole to its part, and its text back."""
    if len(data) > LARGEST_NAME:
        raise Unreadable(f"a name of more than {LARGEST_NAME} bytes")
    texts: list[str] = []
    common_name = ""
    for group in _each(data, _SET):
        attributes: dict[bytes, str] = {}
        for attribute in _each(group, _SEQUENCE):
            kind, value, text = _attribute(attribute)
            if kind in attributes:
                raise Unreadable("an attribute that is there twice")
            attributes[kind] = text
            if kind == _COMMON_NAME:
                common_name = value
        if not attributes:
            raise Unreadable("other parts than a name has")
        texts.append("+".join(attributes.values()))
    return ",".join(texts[::-1]), common_name


def _attribute(data: bytes) -> tuple[bytes, str, str]:
    """Its type, its value, and both as text.  The value of a type without a name is shown as the bytes that it is."""
    tags, values = _elements(data)
    if len(tags) != 2 or tags[0] != _TYPE:
        raise Unreadable("other parts than an attribute has")
    kind, value = values
    label = _ATTRIBUTES.get(kind)
    if label is None:
        return kind, "", f"{_dotted(kind)}=#{data[2 + len(kind) :].hex()}"
    text = _text(tags[1], value)
    escaped = _special.sub(r"\\\g<0>", text) if _special.search(text) else text
    return kind, text, f"{label}={escaped}"


def _text(tag: int, value: bytes) -> str:
    encoding = _STRINGS.get(tag)
    if encoding is None:
        raise Unreadable("a string of an unknown kind")
    try:
        text = value.decode(encoding)
    except ValueError:
        raise Unreadable("a string of other characters than its kind has") from None
    if not text.isprintable():
        raise Unreadable("a string with characters that cannot be seen")
    return text


def _dotted(kind: bytes) -> str:
    if not 0 < len(kind) <= LONGEST_TYPE or kind[-1] > 0x7F:
        raise Unreadable("a type of a wrong form")
    numbers: list[int] = []
    number = 0
    for byte in kind:
        if byte == 0x80 and not number:
            raise Unreadable("a type of a wrong form")
        number = number << 7 | byte & 0x7F
        if byte <= 0x7F:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    numbers[:1] = first, numbers[0] - 40 * first
    return ".".join(map(str, numbers))


def _validity(data: bytes) -> tuple[int, int]:
    tags, values = _elements(data)
    if len(tags) != 2:
        raise Unreadable("other parts than a validity has")
    return _seconds(tags[0], values[0]), _seconds(tags[1], values[1])


def _seconds(tag: int, value: bytes) -> int:
    if tag == _UTC_TIME and len(value) == 13:
        value = (b"19" if value >= b"50" else b"20") + value
    elif tag != _GENERALIZED_TIME or len(value) != 15:
        raise Unreadable("a time of a wrong form")
    digits = value[:14]
    if not digits.isdigit() or value[14:] != b"Z":
        raise Unreadable("a time of a wrong form")
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
    try:
        when = datetime(year, month, day, int(digits[8:10]), int(digits[10:12]), int(digits[12:]), tzinfo=UTC)
    except ValueError:
        raise Unreadable("a time that there is none of") from None
    return int(when.timestamp())


def _flag(value: bytes) -> bool:
    if value not in (b"\x00", b"\xff"):
        raise Unreadable("a boolean that is neither")
    return value == b"\xff"


def _number(value: bytes) -> int:
    """Below zero as well: nobody should have such a serial, and some do."""
    number = int.from_bytes(value, "big", signed=True)
    if number.bit_length() > 8 * LONGEST_SERIAL:
        raise Unreadable(f"a serial of more than {LONGEST_SERIAL} bytes")
    if not value or (len(value) > 1 and -0x80 <= int.from_bytes(value[:2], "big", signed=True) < 0x80):
        raise Unreadable("a number of a wrong form")
    return number
