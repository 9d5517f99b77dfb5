"""One check, a different action for each entity."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.exchange import Exchange
from guardrails.build import build
from guardrails.config import GuardrailConfig, problems
from guardrails.hiding.vault import VAULT
from tests.fixtures.guard_world import exchange_of, said, screened

CARD = "4111 1111 1111 1111"
MAIL = "bob@example.com"


def config(**fields: Any) -> GuardrailConfig:
    given = {"use": "pii", "on": ["input", "retrieved"], "action": "mask", "on_error": "closed", **fields}
    return GuardrailConfig(**given)


async def screen(check: GuardrailConfig, *slots: tuple[Any, ...]) -> tuple[Exchange, bool]:
    exchange = exchange_of(*slots)
    return exchange, await screened(build({"private": check}, ["private"]), exchange) is not None


def verdicts(exchange: Exchange) -> list[tuple[str, str]]:
    return [(verdict.header, verdict.reason) for verdict in exchange.verdicts]


async def test_of_one_text_each_entity_has_its_own_fate() -> None:
    """Masked, only counted, or not looked for; one verdict, of the strongest, and how often the weaker ones."""
    check = config(
        actions={"IP_ADDRESS": "log", "PHONE_NUMBER": "allow", "STAFF": "mask"}, words={"STAFF": ["bluebird"]}
    )
    exchange, stopped = await screen(
        check, ("user", f"{MAIL} from 10.20.30.40 and 10.20.30.41, call (202) 555-0123, bluebird, ann@example.com")
    )
    assert not stopped
    assert said(exchange) == [
        "[[EMAIL_ADDRESS_1]] from 10.20.30.40 and 10.20.30.41, call (202) 555-0123, [[STAFF_1]], [[EMAIL_ADDRESS_2]]"
    ]
    assert verdicts(exchange) == [("private=mask:3", "flag:2")]


async def test_a_blocked_entity_ends_it_and_nothing_is_masked() -> None:
    """The request is refused as it came."""
    exchange, stopped = await screen(config(actions={"CREDIT_CARD": "block"}), ("user", f"{MAIL} pays with {CARD}"))
    assert stopped
    assert said(exchange) == [f"{MAIL} pays with {CARD}"]
    assert VAULT not in exchange.facts
    assert verdicts(exchange) == [("private=block:1", "mask:1")]


async def test_what_was_blocked_once_is_masked_in_the_history() -> None:
    """The client sends the stopped turn again with the next one: it may not go out, and the talk may go on."""
    check = config(actions={"CREDIT_CARD": "block"})
    exchange, stopped = await screen(
        check, ("user", f"I pay with {CARD}"), ("assistant", "No."), ("user", f"I am {MAIL}")
    )
    assert not stopped
    assert said(exchange) == ["I pay with [[CREDIT_CARD_1]]", "No.", "I am [[EMAIL_ADDRESS_1]]"]
    assert verdicts(exchange) == [("private=mask:2", "")]
    _, stopped = await screen(check, ("user", "hello"), ("retrieved", CARD))
    assert stopped, "retrieved text is looked at anew each time"


async def test_a_weaker_entity_hides_no_stronger_one() -> None:
    """A card inside a URL is a card, though looked for together the longer one would win."""
    text = "see https://example.com/pay/4111111111111111/now"
    entities = ["URL", "CREDIT_CARD"]
    exchange, stopped = await screen(
        config(entities=entities, actions={"CREDIT_CARD": "block", "URL": "log"}), ("user", text)
    )
    assert stopped
    exchange, stopped = await screen(config(entities=entities, actions={"URL": "log"}), ("user", text))
    assert not stopped
    assert "4111111111111111" not in said(exchange)[0]
    assert verdicts(exchange) == [("private=mask:1", "flag:1")]


async def test_a_check_that_blocks_may_log_some() -> None:
    """It masks nothing, so it stands among the checks that look at the latest turn."""
    check = config(action="block", actions={"EMAIL_ADDRESS": "log"})
    guards = build({"private": check}, ["private"])
    assert guards.mask is None
    exchange, stopped = await screen(check, ("user", CARD), ("assistant", "No."), ("user", f"I am {MAIL}"))
    assert not stopped
    assert verdicts(exchange) == [("private=flag:1", "")]
    assert said(exchange)[2] == f"I am {MAIL}"


@pytest.mark.parametrize(
    ("fields", "key", "words"),
    [
        ({"actions": {"CRYPTO": "mask"}}, ".actions.CRYPTO", "does not look for it; it looks for EMAIL_ADDRESS"),
        ({"entities": ["URL"], "actions": {"URL": "allow"}}, ".actions", "find nothing"),
        ({"action": "flag", "on_error": None, "actions": {"CREDIT_CARD": "block"}}, ".on_error", "must block cannot run"),
        ({"use": "secrets", "actions": {"API_KEY": "log"}}, ".actions", "means nothing"),
        ({"beside": "call"}, ".beside", "blocks or flags"),
        ({"action": "block", "actions": {"URL": "mask"}, "entities": ["URL"], "beside": "call"}, ".beside", "blocks or flags"),
        ({"action": "block", "on": ["output"], "beside": "call"}, ".beside", "of the input"),
        ({"scope": ["user"]}, ".scope", "take `scope` out"),
    ],
)  # fmt: skip
def test_each_slip_is_named(fields: dict[str, Any], key: str, words: str) -> None:
    """The path says where, the sentence says what is wrong."""
    found = dict(problems({"guard": config(**fields)}))
    assert words in found[f"guardrails.guard{key}"]


@pytest.mark.parametrize(
    "fields",
    [
        {"actions": {"CREDIT_CARD": "block"}, "scope": ["user"], "restore": True},
        {"action": "block", "actions": {"EMAIL_ADDRESS": "mask"}, "restore": True},
        {"action": "block", "beside": "call"},
        {"action": "flag", "on_error": None, "actions": {"US_SSN": "allow"}},
        {"entities": [], "words": {"STAFF": ["bluebird"]}, "actions": {"STAFF": "block"}},
    ],
)
def test_what_makes_sense_is_no_slip(fields: dict[str, Any]) -> None:
    """`scope` says whose text may block; what is masked by any of the actions can be restored."""
    assert list(problems({"guard": config(**fields)})) == []
