"""Only models that can serve a request are asked: by what they can do, and by what fits into their window."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ContextOverflow, Untranslatable
from gateway.core.exchange import Exchange
from gateway.core.plan import Capability, ModelPlan, Plan, Target
from gateway.core.request import Request
from gateway.core.tokens import at_most, estimate
from gateway.dialects.registry import dialects
from routing.config import ContextConfig
from routing.fitting import fit
from routing.needs import needs
from tests.unit.test_routing_plans import exchange as bare

OPENAI, ANTHROPIC, RESPONSES, GEMINI = (dialects()[name] for name in ("openai", "anthropic", "responses", "gemini"))
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
AUTO, REROUTE, TRUNCATE, REJECT = (
    ContextConfig(on_overflow=mode, reserve=0) for mode in (None, "reroute", "truncate", "reject")
)
WORDS = "word " * 1000
"""About 1,400 tokens by the estimate, at most 5,000."""


def target(window: int | None = None, can: set[Capability] | None = None, weight: int = 1) -> Target:
    capabilities = None if can is None else frozenset(can)
    return Target(provider="p", model="m", weight=weight, context_window=window, capabilities=capabilities)


def model(alias: str, *targets: Target) -> ModelPlan:
    return ModelPlan(alias=alias, targets=targets)


def chat(*messages: Any, dialect: Any = OPENAI, **fields: Any) -> Request:
    listed = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    made: Request = dialect.read("chat", {"model": "m", "messages": listed, **fields})
    return made


def planned(request: Request, plan: Plan, config: ContextConfig = AUTO) -> Exchange:
    exchange = bare("m")
    exchange.request, exchange.plan = request, plan
    fit(exchange, config)
    return exchange


def names(exchange: Exchange) -> list[str]:
    assert exchange.plan is not None
    return [plan.alias for plan in exchange.plan.models]


# --- what a request needs


@pytest.mark.parametrize(
    ("fields", "content", "needed"),
    [
        ({}, "hi", {}),
        ({"tools": []}, "hi", {}),
        ({"n": 1, "logprobs": False, "reasoning_effort": "none"}, "hi", {}),
        ({"tools": [TOOL]}, "hi", {"tools": "tools"}),
        ({"response_format": SCHEMA}, "hi", {"json_schema": "response_format.type"}),
        ({"response_format": {"type": "json_object"}}, "hi", {"json": "response_format.type"}),
        ({"logprobs": True}, "hi", {"logprobs": "logprobs"}),
        ({"n": 2}, "hi", {"several_answers": "n"}),
        ({"reasoning_effort": "high"}, "hi", {"reasoning": "reasoning_effort"}),
        ({}, [IMAGE], {"vision": "messages[0].content[0]"}),
        ({}, [{"type": "input_audio", "input_audio": {}}], {"audio": "messages[0].content[0]"}),
        ({}, [{"type": "file", "file": {}}], {"files": "messages[0].content[0]"}),
    ],
)
def test_openai_requests_say_what_they_need(fields: dict[str, Any], content: Any, needed: dict[str, str]) -> None:
    """Each need is found and named by its field; a field that is there and says no is no need."""
    assert needs(chat({"role": "user", "content": content}, **fields)) == needed


def test_anthropic_requests_say_what_they_need() -> None:
    """Images also inside the results of tools; a plain-text document is text."""
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "x"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}

    def of(*content: Any, **fields: Any) -> dict[str, str]:
        return dict(needs(chat({"role": "user", "content": list(content)}, dialect=ANTHROPIC, max_tokens=9, **fields)))

    assert of(text) == {}
    assert of(pdf) == {"files": "messages[0].content[0]"}
    assert of(result) == {"vision": "messages[0].content[0].content[0]"}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert of(text, thinking=thinking, tools=[{"name": "f", "input_schema": {}}]).keys() == {"tools", "reasoning"}


def test_responses_requests_say_what_they_need() -> None:
    """The same needs by this dialect's own words, also in what a function gave back."""

    def of(items: Any, **fields: Any) -> dict[str, str]:
        return dict(needs(RESPONSES.read("chat", {"model": "m", "input": items, **fields})))

    assert of("hi") == {}
    assert of("hi", text={"format": {"type": "json_schema", "schema": {}}}) == {"json_schema": "text.format.type"}
    assert of("hi", reasoning={"effort": "low"}) == {"reasoning": "reasoning.effort"}
    picture = {"type": "input_image", "image_url": "https://example.com/a.png"}
    assert of([{"role": "user", "content": [picture]}]) == {"vision": "input[0].content[0]"}
    output = {"type": "function_call_output", "call_id": "c", "output": [picture]}
    assert of([{"role": "user", "content": "x"}, output]) == {"vision": "input[1].output[0]"}


