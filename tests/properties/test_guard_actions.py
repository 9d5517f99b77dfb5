"""Whatever is done to which entity, nothing that must not go out stands in what goes out."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.build import build, tools_alone
from guardrails.config import GuardrailConfig
from tests.fixtures.guard_world import exchange_of, said, screened

VALUES = {
    "EMAIL_ADDRESS": ["bob@example.com", "ann.lee@mail.example.org"],
    "CREDIT_CARD": ["4111 1111 1111 1111", "5500005555555559"],
    "IP_ADDRESS": ["10.20.30.40", "192.168.7.9"],
    "US_SSN": ["536-90-4399", "212-38-7744"],
    "STAFF": ["bluebird"],
}
ACTIONS = st.sampled_from(["mask", "block", "log", "allow"])
TOOLS = tools_alone()

turns = st.lists(
    st.lists(
        st.sampled_from(["see", "and", "then", ",", *(v for values in VALUES.values() for v in values)]), max_size=6
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(turns, st.dictionaries(st.sampled_from(sorted(VALUES)), ACTIONS), st.sampled_from(["mask", "block", "flag"]))
def test_nothing_that_is_to_be_hidden_goes_out(talk: list[list[str]], actions: dict[str, str], default: str) -> None:
    """A blocked entity in the latest turn ends it; before, where the check masks at all, it is masked. What is masked is
    masked everywhere. The verdict is the strongest of what was done."""
    check = GuardrailConfig(
        use="pii", on=["input"], action=default, on_error="closed", deadline=10.0, actions=actions,
        entities=[name for name in VALUES if name != "STAFF"], words={"STAFF": VALUES["STAFF"]},
    )  # fmt: skip
    exchange = exchange_of(*(("user", " and ".join(words)) for words in talk))
    refused = asyncio.run(screened(build({"private": check}, ["private"], TOOLS), exchange)) is not None
    does = {name: actions.get(name, default) for name in VALUES}
    masks = "mask" in does.values() or default == "mask"
    present = {name for name, values in VALUES.items() if set(values) & set(talk[-1])}
    assert refused == any(does[name] == "block" for name in present)
    if refused:
        return
    hidden = {name for name, action in does.items() if action == "mask" or (action == "block" and masks)}
    for text in said(exchange):
        for name in hidden:
            assert not any(value in text for value in VALUES[name]), (name, does)
    (verdict,) = exchange.verdicts
    everywhere = {name for name, values in VALUES.items() if any(set(values) & set(words) for words in talk)}
    masked = masks and bool(hidden & everywhere)
    assert (verdict.action == "mask") == masked
    assert verdict.action in ("mask", "flag", "allow")
