"""The bench of caches and router: its texts are different ones, and its table tells what it measured against which limit."""

from __future__ import annotations

from bench import caches
from bench.cache_texts import intents, questions
from bench.caches import Row, report


def test_questions_are_all_different_and_always_the_same() -> None:
    """A question that came twice would be a hit where none is meant."""
    asked = questions(12_000)
    assert len(set(asked)) == 12_000
    assert asked == questions(12_000)


def test_fresh_utterances_are_among_no_examples() -> None:
    """An example word for word needs no encoder, so it would measure nothing."""
    table, fresh = intents(150, 10, 2_000)
    assert len(table) == 150
    assert len(fresh) == 2_000
    assert not set(fresh) & {text for texts in table.values() for text in texts}


def test_the_table_says_what_passes() -> None:
    """By the median, at the size that the limit speaks of; a quick run says that it is none."""
    rows = [
        Row("exact, in memory", "hit", 0.05, 1.0, 0.04),
        Row("semantic", "x", 4.5, 9.0, 3.0),
        Row("", "of that", 1.0, 2.0, 1.0),
    ]
    text = report(rows, False, 0.25, caches.ENTRIES)
    assert "| exact, in memory | hit | 0.050 | 1.000 | 0.040 | 0.1 | pass |" in text
    assert "| semantic | x | 4.500 | 9.000 | 3.000 | 4 | **FAIL** |" in text
    assert "other work took 25 % of the machine" in text
    assert "Quick" not in text
    assert "Quick: 2,000 entries" in report(rows, True, 0.0, 2_000)


async def test_one_request_is_timed_after_the_warm_up() -> None:
    """What was late is told and does not count."""
    seen: list[int] = []

    async def once(number: int) -> bool:
        seen.append(number)
        return number % 2 == 0

    row = await caches.timed("s", "w", once, 20)
    assert len(seen) == 22
    assert len(set(seen)) == 22
    assert "late" in row.what
    assert row.p50 >= 0
