"""The bench of the checks: its texts are what they say, and its report leaves the others' alone."""

from __future__ import annotations

from pathlib import Path

from bench import guards
from bench.guard_report import Figures, report
from bench.guard_texts import hostile, prose
from bench.results import put
from guardrails.config import GuardrailConfig, problems
from guardrails.private import pii


def test_texts_have_the_size_and_the_kind_that_they_are_named_by() -> None:
    """Ordinary prose holds nothing private; the dense kind holds it everywhere; hostile texts are of one size."""
    assert not pii.find(prose(1_000))
    assert len(prose(1_000, dense=True)) == 4_500
    assert len(pii.find(prose(1_000, dense=True))) > 60
    assert {len(text) for text in hostile(5_000).values()} == {5_000}


def test_what_is_measured_is_a_valid_configuration() -> None:
    """The default route of the contract."""
    assert not list(problems({name: GuardrailConfig(**check) for name, check in guards.CHECKS.items()}))


def test_a_round_trip_gives_the_text_back() -> None:
    """A short run of what the bench does a hundred thousand times."""
    assert guards.identity(300) == (300, 0)


def test_the_report_stays_in_its_own_part(tmp_path: Path) -> None:
    """Written twice, it stands there once, and what is around it stays."""
    results = tmp_path / "RESULTS.md"
    results.write_text("# Results\n\nabove\n")
    text = report(Figures([["a"] * 7], [["b"] * 4], [["c"] * 5], (10, 1), (20.0, 160.0)), quick=True)
    put("guards", "Checks", text, folder=tmp_path)
    put("guards", "Checks", text, folder=tmp_path)
    written = results.read_text()
    assert written.count("9 of 10 came back identical") == 1
    assert written.startswith("# Results\n\nabove\n")
    assert "(limit 150): **FAIL**" in written
