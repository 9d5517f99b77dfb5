"""The router with the real encoder: what a support route does with what people say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.accounting.cost import cost_usd
from gateway.core.answer import Answer
from gateway.core.clock import ManualClock
from gateway.core.exchange import Exchange, Trace
from gateway.core.plan import ModelPlan, Target
from gateway.core.ports import Decider, Embed
from gateway.dialects.openai_read import read
from gateway.embedding.minilm import MiniLM
from routing.build import build
from routing.config import IntentsConfig, RouteMatch, Rules
from tests.fixtures.support import BETWEEN, EXAMPLES, THEN


def model(alias: str, *fallbacks: str) -> ModelPlan:
    return ModelPlan(alias=alias, targets=(Target(provider="p", model=alias),), on_failure=fallbacks)


PLANS = {"smart": model("smart", "fast"), "fast": model("fast")}


def router(embed: Embed | None, heads: Path | None = None, **fields: Any) -> Decider:
    config = msgspec.convert({"examples": EXAMPLES, "then": THEN, "budget": 5.0} | fields, IntentsConfig)
    routes = {"default": Rules(), "support": Rules(match=RouteMatch(models=["support"]), intents=config)}
    revisions = {"default": "0", "support": "1"}
    return build(routes, plans=PLANS, cost=cost_usd, embed=embed, base=Path(), revisions=revisions, heads=heads).routes[
        "support"
    ]


@pytest.fixture(scope="module")
def support(minilm: MiniLM) -> Decider:
    return router(minilm)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


async def ask(
    stage: Decider, *messages: dict[str, Any] | str, asked: str = "support"
) -> tuple[Exchange, Answer | None]:
    async def body() -> bytes:
        return b""

    exchange = Exchange(
        id="x-12345678",
        dialect="openai",
        operation="chat",
        headers={},
        credential=None,
        read_body=body,
        clock=ManualClock(),
        trace=Trace("0" * 32, "0" * 16),
        timeout=60.0,
    )
    talk = [user(message) if isinstance(message, str) else message for message in messages]
    exchange.request = read("chat", {"model": asked, "messages": talk})
    return exchange, await stage.decide(exchange)


def text_of(answer: Answer | None) -> str:
    assert answer is not None
    assert answer.response is not None
    assert answer.response.complete
    return answer.response.choices[0].text or ""


def planned(exchange: Exchange) -> list[str]:
    assert exchange.plan is not None
    return [plan.alias for plan in exchange.plan.models]


async def test_a_known_question_is_answered_without_a_model(support: Decider) -> None:
    """A canned answer is a whole 200 completion with the intent told, and nothing is planned."""
    exchange, answer = await ask(support, "I can't remember my password, help me set another one")
    assert text_of(answer) == THEN["reset_password"]["answer"]
    assert answer is not None
    assert answer.kind == "canned"
    assert exchange.intent == "reset_password"
    assert exchange.intent_score is not None
    assert exchange.intent_score > 0.5
    assert exchange.plan is None
    response = answer.response
    assert response is not None
    assert (response.id, response.model, response.created) == ("x-12345678", "support", 1_700_000_000)


async def test_an_intent_chooses_the_model(support: Decider) -> None:
    """A technical question goes to `smart`, with its fallback behind it."""
    exchange, answer = await ask(support, "the application crashes at startup since the update")
    assert answer is None
    assert planned(exchange) == ["smart", "fast"]
    assert exchange.intent == "technical"


async def test_a_handover_names_who_takes_over(support: Decider) -> None:
    """A handed-over question is an ordinary answer, with the team in a header for the application."""
    exchange, answer = await ask(support, "my invoice has a mistake and I want my money back")
    assert exchange.intent == "billing_error"
    assert answer is not None
    assert answer.kind == "handoff"
    assert answer.headers == {"x-tidegate-handoff": "billing-team"}
    assert "billing team" in text_of(answer)


@pytest.mark.parametrize(
    "question", ["write me a poem about the sea", "Who won the world cup in 1998?", "explain quantum computing"]
)
async def test_what_is_about_something_else_is_out_of_scope(support: Decider, question: str) -> None:
    """Other topics get the out-of-scope answer, and no model is called."""
    exchange, answer = await ask(support, question)
    assert exchange.intent == "out_of_scope"
    assert exchange.intent_score is not None
    assert exchange.intent_score < 0.5
    assert text_of(answer) == THEN["out_of_scope"]["answer"]


async def test_without_a_reply_for_it_out_of_scope_only_tells(minilm: MiniLM) -> None:
    """No `out_of_scope` under `then`: the intent is told, and the default model answers."""
    stage = router(minilm, then={"technical": {"model": "smart"}}, default="fast")
    exchange, answer = await ask(stage, "write me a poem about the sea")
    assert answer is None
    assert exchange.intent == "out_of_scope"
    assert planned(exchange) == ["fast"]


async def test_between_two_intents_it_asks_once(minilm: MiniLM) -> None:
    """Too close to call: a question naming both. Asked again in the same conversation: the default model."""
    stage = router(minilm, margin=1.0)
    exchange, answer = await ask(stage, BETWEEN)
    assert answer is not None
    assert (answer.kind, exchange.intent) == ("clarify", "unclear")
    question = text_of(answer)
    assert question.startswith("Do you mean ")
    exchange, answer = await ask(stage, BETWEEN, assistant(question), "my page shows a charge with an error in it")
    assert answer is None
    assert exchange.intent == "unclear"
    assert planned(exchange) == ["smart", "fast"]


async def test_the_reply_to_our_question_is_understood(minilm: MiniLM) -> None:
    """`the second one` means the second intent that was offered."""
    stage = router(minilm, margin=1.0)
    offered = assistant("Do you mean technical or reset password?")
    exchange, answer = await ask(stage, BETWEEN, offered, "the second one")
    assert exchange.intent == "reset_password"
    assert text_of(answer) == THEN["reset_password"]["answer"]


async def test_a_question_that_is_not_ours_offers_nothing(minilm: MiniLM) -> None:
    """Only our own template counts: another assistant question does not turn `the second one` into an intent."""
    exchange, _ = await ask(router(minilm), "hi", assistant("Do you mean tea or coffee?"), "the second one please")
    assert exchange.intent == "out_of_scope"


@pytest.mark.parametrize(
    ("before", "now", "intent"),
    [
        ("I have lost my password", "and how do I do that?", "reset_password"),
        ("I was charged twice", "why?", "billing_error"),
        ("the export button fails", "and on android?", "technical"),
        ("I was charged twice", "it crashes too", "technical"),
        ("I have lost my password", "refund", "billing_error"),
    ],
)
async def test_a_follow_up_is_read_with_what_came_before(support: Decider, before: str, now: str, intent: str) -> None:
    """Words that mean nothing by themselves take their meaning from the turn before; clear ones keep their own."""
    exchange, _ = await ask(support, before, assistant("One moment."), now)
    assert exchange.intent == intent


async def test_thanks_are_not_the_question_again(support: Decider) -> None:
    """A courtesy after a canned answer does not bring that answer back."""
    exchange, _ = await ask(support, "I have lost my password", assistant("You can reset it."), "thanks, great!")
    assert exchange.intent != "reset_password"


async def test_a_model_in_the_middle_of_its_work_is_not_cut_off(support: Decider) -> None:
    """After a tool's result no canned answer is put in, whatever the user had asked."""
    call = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    exchange, answer = await ask(
        support,
        "I forgot my password",
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
    )
    assert answer is None
    assert exchange.intent == "reset_password"
    assert planned(exchange) == ["smart", "fast"]


