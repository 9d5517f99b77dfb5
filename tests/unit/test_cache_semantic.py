from __future__ import annotations

import pytest

from cache.build import Caches, build
from cache.config import CacheConfig, ExactConfig, SemanticConfig
from cache.policy import HEADER
from gateway.core.clock import ManualClock
from gateway.core.errors import NotCached
from tests.fixtures.cache_world import SECRET, TrigramEmbed, ask, chat, exchange, look

Q = "What is the capital of Peru?"
DRESSED = "Hello! what is the capital of peru, please"


async def started(embed: TrigramEmbed, *, exact: bool = False, threshold: float = 0.9) -> Caches:
    config = CacheConfig(
        exact=ExactConfig() if exact else None, semantic=SemanticConfig(threshold=threshold, evidence="assume")
    )
    caches = build({"default": config}, secret=SECRET, clock=ManualClock(), embed=embed)
    await caches.start()
    return caches


async def test_the_same_question_in_other_words_is_answered() -> None:
    """A near question gets the answer, its id and how near it was."""
    caches = await started(TrigramEmbed())
    assert await ask(caches, exchange(Q), "Lima.") is None
    again = exchange(DRESSED)
    answer = await look(caches.routes["default"], again)
    assert answer is not None
    assert answer.kind == "semantic"
    assert answer.response is not None
    assert answer.response.choices[0].text == "Lima."
    assert again.cache.result == "semantic"
    assert again.cache.similarity == 1.0
    assert again.cache.id.startswith("s-")
    assert again.cache.age == 0.0
    await caches.close()


async def test_a_veto_is_a_miss_that_names_itself() -> None:
    """A near question that is another one goes to the model, and the record says which rule told them apart."""
    caches = await started(TrigramEmbed(), threshold=0.5)
    await ask(caches, exchange("How do I get from Lima to Quito by bus?"), "North.")
    turned = exchange("How do I get from Quito to Lima by bus?")
    assert await look(caches.routes["default"], turned) is None
    assert (turned.cache.result, turned.cache.reason) == ("miss", "semantic:veto_order")
    await caches.close()


async def test_the_next_candidate_is_tried_after_a_veto() -> None:
    """The nearest entry may be another question while the second nearest is the same one."""
    caches = await started(TrigramEmbed(), threshold=0.5)
    await ask(caches, exchange("How do I get from Lima to Quito by bus?"), "North.")
    await ask(caches, exchange("How do I get from Quito to Lima by bus?"), "South.")
    found = await ask(caches, exchange("how do i get from quito to lima by bus"), "?")
    assert found is not None
    assert found.choices[0].text == "South."
    await caches.close()


async def test_an_encoder_that_fails_is_a_miss() -> None:
    """Overloaded or broken, the encoder costs a hit and not the request; then it is left alone for a while."""
    embed = TrigramEmbed()
    caches = await started(embed)
    embed.failure = TimeoutError()
    made = [exchange(Q) for _ in range(5)]
    for one in made:
        assert await ask(caches, one, "Lima.") is None
    assert [one.degraded for one in made] == [["semantic_cache"]] * 5
    assert made[0].cache.reason == "semantic_cache:timeout"
    assert made[4].cache.reason == "semantic_cache:breaker_open"
    assert embed.calls == 3
    assert caches.stats()["default.semantic"]["entries"] == 0
    await caches.close()


async def test_a_bypass_never_embeds() -> None:
    """What the semantic cache has no part in costs no embedding."""
    embed = TrigramEmbed()
    caches = await started(embed)
    for made in (
        exchange(chat(Q, n=3)),
        exchange(Q, headers={HEADER: "no-store"}),
        exchange(Q, key="", user=""),
        exchange("help"),
    ):
        assert await look(caches.routes["default"], made) is None
        assert made.cache.result == "bypass"
        assert made.cache.reason
    assert embed.calls == 0
    await caches.close()


async def test_an_exact_hit_never_embeds() -> None:
    """The cheap cache comes first."""
    embed = TrigramEmbed()
    caches = await started(embed, exact=True)
    await ask(caches, exchange(Q), "Lima.")
    again = exchange(Q)
    answer = await look(caches.routes["default"], again)
    assert answer is not None
    assert answer.kind == "cached"
    assert embed.calls == 1
    await caches.close()


async def test_no_cache_refreshes_the_semantic_entry() -> None:
    """`no-cache` reads nothing and replaces the entry of the same question."""
    caches = await started(TrigramEmbed())
    await ask(caches, exchange(Q), "old")
    assert await ask(caches, exchange(Q, headers={HEADER: "no-cache"}), "new") is None
    found = await ask(caches, exchange(DRESSED), "?")
    assert found is not None
    assert found.choices[0].text == "new"
    assert caches.stats()["default.semantic"]["entries"] == 1
    await caches.close()


async def test_only_if_cached_asks_every_cache_first() -> None:
    """The promise is kept after the last cache: a semantic hit satisfies it, a miss in both is a 504."""
    caches = await started(TrigramEmbed(), exact=True)
    await ask(caches, exchange(Q), "Lima.")
    only = {HEADER: "only-if-cached"}
    assert await look(caches.routes["default"], exchange(DRESSED, headers=only)) is not None
    with pytest.raises(NotCached):
        await look(caches.routes["default"], exchange("What is the capital of Chile?", headers=only))
    await caches.close()


async def test_the_instructions_are_part_of_the_question() -> None:
    """Another system prompt, response format or parameter never gets this entry, however near the text."""
    caches = await started(TrigramEmbed(), threshold=0.0)
    await ask(caches, exchange(chat(Q)), "Lima.")
    for other in (
        {"model": "fast", "messages": [{"role": "system", "content": "In verse."}, {"role": "user", "content": Q}]},
        chat(Q, response_format={"type": "json_object"}),
        chat(Q, max_tokens=5),
        chat(Q, seed=1),
    ):
        assert await look(caches.routes["default"], exchange(other)) is None
    await caches.close()
