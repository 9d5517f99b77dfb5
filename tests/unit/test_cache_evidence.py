from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.bounds import lower, needed, surely_above, surely_within, upper
from cache.evidence import WINDOW, Evidence, Label, Outcome

_IDS = itertools.count()


def outcome(score: float, label: Label = "right", *, entry: str | None = None, confirmed: bool = False) -> Outcome:
    return Outcome(score, label, entry or f"s-{next(_IDS)}", f"q-{next(_IDS)}", confirmed)


def filled(evidence: Evidence, right: int, wrong: int = 0, score: float = 0.95) -> Evidence:
    for _ in range(right):
        evidence.add(outcome(score))
    for _ in range(wrong):
        evidence.add(outcome(score, "wrong"))
    return evidence


@pytest.mark.parametrize(("wrong", "of"), [(0, 299), (1, 473), (2, 628)])
def test_the_bound_needs_what_the_textbook_says(wrong: int, of: int) -> None:
    """One-sided 95 % Clopper-Pearson: 299, 473 and 628 outcomes certify 1 % with none, one and two wrong; one fewer do not."""
    assert upper(wrong, of) <= 0.01 < upper(wrong, of - 1)
    assert needed(0.01) == 299


@given(st.integers(1, 600), st.data())
def test_bounds_hold_the_share_between_them(of: int, data: st.DataObject) -> None:
    """The bounds enclose the observed share, and one more wrong outcome raises both."""
    wrong = data.draw(st.integers(0, of - 1))
    assert lower(wrong, of) <= wrong / of <= upper(wrong, of)
    assert upper(wrong, of) < upper(wrong + 1, of) or wrong + 1 == of
    assert lower(wrong, of) < lower(wrong + 1, of)


@given(st.integers(1, 400), st.floats(0.001, 0.999), st.data())
def test_the_short_way_says_what_the_bounds_say(of: int, rate: float, data: st.DataObject) -> None:
    """Whether a share is surely within or above a rate is the bound's answer, away from the very edge of it."""
    wrong = data.draw(st.integers(0, of))
    if abs(upper(wrong, of) - rate) > 1e-6:
        assert surely_within(wrong, of, rate) == (upper(wrong, of) <= rate)
    if abs(lower(wrong, of) - rate) > 1e-6:
        assert surely_above(wrong, of, rate) == (lower(wrong, of) > rate)


def test_nothing_is_served_before_the_evidence_is_there() -> None:
    """A route starts in shadow and opens with the 299th clean outcome, not with the 298th."""
    evidence = filled(Evidence(threshold=0.93, rate=0.01), 298)
    assert (evidence.state, evidence.threshold) == ("shadow", None)
    evidence.add(outcome(0.95))
    assert (evidence.state, evidence.threshold) == ("serving", 0.93)
    assert evidence.bound <= 0.01


@pytest.mark.parametrize("label", ["wrong", "unclear"])
def test_a_route_steps_back_and_forward_by_itself(label: Label) -> None:
    """One outcome that is not right closes a route that just opened; enough new clean ones open it again."""
    evidence = filled(Evidence(threshold=0.93, rate=0.01), 299)
    evidence.add(outcome(0.95, label))
    assert evidence.state == "shadow"
    assert evidence.bound > 0.01
    filled(evidence, 473 - 300)
    assert evidence.state == "serving"


def test_the_loosest_safe_threshold_is_taken() -> None:
    """Thresholds are tried from strict to loose and the first failure stops: errors below 0.97 leave 0.97 open."""
    evidence = filled(Evidence(threshold=0.90, rate=0.01), 480, 1, score=0.975)
    filled(evidence, 300, 30, score=0.945)
    filled(evidence, 900, score=0.905)
    assert evidence.threshold is not None
    assert 0.945 < evidence.threshold <= 0.975


def test_one_error_among_the_strictest_does_not_shut_the_rest() -> None:
    """The first threshold tried bears one error, where there are outcomes enough for that; with fewer, 299 clean ones do."""
    evidence = filled(Evidence(threshold=0.90, rate=0.01), 299, 1, score=0.975)
    assert evidence.state == "shadow"
    filled(evidence, 300, score=0.945)
    assert evidence.state == "serving"
    assert filled(Evidence(threshold=0.90, rate=0.01), 299, score=0.905).threshold == 0.90


