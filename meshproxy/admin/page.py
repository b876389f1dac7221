"""The page of the admin side, and the policy that lets a browser run what is in it and nothing else."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path

from meshproxy.admin.http import Response

PAGE = Path(__file__).with_name("page.html")


@functools.cache
def page_response() -> Response:
    html = PAGE.read_bytes()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(html, b'script')}'",
            f"style-src '{_digest(html, b'style')}'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return Response(
        body=html,
        content_type="text/html; charset=utf-8",
        headers=(("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer")),
    )


def _digest(html: bytes, tag: bytes) -> str:
    """How the policy names the one inline element of a kind."""
    inside = html.partition(b"<%s>" % tag)[2].partition(b"</%s>" % tag)[0]
    return "sha256-" + base64.b64encode(hashlib.sha256(inside).digest()).decode()
