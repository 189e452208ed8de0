"""Traces of a server, sent by OTLP to where OpenTelemetry's own variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`)."""

from __future__ import annotations

from mattebox import __version__, extras
from mattebox.server.monitor import Monitor


def start() -> Monitor:
    """A monitor whose spans are sent. Its `close` sends the last of them.

    Raises:
        MatteboxError: UNAVAILABLE where the extra is missing.
    """
    with extras.needs("otel", "Tracing"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = Resource({"service.name": "mattebox", "service.version": __version__})
    # Its own provider, and not that of the process: a program that a server lives in keeps its own traces.
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Monitor(provider.get_tracer("mattebox", __version__), end=provider.shutdown)
