"""From ASGI to an answer: every error becomes a problem here, whatever raised it."""

from collections.abc import Awaitable, Callable

import structlog
from litestar.types import HTTPScope, Receive, Send

from bus.errors import InternalError, ServiceError
from gateway.cors import Cors
from gateway.exchange import Answer, ClientGoneError, Exchange
from gateway.live import LiveOperation
from gateway.operation import Operation, trace_of
from gateway.ports import Observer
from gateway.problems import problem_answer
from gateway.routing import Router

log = structlog.get_logger("gateway")

Page = Callable[[Exchange], Awaitable[Answer]]


class Front:
    """What every endpoint does alike: open the exchange, answer it, turn errors into problems."""

    def __init__(self, cors: Cors, compress_from: int, observer: Observer) -> None:
        self.cors = cors
        self.compress_from = compress_from
        self.observer = observer

    def exchange(self, scope: HTTPScope, receive: Receive, send: Send) -> Exchange:
        """Open the exchange of a request."""
        return Exchange(scope, receive, send, self.cors, self.compress_from)

    async def refuse(self, exchange: Exchange, error: Exception) -> int:
        """Answer with a problem, and return its status; what nobody expected is logged."""
        if isinstance(error, ClientGoneError):
            return 499
        if not isinstance(error, ServiceError):
            log.error(
                "request_broke",
                path=exchange.path,
                method=exchange.method,
                correlation_id=exchange.correlation_id,
                exc_info=error,
            )
            error = InternalError()
        answer = problem_answer(error, exchange)
        if exchange.is_answered:
            await exchange.close_stream()
        else:
            await exchange.answer(answer)
        return answer.status


class ApiEndpoint:
    """All declared routes."""

    def __init__(self, router: Router[Operation], front: Front) -> None:
        self._router = router
        self._front = front

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange = self._front.exchange(scope, receive, send)
        watch = None
        status = 500
        try:
            if exchange.method == "OPTIONS":
                await exchange.answer(exchange.preflight(self._router.allowed(scope["path"])))
                return
            operation, path = self._router.find(exchange.method, scope["path"])
            watch = self._front.observer.begin(operation.name, trace_of(exchange))
            if isinstance(operation, LiveOperation):
                await operation.follow(exchange, path, watch.traceparent)
                status = 200
            else:
                answer = await operation.handle(exchange, path, watch.traceparent)
                status = answer.status
                await exchange.answer(answer)
        except Exception as error:  # noqa: BLE001  the one place where any error becomes an answer
            status = await self._front.refuse(exchange, error)
        finally:
            if watch is not None:
                watch.end(status)


class PageEndpoint:
    """One fixed path outside the API: health, the API page and its files."""

    def __init__(self, page: Page, front: Front) -> None:
        self._page = page
        self._front = front
        self._router: Router[Page] = Router()
        self._router.add("GET", "/", page)

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange = self._front.exchange(scope, receive, send)
        try:
            if exchange.method == "OPTIONS":
                await exchange.answer(exchange.preflight(self._router.allowed("/")))
                return
            page, _ = self._router.find(exchange.method, "/")
            await exchange.answer(await page(exchange))
        except Exception as error:  # noqa: BLE001  the one place where any error becomes an answer
            await self._front.refuse(exchange, error)
