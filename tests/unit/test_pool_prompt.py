"""What a prompt looks like to a pool: alike for engines that would read alike, in every dialect, and bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.plan import Target
from gateway.core.request import Request
from gateway.core.tokens import MEDIA_TOKENS
from gateway.dialects import anthropic_read, gemini_read, openai_read, responses_read
from gateway.pools.affinity import PrefixScope, ask_of
from gateway.pools.asked import Asked
from gateway.pools.chain import BLOCK, MOST_BLOCKS, ROOT_BLOCKS, Prefix, prefix_of
from gateway.pools.prompt import prefix_of_request


def common(one: Prefix, other: Prefix) -> int:
    """Blocks that two prompts begin with alike."""
    count = 0
    for a, b in zip(one.blocks, other.blocks, strict=False):
        if a != b:
            break
        count += 1
    return count


# --- the chain


@given(st.binary(max_size=2000), st.binary(max_size=600), st.binary(max_size=600))
def test_as_many_hashes_in_common_as_blocks(start: bytes, one: bytes, other: bytes) -> None:
    """Two texts have exactly those hashes in common that stand for the whole blocks with which both begin."""
    first, second = start + one, start + other
    same = 0
    while same * BLOCK + BLOCK <= min(len(first), len(second)):
        if first[: (same + 1) * BLOCK] != second[: (same + 1) * BLOCK]:
            break
        same += 1
    a, b = prefix_of(first), prefix_of(second)
    assert common(a, b) == same
    assert set(a.blocks[same:]).isdisjoint(b.blocks[same:])


@given(st.binary(min_size=1, max_size=1500), st.binary(max_size=1500))
def test_the_head_is_the_same_whatever_follows(head: bytes, rest: bytes) -> None:
    """The hash of a beginning does not depend on what comes after it, nor on where blocks end."""
    assert prefix_of(head + rest, head=len(head)).head == prefix_of(head).head == prefix_of(head).whole
    assert prefix_of(head + rest, head=len(head)).whole == prefix_of(head + rest).head


def test_a_chain_is_bounded() -> None:
    """Of a text of any length at most 2048 blocks are hashed; its whole size still counts as to be read."""
    prefix = prefix_of(b"x" * (BLOCK * MOST_BLOCKS * 3), head=BLOCK * MOST_BLOCKS * 2)
    assert (len(prefix.blocks), prefix.size) == (MOST_BLOCKS, BLOCK * MOST_BLOCKS * 3)


def test_two_salts_have_nothing_in_common() -> None:
    """A prompt of one owner is never found by its hashes among another's, not even by its head."""
    text = b"x" * 2000
    one, other = prefix_of(text, salt=b"a", head=700), prefix_of(text, salt=b"b", head=700)
    assert set(one.blocks).isdisjoint(other.blocks)
    assert len({one.head, other.head, one.whole, other.whole, one.root, other.root}) == 6


def test_the_root_is_the_first_kilobyte() -> None:
    """Long prompts that begin alike belong together; one of less than a KiB is told by its first turn."""
    start = b"s" * (BLOCK * ROOT_BLOCKS)
    assert prefix_of(start + b"one").root == prefix_of(start + b"other" * 99).root
    assert prefix_of(b"a" + start).root != prefix_of(start).root
    assert prefix_of(b"hello, and more", head=5).root == prefix_of(b"hello").root


# --- requests


def chat(*messages: dict[str, Any], **fields: Any) -> Request:
    return openai_read.read("chat", {"model": "m", "messages": list(messages), **fields})


def claude(*messages: dict[str, Any], **fields: Any) -> Request:
    return anthropic_read.read("chat", {"model": "m", "max_tokens": 9, "messages": list(messages), **fields})


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def prefix(request: Request, model: str = "m", scope: str = "t") -> Prefix:
    return prefix_of_request(request, model, scope)


LONG = "Help with questions about ships, winds and tides. " * 40
SYSTEM = said("system", LONG)
TOOLS = [
    {"type": "function", "function": {"name": "look", "description": "d" * 300}},
    {"type": "function", "function": {"name": "sail", "description": "e" * 300}},
]


