"""One receipt as a story for people: who asked, what was decided, what each step took, how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from gateway.core.events import Usage
from gateway.core.receipt import Attempt, Receipt, Stage
from gateway.core.verdict import Verdict

WHY = {
    "first": "the plan's first choice",
    "retry": "the call before failed, and may be repeated",
    "hedge": "the call before was slow to begin",
    "fallback": "the model before could not answer",
    "overflow": "the prompt was too long for the model before",
    "content_policy": "the content filter of the model before stopped it",
    "shadow": "a copy for comparison, after the answer",
    "guardrail": "a check did not accept the answer before",
    "stale_connection": "a kept connection turned out to be dead",
}
OUTCOMES = {
    "ok": "answered",
    "refused": "refused by a check",
    "client_error": "the request was at fault",
    "gateway_error": "the gateway failed",
    "upstream_error": "no upstream could answer",
    "cut": "the answer broke off, and the client was told so",
    "client_gone": "the client left before the end",
}


def story(receipt: Receipt) -> list[str]:
    """Lines without line breaks. Everything comes from names, counts and times: a receipt holds no user text."""
    when = datetime.fromtimestamp(receipt.opened / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return [
        f"{receipt.id}   {when} UTC",
        _line("asked", _asked(receipt)),
        _line("by", _who(receipt)),
        _line("route", _route(receipt)),
        *_listed("stages", _stages(receipt.timeline)),
        *_listed("guards", [_verdict(verdict) for verdict in receipt.verdicts]),
        _line("cache", _cache(receipt)),
        *_listed("calls", [line for at, call in enumerate(receipt.attempts, 1) for line in _attempt(at, call)]),
        *([_line("shadow", f"{receipt.shadow}, after the answer")] if receipt.shadow else ()),
        *(_listed("degraded", receipt.degraded) if receipt.degraded else ()),
        *(_listed("warnings", receipt.warnings) if receipt.warnings else ()),
        *([_line("relayed", _relayed(receipt))] if receipt.bytes_in or receipt.bytes_out else ()),
        _line("ended", _ended(receipt)),
        _line("took", _took(receipt)),
        _line("cost", _cost(receipt)),
        _line("trace", receipt.trace_id or "none"),
    ]


def _line(name: str, text: str) -> str:
    return f"  {name:9} {text}"


def _listed(name: str, rows: Iterable[str]) -> list[str]:
    lines = list(rows) or ["none"]
    return [_line(name if not at else "", row) for at, row in enumerate(lines)]


def _asked(receipt: Receipt) -> str:
    model = f"model {receipt.model!r}" if receipt.model else "no model of ours"
    return f"{receipt.operation}, {'streamed' if receipt.stream else 'whole'}, of {model}, as {receipt.dialect} says it"


def _who(receipt: Receipt) -> str:
    parts = [f"key {receipt.key_id or 'none'}", f"tenant {receipt.tenant or 'none'}"]
    parts += [f"user {receipt.user!r}"] * bool(receipt.user)
    parts += [f"session {receipt.session!r}"] * bool(receipt.session)
    parts += ["tags " + ", ".join(map(repr, receipt.tags))] * bool(receipt.tags)
    return ", ".join(parts)


def _route(receipt: Receipt) -> str:
    if not receipt.route:
        return "none: it ended before one was chosen"
    text = receipt.route
    if receipt.intent:
        score = f" ({receipt.intent_score:.3f})" if receipt.intent_score is not None else ""
        text += f"; intent {receipt.intent}{score}"
    if receipt.action:
        text += f"; action {receipt.action}"
    if receipt.tier:
        score = f" (score {receipt.tier_score:.3f})" if receipt.tier_score is not None else ""
        text += f"; tier {receipt.tier}{score}"
    if receipt.left_out:
        text += f"; left out {', '.join(receipt.left_out)}"
    if receipt.served_model and receipt.served_model != receipt.model:
        text += f"; served as {receipt.served_model!r}"
    return text


def _stages(timeline: Iterable[Stage]) -> list[str]:
    stages = list(timeline)
    width = max((len(stage.name) for stage in stages), default=0)
    return [f"{s.name:{width}}  {_span(s.start, s.end)}  {s.outcome}" for s in stages]


def _verdict(verdict: Verdict) -> str:
    text = f"{verdict.check} on {verdict.side}: {verdict.action}"
    text += f" {verdict.count}" if verdict.count else ""
    about = [verdict.category, verdict.reason, f"score {verdict.score:.3f}" if verdict.score is not None else ""]
    told = ", ".join(word for word in about if word)
    return text + (f" ({told})" if told else "") + f", {verdict.micros / 1000:.2f} ms"


def _cache(receipt: Receipt) -> str:
    text: str = receipt.cache
    text += f" ({receipt.cache_reason})" if receipt.cache_reason else ""
    if receipt.cache_similarity is not None:
        text += f", similarity {receipt.cache_similarity:.4f}"
    if receipt.cache_age is not None:
        text += f", {receipt.cache_age:.0f} s old"
    return text


def _attempt(at: int, call: Attempt) -> list[str]:
    """Which and why, how its endpoint was picked where there were several, then what came of it."""
    where = f" at {call.endpoint}" if call.endpoint else ""
    cause = f" ({call.cause})" if call.cause else ""
    result = [call.outcome, f"HTTP {call.status}" if call.status is not None else "no status"]
    if call.ttft is not None:
        result.append(f"first content after {_ms(call.ttft)}")
    result += [f"finish {', '.join(call.finish_reasons)}"] * bool(call.finish_reasons)
    result += ["originals sent to internal target"] * call.revealed
    result.append(_tokens(call.usage))
    result.append(_usd(call.cost_usd))
    if call.estimated is not None:
        result.append(f"given up before it told: {_tokens(call.estimated)}, {_usd(call.estimated_usd)}")
    return [
        f"{at}. {call.provider} / {call.model}{where}: {WHY.get(call.why, call.why)}{cause}",
        *[f"   picked by {call.picked}"] * (call.picked not in ("", "only")),
        f"   {_span(call.start, call.end)}  {', '.join(result)}",
    ]


def _ended(receipt: Receipt) -> str:
    text = f"{OUTCOMES.get(receipt.outcome, receipt.outcome)} ({receipt.outcome}"
    text += f": {receipt.error}" if receipt.error else ""
    text += f"), HTTP {receipt.status}" if receipt.status else "), nothing was sent"
    text += f", {receipt.answer} answer" if receipt.answer else ""
    return text + (f", handed over to {receipt.handoff} ({receipt.handoff_reason})" if receipt.handoff else "")


def _relayed(receipt: Receipt) -> str:
    return f"{receipt.bytes_in:,} bytes in, {receipt.bytes_out:,} out, read by no check unless one is named above"


def _took(receipt: Receipt) -> str:
    parts = [f"{_ms(receipt.duration)} in all"]
    if receipt.ttft is not None:
        parts.append(f"first byte of content after {_ms(receipt.ttft)}")
    if receipt.overhead is not None:
        parts.append(f"{_ms(receipt.overhead)} of that here and not at an upstream")
    if receipt.queued:
        parts.append(f"{_ms(receipt.queued)} of it in a queue, with priority {receipt.priority}")
    if receipt.beats:
        parts.append(f"kept alive {receipt.beats} times meanwhile")
    if receipt.held_chars:
        longest = f", a piece for {_ms(receipt.held)} at most" if receipt.held else ""
        parts.append(f"up to {receipt.held_chars} characters held back{longest}")
    return ", ".join(parts)


def _cost(receipt: Receipt) -> str:
    saved = f", {_usd(receipt.saved_usd)} saved by the cache" if receipt.saved_usd is not None else ""
    would = f", {_usd(receipt.baseline_usd)} of the baseline model" if receipt.baseline_usd is not None else ""
    more = f", and {_usd(receipt.estimated_usd)} by estimate" if receipt.estimated_usd is not None else ""
    return f"{_usd(receipt.cost_usd)} for {_tokens(receipt.usage)}{more}{saved}{would}"


def _tokens(usage: Usage | None) -> str:
    if usage is None:
        return "no usage told"
    cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
    return f"{usage.input_tokens}{cached} in, {usage.output_tokens} out" + (", estimated" if usage.estimated else "")


def _usd(cost: float | None) -> str:
    return "cost unknown" if cost is None else f"{cost:.8f} USD"


def _span(start: int, end: int) -> str:
    return f"{start / 1e6:10.2f} - {end / 1e6:10.2f} ms"


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.2f} ms"
