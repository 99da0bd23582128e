"""One HTTP request and the way to answer it, as thin over ASGI as it can be."""

import asyncio
import re
import zlib
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from litestar.types import HTTPScope, Receive, Send

from gateway.cors import Cors, Headers
from gateway.errors import (
    BodyTooLargeError,
    BodyTooSlowError,
    FieldGivenTwiceError,
    MalformedRequestError,
)
from kernel.errors import FieldFault
from kernel.ids import new_uuid7

JSON: Final = b"application/json"
MAX_QUERY_FIELDS: Final = 100
GZIP_LEVEL: Final = 4
THREAD_FROM: Final = 128 * 1024
DRAIN_LIMIT: Final = 32 * 1024 * 1024
DRAIN_SECONDS: Final = 5.0

SECURITY_HEADERS: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
API_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'",
)
NO_STORE: Final = (b"cache-control", b"no-store")

_correlation_is_safe: Final = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}").fullmatch


class Answer(NamedTuple):
    """A whole answer. ``headers`` says what differs from an ordinary JSON answer."""

    status: int
    body: bytes = b""
    media_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    cache: tuple[bytes, bytes] = NO_STORE
    policy: tuple[bytes, bytes] = API_POLICY


class ClientGoneError(Exception):
    """The caller hung up; there is nobody to answer."""


class Exchange:
    """One request: its headers, correlation id, query and body, and the way to answer."""

    __slots__ = (
        "_answered",
        "_compress_from",
        "_cors",
        "_is_body_done",
        "_receive",
        "_send",
        "correlation_id",
        "fallback_id",
        "headers",
        "method",
        "path",
        "scope",
    )

    def __init__(
        self, scope: HTTPScope, receive: Receive, send: Send, cors: Cors, compress_from: int
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._cors = cors
        self._compress_from = compress_from
        self._answered = False
        self._is_body_done = False
        self.method: str = scope["method"]
        self.path = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
        self.headers = dict(scope["headers"])
        self.fallback_id = new_uuid7()
        given = self.headers.get(b"x-correlation-id") or self.headers.get(b"x-request-id")
        if given is not None and _correlation_is_safe(given):
            self.correlation_id = given.decode()
        else:
            self.correlation_id = str(self.fallback_id)

    @property
    def is_answered(self) -> bool:
        """Whether the answer has begun, so that no other can be given."""
        return self._answered

    def header(self, name: bytes) -> str:
        """Return a header's text, empty when it is absent."""
        return self.headers.get(name, b"").decode("latin-1")

    def query(self) -> list[tuple[str, str]]:
        """Return the query parameters; one given twice, or not readable, is refused."""
        raw = self.scope["query_string"]
        if not raw:
            return []
        try:
            pairs = parse_qsl(
                raw.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=MAX_QUERY_FIELDS,
            )
        except ValueError as error:
            raise MalformedRequestError("The query string cannot be read") from error
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise FieldGivenTwiceError(errors=(FieldFault(name, "was given twice"),))
            seen.add(name)
        return pairs

    def declared_length(self, limit: int) -> int | None:
        """Return the length that the caller announces, None for chunks; over the limit is refused."""
        text = self.headers.get(b"content-length")
        if text is None:
            return None if b"transfer-encoding" in self.headers else 0
        if not text.isdigit():
            raise MalformedRequestError("Content-Length is not a number")
        length = int(text)
        if length > limit:
            raise BodyTooLargeError(f"{length} bytes were announced; at most {limit} are read")
        return length

    async def body(self, limit: int, seconds: float) -> bytes:
        """Read the body, at most ``limit`` bytes and ``seconds`` long."""
        if self.declared_length(limit) == 0:
            self._is_body_done = True
            return b""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(seconds):
                while True:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        raise ClientGoneError
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > limit:
                        raise BodyTooLargeError(f"At most {limit} bytes are read")
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        self._is_body_done = True
                        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except TimeoutError as error:
            self._is_body_done = True
            raise BodyTooSlowError from error

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer, compressed when it is worth it and the caller accepts it."""
        status, body, media_type, extra, cache, policy = answer
        headers = self._headers(media_type, cache, policy)
        if not body:
            del headers[0]
        headers.extend(extra)
        if len(body) >= self._compress_from and media_type.startswith((b"application/", b"text/")):
            headers.append((b"vary", b"accept-encoding"))
            if accepts_gzip(self.headers.get(b"accept-encoding", b"")):
                body = await _gzip(body)
                headers.append((b"content-encoding", b"gzip"))
        if status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))
        if not self._is_body_done and self.declares_body and b"expect" not in self.headers:
            await self._drain()
        self._answered = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send(
            {
                "type": "http.response.body",
                "body": b"" if self.method == "HEAD" or status in (204, 304) else body,
                "more_body": False,
            }
        )

    async def open_stream(self, media_type: bytes) -> None:
        """Begin an answer whose end is not known."""
        self._answered = True
        headers = self._headers(media_type, NO_STORE, API_POLICY)
        headers.append((b"x-accel-buffering", b"no"))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, chunk: bytes) -> None:
        """Send a piece of a stream at once."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def close_stream(self) -> None:
        """End a stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def gone(self) -> None:
        """Return when the caller hangs up."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return

    @property
    def declares_body(self) -> bool:
        """Whether the request comes with a body."""
        return (
            self.headers.get(b"content-length", b"0") != b"0"
            or b"transfer-encoding" in self.headers
        )

    async def _drain(self) -> None:
        """Throw away what the caller still sends, within bounds.

        Most callers read only when they have sent all. An answer given earlier would be lost to
        them, for the connection is reset when unread bytes are left. Who sends ``Expect`` has sent
        nothing yet.
        """
        size = 0
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while size < DRAIN_LIMIT:
                    message = await self._receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
                    size += len(message.get("body", b""))
        except TimeoutError:
            return

    def headers_of(self, answer: Answer) -> Headers:
        """Return the headers of an answer but for its media type, which others write."""
        return [*self._headers(b"", answer.cache, answer.policy)[1:], *answer.headers]

    def _headers(
        self, media_type: bytes, cache: tuple[bytes, bytes], policy: tuple[bytes, bytes]
    ) -> Headers:
        return [
            (b"content-type", media_type),
            (b"x-correlation-id", self.correlation_id.encode()),
            cache,
            policy,
            *SECURITY_HEADERS,
            *self._cors.headers(self.headers.get(b"origin")),
        ]

    def preflight(self, allowed: str) -> Answer:
        """Answer OPTIONS: which methods there are, and to browsers whether a page may call."""
        extra = self._cors.preflight(self.headers.get(b"origin"))
        return Answer(204, headers=((b"allow", allowed.encode()), *extra))


def accepts_gzip(accepted: bytes) -> bool:
    """Tell whether an Accept-Encoding header admits gzip."""
    for item in accepted.lower().split(b","):
        coding, _, parameter = item.partition(b";")
        if coding.strip() in (b"gzip", b"*"):
            weight = parameter.strip().removeprefix(b"q=")
            return weight.strip(b"0.") != b"" or not parameter
    return False


async def _gzip(body: bytes) -> bytes:
    if len(body) < THREAD_FROM:
        return _deflate(body)
    return await asyncio.to_thread(_deflate, body)


def _deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, wbits=31)
    return packer.compress(body) + packer.flush()