def test_a_growing_conversation_keeps_its_blocks_and_its_head() -> None:
    """Each turn's prompt begins with the whole blocks of the one before."""
    turns = [SYSTEM, said("user", "ahoy " * 100), said("assistant", "arr " * 90), said("user", "whither? " * 80)]
    prompts = [prefix(chat(*turns[:length])) for length in range(2, 5)]
    for shorter, longer in zip(prompts, prompts[1:], strict=False):
        assert longer.blocks[: len(shorter.blocks)] == shorter.blocks
        assert longer.head == shorter.head
        assert longer.size > shorter.size
        assert longer.whole != shorter.whole


def test_conversations_over_one_system_prompt_have_heads_of_their_own() -> None:
    """What they share are blocks and root; what tells them apart is the first turn."""
    one, other = (prefix(chat(SYSTEM, said("user", text))) for text in ("one", "another"))
    assert common(one, other) == len(one.blocks) > ROOT_BLOCKS
    assert one.root == other.root
    assert one.head != other.head


def test_all_dialects_say_the_same() -> None:
    """One conversation is one prompt, whether its client speaks OpenAI's dialects or Anthropic's, in parts or strings."""
    turns = [said("user", "ahoy " * 100), said("assistant", "arr"), said("user", "whither?")]
    parts = [said(turn["role"], [{"type": "text", "text": turn["content"]}]) for turn in turns]
    item = {"model": "m", "instructions": LONG, "input": turns}
    assert (
        prefix(chat(SYSTEM, *turns))
        == prefix(chat(SYSTEM, *parts))
        == prefix(claude(*turns, system=LONG))
        == prefix(claude(*parts, system=[{"type": "text", "text": LONG}]))
        == prefix(responses_read.read("chat", item))
    )


