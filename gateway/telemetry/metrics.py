"""Prometheus metrics, made from receipts. Labels come from the config and from fixed word lists: never from users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.core.receipt import Receipt

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_OVERHEAD = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 1.0)

Readings = Callable[[], Mapping[str, Mapping[Any, float]]]
"""Read when scraped: metric name to {label value: reading}, or {(value, ...): reading} where it has several labels. A name
that ends in `_total` is a counter, else a gauge."""
Labels = Mapping[str, str | tuple[str, ...]]
"""Metric name to the name of its label, or names of its labels; a metric that is not in it has none."""

M = TypeVar("M", Counter, Histogram)


class Children(dict[tuple[str, ...], M], Generic[M]):
    """A metric's children by label values. `labels()` costs more than the counting itself, so each is asked for once."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric: M = metric

    def __missing__(self, values: tuple[str, ...]) -> M:
        child: M = self._metric.labels(*values)
        self[values] = child
        return child


class Metrics:
    """Recorder `metrics`, and the page at `/metrics`."""

    name = "metrics"
    essential = True

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Children[Counter]:
            return Children(Counter(name, about, labels, registry=registry))

        def histogram(name: str, about: str, buckets: Sequence[float], *labels: str) -> Children[Histogram]:
            return Children(Histogram(name, about, labels, buckets=buckets, registry=registry))

        self._requests = counter("tidegate_requests", "Exchanges ended.", "route", "operation", "outcome", "status")
        self._duration = histogram("tidegate_request_duration_seconds", "Whole exchange.", _SECONDS, "route", "outcome")
        self._ttft = histogram("tidegate_ttft_seconds", "Until the first content left.", _SECONDS, "route")
        self._queued = histogram(
            "tidegate_queue_seconds", "Waiting for a place at a model.", _SECONDS, "model", "priority"
        )
        self._overhead = histogram("tidegate_overhead_seconds", "Time not spent waiting upstream.", _OVERHEAD, "route")
        self._tokens = counter("tidegate_tokens", "Tokens used upstream.", "model", "provider", "kind")
        self._cost = counter("tidegate_cost_usd", "Spend, by price table.", "model", "provider")
        self._guessed = counter(
            "tidegate_cost_estimated_usd", "Guess at what given-up calls cost.", "model", "provider"
        )
        self._unpriced = counter("tidegate_unpriced", "Calls whose price is not known.", "model", "provider")
        self._reasons = counter("tidegate_cache_reasons", "Why no cache answered.", "route", "reason")
        self._cache = counter("tidegate_cache_lookups", "Cache look-ups.", "route", "tier", "result")
        self._verdicts = counter("tidegate_guardrail_verdicts", "What checks said.", "check", "action")
        self._skipped = counter("tidegate_guardrail_not_scanned", "Checks that did not run.", "check", "reason")
        self._flaws = counter(
            "tidegate_guardrail_flaws", "What was wrong before a repair, and after it.", "check", "before", "after"
        )
        self._tiers = counter("tidegate_tiers", "Exchanges by how hard they looked.", "route", "tier")
        self._baseline = counter("tidegate_baseline_usd", "What the route's baseline would have cost.", "route")
        self._compared = counter("tidegate_baseline_spent_usd", "What those same exchanges did cost.", "route")
        self._intents = counter("tidegate_intents", "Intents found.", "route", "intent")
        self._attempts = counter("tidegate_attempts", "Upstream calls.", "provider", "outcome")
        self._feedback = counter("tidegate_feedback", "What askers thought of answers.", "route", "rating")
        self._relayed = counter("tidegate_relayed_bytes", "Of bodies passed on unread.", "operation", "direction")
        self._degraded = counter("tidegate_degraded", "Exchanges served without a part.", "what")
        self._rejected = counter("tidegate_rejected_connections", "Connections that never became a request.", "why")

    async def record(self, receipt: Receipt) -> None:
        route = receipt.route or "none"
        self._requests[route, receipt.operation, receipt.outcome, str(receipt.status)].inc()
        self._duration[route, receipt.outcome].observe(receipt.duration / 1e9)
        if receipt.ttft is not None:
            self._ttft[(route,)].observe(receipt.ttft / 1e9)
        if receipt.queued:
            self._queued[receipt.model, receipt.priority].observe(receipt.queued / 1e9)
        if receipt.overhead is not None:
            self._overhead[(route,)].observe(receipt.overhead / 1e9)
        self._record_cache(receipt, route)
        self._record_attempts(receipt)
        for verdict in receipt.verdicts:
            self._verdicts[verdict.check, verdict.action].inc()
            if verdict.action == "not_scanned":
                self._skipped[verdict.check, verdict.reason or "unknown"].inc()
            elif ">" in verdict.reason:  # `fenced>ok,enum>enum`: words of a fixed list
                for flaw in verdict.reason.split(","):
                    before, changed, after = flaw.partition(">")
                    if changed:
                        self._flaws[verdict.check, before, after].inc()
        if receipt.tier:
            self._tiers[route, receipt.tier].inc()
        if receipt.baseline_usd is not None:
            self._baseline[(route,)].inc(max(0.0, receipt.baseline_usd))
            self._compared[(route,)].inc(max(0.0, receipt.cost_usd or 0.0))
        if receipt.intent:
            self._intents[route, receipt.intent].inc()
        for direction, count in (("in", receipt.bytes_in), ("out", receipt.bytes_out)):
            if count:
                self._relayed[receipt.operation, direction].inc(count)
        for what in receipt.degraded:
            self._degraded[(what,)].inc()

    def _record_cache(self, receipt: Receipt, route: str) -> None:
        if receipt.cache_reason and receipt.cache in ("miss", "bypass"):  # our rules' names and kinds of failure
            self._reasons[route, receipt.cache_reason].inc()
        if receipt.cache == "bypass":
            self._cache[route, "none", "bypass"].inc()
        elif receipt.cache == "semantic":
            self._cache[route, "semantic", "hit"].inc()
        else:
            self._cache[route, "exact", receipt.cache].inc()

    def _record_attempts(self, receipt: Receipt) -> None:
        model = receipt.served_model
        for attempt in receipt.attempts:
            provider, usage = attempt.provider, attempt.usage
            self._attempts[provider, attempt.outcome].inc()
            if attempt.estimated_usd is not None:
                self._guessed[model, provider].inc(max(0.0, attempt.estimated_usd))
            if usage is None:
                continue
            self._tokens[model, provider, "input"].inc(max(0, usage.input_tokens))
            self._tokens[model, provider, "output"].inc(max(0, usage.output_tokens))
            if usage.cached_tokens > 0:
                self._tokens[model, provider, "cached"].inc(usage.cached_tokens)
            if attempt.cost_usd is None:
                self._unpriced[model, provider].inc()
            else:
                self._cost[model, provider].inc(max(0.0, attempt.cost_usd))

    def feedback(self, route: str, rating: str) -> None:
        """What somebody thinks of an answer: `up`, `down`, `neutral`."""
        self._feedback[route, rating].inc()

    def reject(self, why: str) -> None:
        """A connection that never became an exchange."""
        self._rejected[(why,)].inc()

    def watch(self, readings: Readings, labels: Labels) -> None:
        """Adds what is read at each scrape."""
        self.registry.register(_Readings(readings, labels))

    def page(self) -> bytes:
        return generate_latest(self.registry)


class _Readings(Collector):
    def __init__(self, readings: Readings, labels: Labels) -> None:
        self._readings = readings
        self._labels = labels

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        for name, values in self._readings().items():
            label = self._labels.get(name, ())
            names = (label,) if isinstance(label, str) else label
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            about = name.removesuffix("_total").replace("_", " ")
            family = kind(name, about, labels=names or None)
            for given, value in values.items():
                family.add_metric((given if isinstance(given, tuple) else (given,)) if names else (), value)
            yield family
