"""The fixed pages: health, readiness, and the API page that works offline."""

from hashlib import blake2b
from importlib.resources import files
from typing import Final

import msgspec

from gateway.endpoint import Page
from gateway.exchange import JSON, Answer, Exchange
from gateway.ports import Health

STATIC: Final = {
    "/schema": ("index.html", b"text/html; charset=utf-8"),
    "/schema/page.js": ("page.js", b"text/javascript; charset=utf-8"),
    "/schema/page.css": ("page.css", b"text/css; charset=utf-8"),
}
PAGE_POLICY: Final = (
    b"content-security-policy",
    (
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        b"img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
)
REVALIDATE: Final = (b"cache-control", b"no-cache")
_encode: Final = msgspec.json.Encoder().encode


def health_page(health: Health) -> Page:
    """``/health``: 200 while the process works."""

    async def page(exchange: Exchange) -> Answer:
        works = await health.health()
        return Answer(200 if works else 503, _encode({"status": "ok" if works else "broken"}))

    return page


def readiness_page(health: Health, *, is_detailed: bool) -> Page:
    """``/ready``: 503 unless every hard dependency answers; details only where nobody outside is."""

    async def page(exchange: Exchange) -> Answer:
        readiness = await health.ready(is_detailed=is_detailed)
        body = _encode(readiness) if is_detailed else _encode({"status": readiness.status})
        return Answer(503 if readiness.status == "not_ready" else 200, body)

    return page


def fixed_page(body: bytes, media_type: bytes = JSON) -> Page:
    """A page that never changes while the process runs."""
    tag = b'"%s"' % blake2b(body, digest_size=12).hexdigest().encode()

    async def page(exchange: Exchange) -> Answer:
        is_known = exchange.headers.get(b"if-none-match") == tag
        return Answer(
            304 if is_known else 200,
            b"" if is_known else body,
            media_type,
            ((b"etag", tag),),
            REVALIDATE,
            PAGE_POLICY,
        )

    return page


def static_pages() -> dict[str, Page]:
    """The files of the API page by their paths."""
    folder = files("gateway") / "static"
    return {
        path: fixed_page((folder / name).read_bytes(), media_type)
        for path, (name, media_type) in STATIC.items()
    }