def test_what_lies_below_the_threshold_does_not_count() -> None:
    """Outcomes below the configured threshold open nothing and close nothing."""
    evidence = filled(Evidence(threshold=0.93, rate=0.01), 400, score=0.80)
    assert evidence.state == "shadow"
    filled(evidence, 299)
    filled(evidence, 0, 50, score=0.80)
    assert evidence.state == "serving"


def test_the_operators_word_holds_until_it_is_disproved() -> None:
    """Assumed evidence serves from the first request, survives a single error and ends when the share is surely above."""
    evidence = Evidence(threshold=0.93, rate=0.01, assumed=True)
    assert (evidence.state, evidence.threshold) == ("assumed", 0.93)
    filled(evidence, 100, 1)
    assert evidence.state == "assumed"
    filled(evidence, 0, 5)
    assert evidence.state == "shadow"
    proved = filled(Evidence(threshold=0.93, rate=0.01, assumed=True), 299)
    assert proved.state == "serving"


@pytest.mark.parametrize(("rate", "state"), [(0.0, "shadow"), (1.0, "serving")])
def test_the_ends_of_the_rate_mean_never_and_always(rate: float, state: str) -> None:
    """No evidence allows a rate of nothing, and a rate of all needs none."""
    evidence = Evidence(threshold=0.93, rate=rate)
    filled(evidence, 400)
    assert evidence.state == state
    assert Evidence(threshold=0.93, rate=rate).state == state


def test_only_the_latest_outcomes_count() -> None:
    """What is older than the window is forgotten: errors of long ago do not close a route for ever."""
    evidence = filled(Evidence(threshold=0.93, rate=0.01), 0, 100)
    filled(evidence, WINDOW)
    assert evidence.state == "serving"
    assert evidence.stats()["outcomes"] == WINDOW


def test_a_verdict_takes_the_place_of_the_comparison() -> None:
    """A person's word on a pair voids the label it had, in both directions, and is the pair's only outcome."""
    evidence = Evidence(threshold=0.93, rate=0.01)
    evidence.add(Outcome(0.95, "unclear", "s-a", "q-a"))
    filled(evidence, 298)
    assert evidence.state == "shadow"
    evidence.add(Outcome(0.95, "right", "s-a", "q-a", confirmed=True, voids=True))
    assert evidence.state == "serving"
    assert evidence.stats()["outcomes"] == 299
    evidence.add(Outcome(0.95, "wrong", "s-a", "q-a", confirmed=True, voids=True))
    assert evidence.state == "shadow"
    assert evidence.bad("s-a", "q-a")
    evidence.add(Outcome(0.95, "right", "s-a", "q-a", confirmed=True, voids=True))
    assert not evidence.bad("s-a", "q-a")


def test_two_bad_questions_strike_an_entry() -> None:
    """One confirmed bad pair is remembered; the second of the same entry says to evict it; an unclear one does neither."""
    evidence = Evidence(threshold=0.93, rate=0.01)
    assert not evidence.add(Outcome(0.95, "unclear", "s-a", "q-0"))
    assert not evidence.bad("s-a", "q-0")
    assert not evidence.add(Outcome(0.95, "wrong", "s-a", "q-1", confirmed=True))
    assert evidence.bad("s-a", "q-1")
    assert not evidence.bad("s-a", "q-2")
    assert not evidence.add(Outcome(0.95, "wrong", "s-b", "q-1", confirmed=True))
    assert evidence.add(Outcome(0.95, "wrong", "s-a", "q-2", confirmed=True))


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 0.93, 0.945, 0.99, 1.0]), st.sampled_from(["right", "wrong", "unclear"])))
)
def test_loading_is_adding(made: list[tuple[float, Label]]) -> None:
    """Evidence read from elsewhere decides as the same evidence gathered here."""
    outcomes = [outcome(score, label) for score, label in made]
    added, loaded = Evidence(threshold=0.93, rate=0.5), Evidence(threshold=0.93, rate=0.5)
    for one in outcomes:
        added.add(one)
    loaded.add(outcome(0.95, "wrong"))
    loaded.load(outcomes)
    assert (added.state, added.threshold, added.bound) == (loaded.state, loaded.threshold, loaded.bound)