async def test_a_model_asked_for_by_name_is_kept(minilm: MiniLM) -> None:
    """On a route of real models, an intent without an action leaves the asked model in place."""
    stage = router(minilm, then={"technical": {"model": "smart"}})
    exchange, answer = await ask(stage, "I need a new password", asked="fast")
    assert answer is None
    assert (exchange.intent, planned(exchange)) == ("reset_password", ["fast"])


class Broken:
    """An encoder that cannot answer now, as `MiniLM` is when overloaded, too slow, or closed."""

    def __init__(self, encoder: MiniLM, error: Exception) -> None:
        self.id, self.dim = encoder.id, encoder.dim
        self.encode = encoder.encode
        self._error = error

    async def embed(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        raise self._error


@pytest.mark.parametrize("error", [TimeoutError("overloaded"), RuntimeError("the encoder is closed")])
async def test_without_the_encoder_the_request_is_answered_all_the_same(minilm: MiniLM, error: Exception) -> None:
    """Overloaded or broken: the default model answers, and the exchange says what was skipped."""
    exchange, answer = await ask(router(Broken(minilm, error)), "I cannot remember my password at all")
    assert answer is None
    assert (exchange.intent, exchange.intent_score, exchange.degraded) == ("", None, ["intent_router"])
    assert planned(exchange) == ["smart", "fast"]


async def test_a_slow_encoder_is_given_up_on(minilm_dir: Path, minilm: MiniLM) -> None:
    """Past its budget the question is not waited for: a busy encoder costs a request the budget and no more."""
    encoder = MiniLM(minilm_dir, deadline=60.0)
    try:
        stage = router(encoder, budget=0.005)
        busy = [f"{number} " * 120 for number in range(60)]
        crowd = asyncio.create_task(encoder.embed(busy))
        await asyncio.sleep(0)
        exchange, answer = await ask(stage, "I cannot remember my password at all")
        assert answer is None
        assert exchange.degraded == ["intent_router"]
        crowd.cancel()
    finally:
        encoder.close()


async def test_without_the_encoders_files_examples_are_still_recognised() -> None:
    """No encoder at all: an example typed as it stands has its intent, anything else goes on degraded."""
    stage = router(None)
    exchange, answer = await ask(stage, "I forgot my password!")
    assert text_of(answer) == THEN["reset_password"]["answer"]
    assert not exchange.degraded
    exchange, answer = await ask(stage, "I cannot remember my password")
    assert answer is None
    assert exchange.degraded == ["intent_router"]


class OneText(Broken):
    """Embeds a question, but cannot fit."""

    def __init__(self, encoder: MiniLM) -> None:
        super().__init__(encoder, RuntimeError())
        self.embed = encoder.embed  # type: ignore[method-assign]
        self.encode = self._refuse  # type: ignore[method-assign]

    def _refuse(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        raise AssertionError("nothing should be fitted")


async def test_a_restart_reads_as_before(minilm: MiniLM, tmp_path: Path) -> None:
    """The second start takes the fitted head from disk, fits nothing, and reads every question the same."""
    first, second = router(minilm, tmp_path), router(OneText(minilm), tmp_path)
    for question in ("how can I pay by card", "my upload fails with an error", "password"):
        one, _ = await ask(first, question)
        two, _ = await ask(second, question)
        assert (one.intent, one.intent_score) == (two.intent, two.intent_score)


async def test_a_folder_that_cannot_be_written_is_no_failure(minilm: MiniLM, tmp_path: Path) -> None:
    """A head that cannot be kept is used all the same."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    exchange, _ = await ask(router(minilm, blocked / "heads"), "I have lost my password")
    assert exchange.intent == "reset_password"


async def test_embeddings_and_images_are_only_planned(support: Decider) -> None:
    """A turn without words has no intent; the default model answers, and nothing is called degraded."""
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
    exchange, answer = await ask(support, picture)
    assert answer is None
    assert (exchange.intent, exchange.degraded, planned(exchange)) == ("", [], ["smart", "fast"])
