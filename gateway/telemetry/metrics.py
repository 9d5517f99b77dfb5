"""Prometheus metrics, made from receipts. Labels come from the config and from fixed word lists: never from users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.core.receipt import Receipt

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_OVERHEAD = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 1.0)

Readings = Callable[[], Mapping[str, Mapping[str, float]]]
"""Gauges read when scraped: metric name to {label value: reading}."""


class Metrics:
    """Recorder `metrics`, and the page at `/metrics`. Children are looked up once and remembered."""

    name = "metrics"
    essential = True

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "tidegate_requests", "Exchanges ended.", ("route", "operation", "outcome", "status"), registry=registry
        )
        self._duration = Histogram(
            "tidegate_request_duration_seconds",
            "Whole exchange.",
            ("route", "outcome"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._ttft = Histogram(
            "tidegate_ttft_seconds", "Until the first content left.", ("route",), buckets=_SECONDS, registry=registry
        )
        self._overhead = Histogram(
            "tidegate_overhead_seconds",
            "Time not spent waiting for upstreams.",
            ("route",),
            buckets=_OVERHEAD,
            registry=registry,
        )
        self._tokens = Counter(
            "tidegate_tokens", "Tokens used upstream.", ("model", "provider", "kind"), registry=registry
        )
        self._cost = Counter("tidegate_cost_usd", "Spend, by price table.", ("model", "provider"), registry=registry)
        self._unpriced = Counter(
            "tidegate_unpriced", "Answers of models without a price.", ("model",), registry=registry
        )
        self._cache = Counter(
            "tidegate_cache_lookups", "Cache look-ups.", ("route", "tier", "result"), registry=registry
        )
        self._verdicts = Counter(
            "tidegate_guardrail_verdicts", "What checks said.", ("check", "action"), registry=registry
        )
        self._skipped = Counter(
            "tidegate_guardrail_not_scanned", "Checks that did not run.", ("check", "reason"), registry=registry
        )
        self._intents = Counter("tidegate_intents", "Intents found.", ("route", "intent"), registry=registry)
        self._attempts = Counter("tidegate_attempts", "Upstream calls.", ("provider", "outcome"), registry=registry)
        self._degraded = Counter("tidegate_degraded", "Exchanges served without a part.", ("what",), registry=registry)
        self._rejected = Counter(
            "tidegate_rejected_connections",
            "Connections and requests that never became an exchange.",
            ("why",),
            registry=registry,
        )

    async def record(self, receipt: Receipt) -> None:
        route = receipt.route or "none"
        self._requests.labels(route, receipt.operation, receipt.outcome, str(receipt.status)).inc()
        self._duration.labels(route, receipt.outcome).observe(receipt.duration / 1e9)
        if receipt.ttft is not None:
            self._ttft.labels(route).observe(receipt.ttft / 1e9)
        if receipt.overhead is not None:
            self._overhead.labels(route).observe(receipt.overhead / 1e9)
        self._record_cache(receipt, route)
        self._record_attempts(receipt)
        for verdict in receipt.verdicts:
            self._verdicts.labels(verdict.check, verdict.action).inc()
            if verdict.action == "not_scanned":
                self._skipped.labels(verdict.check, verdict.reason or "unknown").inc()
        if receipt.intent:
            self._intents.labels(route, receipt.intent).inc()
        for what in receipt.degraded:
            self._degraded.labels(what).inc()

    def _record_cache(self, receipt: Receipt, route: str) -> None:
        if receipt.cache == "bypass":
            self._cache.labels(route, "none", "bypass").inc()
        elif receipt.cache == "semantic":
            self._cache.labels(route, "semantic", "hit").inc()
        else:
            self._cache.labels(route, "exact", receipt.cache).inc()

    def _record_attempts(self, receipt: Receipt) -> None:
        provider = ""
        for attempt in receipt.attempts:
            provider = attempt.provider
            self._attempts.labels(provider, attempt.outcome).inc()
            if attempt.usage is not None:
                self._tokens.labels(receipt.served_model, provider, "input").inc(attempt.usage.input_tokens)
                self._tokens.labels(receipt.served_model, provider, "output").inc(attempt.usage.output_tokens)
                if attempt.usage.cached_tokens:
                    self._tokens.labels(receipt.served_model, provider, "cached").inc(attempt.usage.cached_tokens)
        if receipt.cost_usd is not None and provider:
            self._cost.labels(receipt.served_model, provider).inc(receipt.cost_usd)
        elif provider and receipt.usage is not None:
            self._unpriced.labels(receipt.served_model).inc()

    def reject(self, why: str) -> None:
        """What never became an exchange: not HTTP, an unknown path, a refused model list. `why` is a word of ours."""
        self._rejected.labels(why).inc()

    def watch(self, readings: Readings, labels: Mapping[str, str]) -> None:
        """Adds gauges that are read at each scrape. `labels`: metric name to its one label's name, or ""."""
        self.registry.register(_Readings(readings, labels))

    def page(self) -> bytes:
        return generate_latest(self.registry)


class _Readings(Collector):
    def __init__(self, readings: Readings, labels: Mapping[str, str]) -> None:
        self._readings = readings
        self._labels = labels

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, values in self._readings().items():
            label = self._labels.get(name, "")
            family = GaugeMetricFamily(name, name.replace("_", " "), labels=[label] if label else None)
            for value_label, value in values.items():
                family.add_metric([value_label] if label else [], value)
            yield family