def test_marks_that_clients_move_about_change_nothing() -> None:
    """`cache_control` and sampling are not read by the engine."""
    block = {"type": "text", "text": "ahoy"}
    marked = {**block, "cache_control": {"type": "ephemeral"}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
    pinned = {**image, "cache_control": {"type": "ephemeral"}}
    plain = prefix(claude(said("user", [block, image])))
    assert plain == prefix(claude(said("user", [marked, pinned]), temperature=0.1, stream=True))


@pytest.mark.parametrize(
    "other",
    [
        chat(said("system", "Y" + LONG), said("user", "ahoy")),
        chat(SYSTEM, said("user", "ahoy"), tools=TOOLS),
        chat(SYSTEM, said("user", [{"type": "text", "text": "aho"}, {"type": "text", "text": "y"}])),
        chat(SYSTEM, said("assistant", "ahoy")),
        chat(
            SYSTEM, said("user", [{"type": "text", "text": "ahoy"}, {"type": "image_url", "image_url": {"url": "u"}}])
        ),
    ],
)
def test_what_an_engine_reads_otherwise_is_another_prompt(other: Request) -> None:
    """Texts, tools, roles, parts and pictures are all part of it."""
    assert prefix(other).whole != prefix(chat(SYSTEM, said("user", "ahoy"))).whole


def test_models_and_tenants_share_nothing() -> None:
    """Two models have two caches, and nobody learns from his waits what another tenant asked."""
    request = chat(SYSTEM, said("user", "ahoy"))
    mine = prefix(request)
    for other in (prefix(request, model="lora"), prefix(request, scope="u"), prefix(request, "mt", "")):
        assert common(mine, other) == 0
        assert mine.root != other.root


def test_tools_count_by_what_they_say() -> None:
    """The order of a tool's fields is the client's whim; the order of tools is not."""
    turned = [{"function": dict(reversed(tool["function"].items())), "type": tool["type"]} for tool in TOOLS]
    ask = said("user", "ahoy")
    assert prefix(chat(ask, tools=TOOLS)) == prefix(chat(ask, tools=turned))
    assert common(prefix(chat(ask, tools=TOOLS)), prefix(chat(ask, tools=TOOLS[::-1]))) == 0


def test_a_picture_is_its_digest_and_as_long_as_its_tokens() -> None:
    """The same picture is found again, another one is not, and a megabyte of base64 weighs what an engine makes of it."""

    def seen(data: str) -> Prefix:
        part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        return prefix(chat(SYSTEM, said("user", [part, {"type": "text", "text": "what is it?"}])))

    plain = prefix(chat(SYSTEM, said("user", "what is it?")))
    first = seen("A" * 1_000_000)
    assert first == seen("A" * 1_000_000)
    assert first.size - plain.size == pytest.approx(MEDIA_TOKENS * 4, rel=0.01)
    assert common(first, seen("B" + "A" * 999_999)) == common(first, plain) > ROOT_BLOCKS


def test_pictures_in_results_and_in_turns_without_words() -> None:
    """A picture that a tool gave back, and a turn that is nothing but one, are part of the prompt, in their place."""

    def result(data: str) -> Request:
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
        shown = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
        return claude(said("user", "look"), said("assistant", "I do"), said("user", [shown]))

    assert prefix(result("a")).whole != prefix(result("b")).whole
    image = {"type": "image_url", "image_url": {"url": "u"}}
    alone = chat(said("user", [image]), said("assistant", "a ship"), said("user", "whose?"))
    assert prefix(alone).size > MEDIA_TOKENS * 4


def test_prompts_of_other_operations() -> None:
    """Text prompts and prompts given as token ids; what is longer than the chain counts by its length."""

    def completion(prompt: Any) -> Prefix:
        return prefix(openai_read.read("completions", {"model": "m", "prompt": prompt}))

    assert completion("once " * 200).blocks != completion("twice " * 200).blocks
    ids = list(range(1000, 2000))
    assert common(completion(ids), completion([*ids, 5])) == len(completion(ids).blocks) > 10
    assert completion([ids, [3]]).blocks
    long = completion("x" * (BLOCK * MOST_BLOCKS * 4))
    assert (len(long.blocks), long.size) == (MOST_BLOCKS, pytest.approx(BLOCK * MOST_BLOCKS * 4, rel=0.001))


def test_odd_bodies_have_a_prompt() -> None:
    """Whatever a client may send and a reader lets through, here it is no error."""
    odd: list[Any] = [{"function": {"name": 7}}, 3, None, {"function": "x"}, {}, {"a": "\ud800"}]
    for request in (
        chat(said("user", "\ud800"), tools=odd),
        chat(said("user", "hi"), tools="none"),
        chat(said("user", [{"type": "image_url", "image_url": {"url": "\ud800"}}])),
        chat({"role": "assistant"}, said("user", [])),
    ):
        assert prefix(request) == prefix(request)


# --- what is asked of a pool


def test_a_rule_is_told_what_it_looks_at_and_no_more() -> None:
    """Prompts are only read for the rule that asks for them, sessions for theirs; the adapter for all."""
    target = Target(provider="p", model="base:law", adapter="law")
    request = chat(SYSTEM, said("user", "ahoy"))
    for balance in ("round_robin", "least_inflight", "latency"):
        assert ask_of(balance)(request, target, "s", "t", 2) == Asked("base:law", "law", turn=2)
    assert ask_of("session")(request, target, "s", "t", 0) == Asked("base:law", "law", b"s")
    assert ask_of("session")(request, target, "", "t", 0).key == b""
    assert ask_of("prefix")(request, target, "s", "t", 1).prefix == prefix(request, "base:law", "t")


def test_tenants_share_prompts_only_where_the_operator_says_so() -> None:
    """By default what one tenant asked is not looked for by another; `prefix_scope: all` shares it."""
    target = Target(provider="p", model="m")
    request = chat(SYSTEM, said("user", "ahoy"))

    def asked(scope: PrefixScope, tenant: str) -> Asked:
        return ask_of("prefix", scope)(request, target, "", tenant, 0)

    assert asked("tenant", "a") != asked("tenant", "b")
    assert asked("all", "a") == asked("all", "b")


def test_geminis_pictures_are_part_of_the_prompt() -> None:
    """Its parts have no type: they are told by what they hold."""

    def gemini(data: str) -> Request:
        parts = [{"text": "what is it?"}, {"inlineData": {"mimeType": "image/png", "data": data}}]
        return gemini_read.read("chat", {"model": "m", "stream": False, "contents": [{"role": "user", "parts": parts}]})

    assert prefix(gemini("a")).size > MEDIA_TOKENS * 4
    assert prefix(gemini("a")) == prefix(gemini("a"))
    assert prefix(gemini("a")).whole != prefix(gemini("b")).whole