def test_gemini_requests_say_what_they_need() -> None:
    """The same needs again, where parts are told by what they hold."""

    def of(*parts: Any, **fields: Any) -> dict[str, str]:
        contents = [{"role": "user", "parts": [{"text": "hi"}, *parts]}]
        return dict(needs(GEMINI.read("chat", {"model": "m", "contents": contents, **fields})))

    assert of(generationConfig={"candidateCount": 1, "thinkingConfig": {"thinkingBudget": 0}}) == {}
    assert of(tools=[{"functionDeclarations": []}]) == {"tools": "tools"}
    wanted = {"responseMimeType": "application/json"}
    assert of(generationConfig=wanted) == {"json": "generationConfig"}
    assert of(generationConfig={**wanted, "responseSchema": {"type": "OBJECT"}}) == {"json_schema": "generationConfig"}
    more = {"candidateCount": 2, "responseLogprobs": True, "thinkingConfig": {"thinkingLevel": "HIGH"}}
    assert of(generationConfig=more).keys() == {"several_answers", "logprobs", "reasoning"}
    picture, sound, page = ({"inlineData": {"mimeType": kind, "data": ""}} for kind in ("image/png", "audio/wav", "application/pdf"))  # fmt: skip
    assert of(picture) == {"vision": "contents[0].parts[1].inlineData"}
    assert of(sound, page).keys() == {"audio", "files"}
    given = {"functionResponse": {"name": "f", "response": {}, "parts": [picture]}}
    assert of(given) == {"vision": "contents[0].parts[1].functionResponse.parts[0].inlineData"}


# --- who can


def test_only_able_models_stay() -> None:
    """A model without what the request needs is left out, and the exchange says so; the others keep their order."""
    plan = Plan(models=(model("a", target(can={"tools"})), model("b", target(can={"vision"})), model("c", target())))
    exchange = planned(chat({"role": "user", "content": [IMAGE]}), plan)
    assert (names(exchange), exchange.left_out) == (["b", "c"], ["a: vision"])


def test_what_nobody_declared_is_asked_as_ever() -> None:
    """Unknown capabilities allow everything, and the plan is the same object."""
    plan = Plan(models=(model("a", target()),))
    assert planned(chat("x", tools=[TOOL], n=3), plan).plan is plan


def test_nobody_able_is_the_clients_error_naming_the_field() -> None:
    """400 with the field and the capability; no model of ours is named."""
    plan = Plan(models=(model("hidden", target(can=set())),))
    with pytest.raises(Untranslatable, match="vision") as told:
        planned(chat({"role": "user", "content": [IMAGE]}), plan)
    assert (told.value.wire.status, told.value.param) == (400, "messages[0].content[0]")
    assert "hidden" not in told.value.message


def test_targets_of_one_model_differ() -> None:
    """Within a model only the able targets stay; those that had no weight get some when they are all there is."""
    able = [target(can={"tools"}, weight=0), target(can={"tools"}, weight=0)]
    plan = Plan(models=(model("a", target(can=set(), weight=9), *able),))
    made = planned(chat("x", tools=[TOOL]), plan).plan
    assert made is not None
    assert [t.weight for t in made.models[0].targets] == [1, 1]


