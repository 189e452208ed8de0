from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.testclient import TestClient

Serve = Callable[..., TestClient]


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExportTraceServiceRequest]]:
    """What a collector of traces receives, at the address that the environment names."""
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_span_a_stage_below_the_requests_below_the_clients(
    collected: list[ExportTraceServiceRequest], serve: Serve, photo: bytes
) -> None:
    client = serve(tracing=True)
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    answer = client.post(
        "/api/v1/remove",
        files={"image": ("secret.png", photo)},
        headers={"traceparent": f"00-{trace}-{parent}-01", "x-api-key": "hush"},
    )
    client.__exit__()  # the rest is sent when the server ends
    spans = {
        span.name: span
        for batch in collected
        for resource in batch.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == trace
    }
    root = spans.pop("POST /api/v1/remove")
    assert root.parent_span_id.hex() == parent
    assert root.kind == Span.SPAN_KIND_SERVER
    said = {each.key: each.value for each in root.attributes}
    assert said["mattebox.request_id"].string_value == answer.headers["x-request-id"]
    assert said["http.response.status_code"].int_value == 200
    stages = {
        "queue",
        "pixels",
        "decode",
        "match",
        "look",
        "segment",
        "refine",
        "foreground",
        "layout",
        "backdrop",
        "compose",
    }
    assert spans.keys() == stages | {"encode"}
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    assert spans["decode"].end_time_unix_nano <= spans["segment"].start_time_unix_nano
    names = {
        each.value.string_value
        for batch in collected
        for resource in batch.resource_spans
        for each in resource.resource.attributes
        if each.key == "service.name"
    }
    assert names == {"mattebox"}
    assert not any(word in str(collected) for word in ("hush", "secret"))


def test_without_the_setting_nothing_is_sent(
    collected: list[ExportTraceServiceRequest], serve: Serve, photo: bytes
) -> None:
    client = serve()
    client.post("/api/v1/remove", files={"image": ("a.png", photo)})
    client.__exit__()
    assert collected == []
