"""The Prometheus metrics. docs/http-api.md lists them, and a test compares the two."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from headrace.records import RunStatus
from headrace.store.stats import Figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "headrace_http_requests",
            "Requests answered, by method, route template and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "headrace_http_request_seconds",
            "Seconds until the answer was complete, by method and route template.",
            ["method", "route"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self._registry,
        )
        self._pipelines = self._gauge("headrace_pipelines", "Stored pipelines.")
        self._enabled = self._gauge("headrace_pipelines_enabled", "Enabled pipelines.")
        self._active = self._gauge("headrace_runs_active", "Pending and running runs.")
        self._pending = self._gauge("headrace_runs_pending", "Pending runs.")
        self._wait = self._gauge(
            "headrace_runs_pending_seconds",
            "Waiting time of the oldest run that could start; 0 if none waits.",
        )
        self._slots = self._gauge(
            "headrace_slots_waiting", "Schedule slots that wait for a run of their pipeline to end."
        )
        self._free = self._gauge(
            "headrace_home_free_bytes", "Free space on the file system of the home folder."
        )
        self._recent = Gauge(
            "headrace_runs_last_24_hours",
            "Runs created in the last 24 hours, by status.",
            ["status"],
            registry=self._registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. `route` is a path template, so the number of series stays bounded."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self, figures: Figures, *, free_bytes: int) -> bytes:
        """Return all metrics in Prometheus's text format, with the given current figures."""
        self._pipelines.set(figures.pipelines)
        self._enabled.set(figures.pipelines_enabled)
        self._active.set(figures.active_runs)
        self._pending.set(figures.pending_runs)
        self._wait.set(figures.longest_wait_seconds)
        self._slots.set(figures.waiting_slots)
        self._free.set(free_bytes)
        for status in RunStatus:
            self._recent.labels(status.value).set(figures.runs_last_24_hours.get(status, 0))
        return generate_latest(self._registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self._registry)