# --- what fits


def test_what_surely_fits_is_not_touched() -> None:
    """Far below every window the plan is the same object, whatever is configured."""
    plan = Plan(models=(model("a", target(4096)),))
    for config in (AUTO, REROUTE, TRUNCATE, REJECT):
        assert planned(chat("hi", max_tokens=10), plan, config).plan is plan


def test_rerouting_leaves_out_who_cannot_hold_it() -> None:
    """Small windows go, fallbacks too; the answer asked for counts."""
    plan = Plan(models=(model("a", target(1000)), model("b", target(8000)), model("c", target(1200))))
    exchange = planned(chat(WORDS), plan, REROUTE)
    assert (names(exchange), exchange.left_out) == (["b"], ["a: context_window", "c: context_window"])
    with pytest.raises(ContextOverflow):
        planned(chat(WORDS, max_tokens=7000), plan, REROUTE)


def test_overflow_models_come_when_no_other_can() -> None:
    """`on_context_overflow` is asked first, not after a refusal that is known beforehand."""
    plan = Plan(models=(model("a", target(1000)),), overflow=(model("s", target(1100)), model("l", target(90_000))))
    assert names(planned(chat(WORDS), plan, REROUTE)) == ["l"]
    assert names(planned(chat(WORDS), plan)) == ["l"]


def test_without_configuration_an_estimate_refuses_nobody() -> None:
    """Where no window could hold it, or one is unknown, the plan stays and the upstream has the last word."""
    for targets in ([target(1000)], [target(1000), target(None)]):
        plan = Plan(models=tuple(model(f"m{at}", t) for at, t in enumerate(targets)))
        assert planned(chat(WORDS), plan).plan is plan


def test_a_refusal_has_the_numbers() -> None:
    """`context_length_exceeded`, 400, with what is needed, what for, and the window."""
    plan = Plan(models=(model("a", target(1000)), model("b", target(90_000))))
    with pytest.raises(ContextOverflow, match=r"1000 tokens.*\d{4}.*500 for the answer") as told:
        planned(chat(WORDS, max_tokens=500), plan, REJECT)
    assert (told.value.wire.status, told.value.code, told.value.param) == (400, "context_length_exceeded", "messages")


def test_the_retrieved_text_counts() -> None:
    """The book's case: 1,000 tokens for a model of 4K, then 8,000 retrieved. Rerouted, cut, or refused as configured."""
    question = {"type": "text", "text": "word " * 700}
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "fact " * 5600}}
    plan = Plan(models=(model("small", target(4096)), model("large", target(32_768))))

    def request() -> Request:
        return chat({"role": "user", "content": [document, question]}, dialect=ANTHROPIC, max_tokens=256)

    assert names(planned(request(), plan, REROUTE)) == ["large"]
    with pytest.raises(ContextOverflow):
        planned(request(), plan, REJECT)
    cut = planned(request(), plan, TRUNCATE)
    assert names(cut) == ["small", "large"]
    assert cut.request is not None
    assert estimate(cut.request) + 256 <= 4096
    kept = {slot.role: slot.text for slot in cut.request.slots}
    assert kept["user"] == question["text"]
    assert kept["retrieved"].startswith("fact fact")
    assert kept["retrieved"].endswith("[cut]")
    assert "characters of retrieved text cut" in cut.warnings[0]


@given(st.lists(st.text(st.characters(codec=None), max_size=60), min_size=1, max_size=8))
def test_the_bound_is_above_the_estimate(texts: list[str]) -> None:
    """What is never too low is never below what is estimated, for any text, in tools as well."""
    request = chat(*texts, tools=[{"type": "function", "function": {"name": "f", "description": texts[0]}}])
    assert at_most(request, 0) >= estimate(request)
    assert at_most(request, 10**9) >= at_most(request, 0)
