"""One request's spans, from the gateway over the bus to the database, as a collector receives them (OB-2)."""

import gzip
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from kernel.testing.market import until
from kernel.testing.system import running_system

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector:
    """Takes traces by OTLP over HTTP and keeps their spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its base names it
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    def named(self, name: str) -> list[Span]:
        """Return the spans of this trace with a name."""
        return [s for s in self.spans if s.name == name and s.trace_id.hex() == TRACE]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    thread = Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


async def test_a_request_is_traced_from_the_gateway_to_the_database(collector: Collector) -> None:
    telemetry = {"otlp_endpoint": collector.url, "sample_ratio": 1.0}
    caller = f"00-{TRACE}-00f067aa0ba902b7-01"

    async with running_system("one-bus", overrides={"telemetry": telemetry}) as system:
        answer = await system.http.get(
            "/catalog/products/product_01k9z7x3c8e4m9r2t5v6w7y8z0", headers={"traceparent": caller}
        )

        async def has_arrived() -> bool:
            return bool(collector.named("sql") and collector.named("catalog.get_product"))

        await until(has_arrived)

    (handled,) = collector.named("catalog.get_product")
    (asked,) = [s for s in collector.spans if s.span_id == handled.parent_span_id]
    statements = [s for s in collector.named("sql") if s.parent_span_id == handled.span_id]
    assert answer.status_code == 404
    assert asked.name.startswith("http ")
    assert asked.parent_span_id.hex() == "00f067aa0ba902b7"
    assert statements
