"""The public HTTP API, as a program outside the system calls it: typed answers, patience, keys."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from uuid import uuid4

import httpx
from msgspec import Struct

from bus.codec import decoder, encode
from bus.errors import FieldFault, RemoteError, WireError
from kernel.errors import Unavailable
from plugins.identity.contract import Tokens

T = TypeVar("T")

TRIES: Final = 30
LONGEST_PAUSE: Final = 3.0
BUSY: Final = frozenset({429, 503})


class UnreachableError(Unavailable):
    """Nobody answers at the API's address."""

    code = "demo.unreachable"
    title = "No running system answers"


class Problem(Struct, frozen=True, kw_only=True):
    """Problem details (RFC 9457) as far as a caller needs them."""

    title: str
    status: int
    detail: str
    code: str
    errors: tuple[FieldFault, ...] = ()


class Api:
    """Calls as one user, or as nobody. A refusal is raised as RemoteError with the problem's code.

    Every call may safely be sent twice, for what changes something carries an Idempotency-Key; so a
    system that is busy or away for a moment is asked again.
    """

    def __init__(self, http: httpx.AsyncClient, token: str = "") -> None:
        self._http = http
        self._token = token

    async def logged_in(self, email: str, password: str) -> "Api":
        """Return the API as a user calls it; raises RemoteError ``identity.bad_credentials``."""
        tokens = await self.post(
            "/identity/login", Tokens, {"email": email, "password": password}, key=""
        )
        return Api(self._http, tokens.access_token)

    async def get(self, path: str, reply: type[T], **params: str | int) -> T:
        """Ask."""
        return await self._send("GET", path, reply, params=params)

    async def post(
        self, path: str, reply: type[T], body: object = None, *, key: str | None = None
    ) -> T:
        """Have something done, under this Idempotency-Key or one of its own; ``""`` is none."""
        return await self._send("POST", path, reply, body=body, key=key)

    async def patch(self, path: str, reply: type[T], body: object) -> T:
        """Change something."""
        return await self._send("PATCH", path, reply, body=body)

    async def _send(
        self,
        method: str,
        path: str,
        reply: type[T],
        *,
        body: object = None,
        key: str | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> T:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = encode(body)
        if method != "GET" and key != "":
            headers["Idempotency-Key"] = key or str(uuid4())
        response = await self._patiently(
            method, path, content=content, headers=headers, params=params
        )
        if not response.is_success:
            raise _refusal(response)
        kind: Any = reply
        answer: T = decoder(kind)(response.content or b"{}")
        return answer

    async def _patiently(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send until somebody answers who is not too busy to; the last answer counts."""
        for number in range(1, TRIES + 1):
            pause = min(LONGEST_PAUSE, 0.1 * 2**number)
            try:
                response = await self._http.request(method, path, **request)
            except httpx.TransportError as error:
                if number == TRIES or isinstance(error, httpx.ConnectError):
                    raise UnreachableError(
                        f"No system answers at {self._http.base_url}: is it running? ({error!r})"
                    ) from error
            else:
                if response.status_code not in BUSY or number == TRIES:
                    return response
                pause = min(LONGEST_PAUSE, float(response.headers.get("retry-after", pause)))
            await asyncio.sleep(pause)
        raise AssertionError  # the last try returns or raises


def _refusal(response: httpx.Response) -> RemoteError:
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return RemoteError(
            WireError(
                code="demo.no_problem",
                status=response.status_code,
                title="An answer that is none of RealServ's",
                message=f"{response.request.method} {response.request.url} was answered "
                f"{response.status_code}",
            )
        )
    problem: Problem = decoder(Problem)(response.content)
    return RemoteError(
        WireError(
            code=problem.code,
            status=problem.status,
            title=problem.title,
            message=f"{response.request.method} {response.request.url.path}: {problem.detail}",
            errors=problem.errors,
        )
    )
