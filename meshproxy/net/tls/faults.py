"""What goes wrong with TLS, in few words that can be counted.

| word | what it is |
|---|---|
| `expired`, `not_yet_valid`, `revoked` | the peer's certificate, or one between it and its CA |
| `unknown_ca` | no CA that is believed has signed it |
| `wrong_name` | it is not the certificate of who was to be reached |
| `crl` | there is no list of revoked certificates for its CA, or none that is valid |
| `invalid` | anything else that is wrong with it |
| `no_certificate` | the peer had to show one, and did not |
| `version`, `cipher` | nothing that both sides speak |
| `not_chosen` | it has not chosen, by ALPN, what has to be spoken |
| `plain` | the peer does not speak TLS |
| `alert` | the peer refuses, for a reason of its own |
| `closed` | it went away in the middle, or later without saying that it ends |
| `timeout` | it took too long |
| `protocol` | anything else |
"""

from __future__ import annotations

import errno
import ssl

WORDS = (
    "expired", "not_yet_valid", "revoked", "unknown_ca", "wrong_name", "crl", "invalid", "no_certificate", "version",
    "cipher", "not_chosen", "plain", "alert", "closed", "timeout", "protocol",
)  # fmt: skip

_CERTIFICATE = {
    3: "crl", 9: "not_yet_valid", 10: "expired", 11: "crl", 12: "crl", 18: "unknown_ca", 19: "unknown_ca",
    20: "unknown_ca", 21: "unknown_ca", 23: "revoked", 62: "wrong_name", 64: "wrong_name",
}  # fmt: skip
"""By the number that OpenSSL gives to what is wrong with a certificate."""
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "NO_SHARED_CIPHER": "cipher",
    "NO_CIPHERS_AVAILABLE": "cipher",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "cipher",
    "NO_SUITABLE_KEY_SHARE": "cipher",
    "UNSUPPORTED_PROTOCOL": "version",
    "VERSION_TOO_LOW": "version",
    "NO_PROTOCOLS_AVAILABLE": "version",
    "TLSV1_ALERT_PROTOCOL_VERSION": "version",
    "HTTP_REQUEST": "plain",
    "HTTPS_PROXY_REQUEST": "plain",
    "WRONG_VERSION_NUMBER": "plain",
}


class Broken(OSError):
    """TLS has failed.  `alert` tells the peer so."""

    def __init__(self, word: str, detail: str = "", alert: bytes = b"") -> None:
        super().__init__(errno.EPROTO, f"TLS: {word.replace('_', ' ')}{f' ({detail})' if detail else ''}")
        self.word = word
        self.alert = alert


class Late(Broken, TimeoutError):
    """It took too long, as anything else may."""

    def __init__(self) -> None:
        super().__init__("timeout")


def distrusted(code: int, detail: str, alert: bytes = b"") -> Broken:
    """A certificate, by OpenSSL's number for what is wrong with it."""
    return Broken(_CERTIFICATE.get(code, "invalid"), detail, alert)


def broken(error: ssl.SSLError, alert: bytes) -> Broken:
    if isinstance(error, ssl.SSLCertVerificationError):
        return distrusted(error.verify_code, error.verify_message, alert)
    reason = error.reason or ""
    word = _REASONS.get(reason) or ("alert" if "_ALERT_" in reason else "protocol")
    return Broken(word, reason.lower().replace("_", " "), alert)
