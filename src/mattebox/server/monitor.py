"""The metrics and traces of a server.

Labels are names of ours, statuses and templates of routes: their number is bounded, and no key, prompt or address can
get into them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, NamedTuple, TypeAlias, final

from opentelemetry.propagate import extract
from opentelemetry.trace import NoOpTracer, SpanKind, Tracer, get_current_span
from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mattebox.errors import Kind, MatteboxError
from mattebox.stages import Stage

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metric(NamedTuple):
    """One metric, as `/metrics` and the docs say it."""

    name: str
    type: Literal["counter", "histogram", "gauge"]
    doc: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    each.name: each
    for each in (
        Metric(
            "mattebox_requests_total",
            "counter",
            "Requests that were answered; those for /live, /health, /ready and /metrics are not counted.",
            ("dialect", "method", "route", "status"),
        ),
        Metric(
            "mattebox_request_seconds",
            "histogram",
            "From a request's head to the end of its answer.",
            ("dialect", "route"),
        ),
        Metric(
            "mattebox_errors_total",
            "counter",
            "Failures by kind, of requests, and of tasks each time that they are tried.",
            ("work", "kind"),
        ),
        Metric("mattebox_stage_seconds", "histogram", "How long each stage of a picture takes.", ("stage",)),
        Metric(
            "mattebox_mattes_total",
            "counter",
            "Pictures of requests whose matte was looked for among those that are kept: hit or miss.",
            ("outcome",),
        ),
        Metric(
            "mattebox_webhook_deliveries_total",
            "counter",
            "Webhooks, each time that they are sent: received or failed.",
            ("outcome",),
        ),
        Metric("mattebox_ready", "gauge", "1 where /ready answers 200, else 0."),
        Metric("mattebox_workers", "gauge", "Pictures that can be in work at a time."),
        Metric("mattebox_workers_stuck", "gauge", "Workers held by a step that does not end."),
        Metric("mattebox_pictures", "gauge", "Pictures in work, or waiting for a worker.", ("state", "line")),
        Metric("mattebox_pixels", "gauge", "Pixels in work, or waiting to fit among them.", ("state", "line")),
        Metric("mattebox_mattes_bytes", "gauge", "Memory that mattes are kept in."),
        Metric("mattebox_database_up", "gauge", "1 where the database answers; else what follows is left out."),
        Metric("mattebox_tasks", "gauge", "Tasks of all servers on this database, by status.", ("status",)),
        Metric(
            "mattebox_oldest_task_age_seconds",
            "gauge",
            "Seconds since the oldest unfinished task was taken in, by status.",
            ("status",),
        ),
        Metric(
            "mattebox_shards",
            "gauge",
            "Shards of `mattebox bulk --queue` on this database: waiting, working or ended.",
            ("status",),
        ),
        Metric(
            "mattebox_oldest_shard_age_seconds",
            "gauge",
            "Seconds since the oldest shard that has not ended was ordered, by status.",
            ("status",),
        ),
        Metric("mattebox_webhooks_waiting", "gauge", "Webhooks that are still to be sent."),
        Metric("mattebox_credits_used", "gauge", "Pictures that all keys together have had made."),
    )
}
"""All metrics of mattebox itself. Those of the process and of Python come with the client library."""

Gauges: TypeAlias = Mapping[str, Mapping[tuple[str, ...], float]]
"""Values of gauges, by the metric's name and the labels' values."""


@final
class Monitor(Collector):
    """Counts, times and traces, for one server. Safe to use from several threads.

    Args:
        tracer: makes the spans of requests, tasks and their stages; by default there are none.
        end: called by `close`.
    """

    def __init__(self, tracer: Tracer | None = None, *, end: Callable[[], None] = lambda: None) -> None:
        self.registry = CollectorRegistry()
        self.read_gauges: Callable[[], Gauges] = dict
        """Called whenever somebody asks for the metrics, in the thread that asks."""
        self.close = end
        self._tracer = tracer or NoOpTracer()
        self._requests = self._counter("mattebox_requests_total")
        self._seconds = self._histogram("mattebox_request_seconds")
        self._errors = self._counter("mattebox_errors_total")
        self._stages = self._histogram("mattebox_stage_seconds")
        self._mattes = self._counter("mattebox_mattes_total")
        self._webhooks = self._counter("mattebox_webhook_deliveries_total")
        # A series that begins above 0 shows no rise, and the first failure is the one to be woken up by.
        for kind in Kind:
            self._errors.labels("request", kind.value)
            self._errors.labels("task", kind.value)
        for outcome in ("received", "failed"):
            self._webhooks.labels(outcome)
        for outcome in ("hit", "miss"):
            self._mattes.labels(outcome)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing, so that the gauges are not read when this is registered."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Each gauge with its values, as a `Collector`."""
        read = self.read_gauges()
        for metric in METRICS.values():
            if metric.type == "gauge":
                family = GaugeMetricFamily(metric.name, metric.doc, labels=metric.labels)
                for labels, value in read.get(metric.name, {}).items():
                    family.add_metric(labels, value)
                yield family

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time and trace a stage; a `stages.Observer`."""
        with self._stages.labels(stage.value).time(), self._tracer.start_as_current_span(stage.value):
            yield

    def request_span(self, headers: Mapping[str, str], request_id: str) -> AbstractContextManager[object]:
        """The span round a request; below its client's, where the headers name that (`traceparent`)."""
        return self._tracer.start_as_current_span(
            "request", extract(headers), SpanKind.SERVER, {"mattebox.request_id": request_id}
        )

    def request(
        self, *, dialect: str, method: str, route: str, status: int, seconds: float, failure: Kind | None
    ) -> None:
        """Count a request that was answered. Call it inside its span.

        `method` is one of those that something here takes, or `OTHER`, and `route` a template: no label is a client's.
        """
        self._requests.labels(dialect, method, route, str(status)).inc()
        self._seconds.labels(dialect, route).observe(seconds)
        if failure is not None:
            self._errors.labels("request", failure.value).inc()
        span = get_current_span()
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})

    @contextmanager
    def task(self) -> Iterator[None]:
        """To be entered round each try of a task."""
        with self._tracer.start_as_current_span("task", kind=SpanKind.CONSUMER):
            try:
                yield
            except Exception as error:
                kind = error.kind if isinstance(error, MatteboxError) else Kind.INTERNAL
                self._errors.labels("task", kind.value).inc()
                raise

    def matte(self, found: bool) -> None:
        """Count that a matte was looked for among those that are kept."""
        self._mattes.labels("hit" if found else "miss").inc()

    @contextmanager
    def webhook(self) -> Iterator[None]:
        """To be entered round each delivery of a webhook."""
        try:
            yield
        except Exception:
            self._webhooks.labels("failed").inc()
            raise
        self._webhooks.labels("received").inc()

    def _counter(self, name: str) -> Counter:
        metric = METRICS[name]
        return Counter(name, metric.doc, metric.labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        metric = METRICS[name]
        return Histogram(name, metric.doc, metric.labels, buckets=_BUCKETS, registry=self.registry)
