"""The `guardrails:` section: every slip has a path and a sentence, and `tidegate check` can say what really runs."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from guardrails.answered.output import OutputChecks
from guardrails.build import build
from guardrails.config import GuardrailConfig, Use, problems
from guardrails.describe import describe
from guardrails.kinds import KINDS
from tests.fixtures.guard_world import exchange_of

FINE: dict[str, Any] = {
    "private": {"use": "pii", "on": ["input", "output"], "action": "mask", "restore": True, "on_error": "closed",
                "entities": ["PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE"]},
    "secrets": {"use": "secrets", "on": ["input", "output"], "action": "mask", "restore": True, "on_error": "closed"},
    "attacks": {"use": "injection", "on": ["input", "retrieved"], "scope": ["latest_turn", "tool_results"], "action": "block",
                "threshold": 0.5, "on_error": "open"},
    "phrases": {"use": "phrases", "on": ["input", "output"], "deny": ["project bluebird"], "action": "block", "on_error": "closed"},
    "prompt-leak": {"use": "prompt_leak", "on": ["output"], "action": "block", "stream": "window", "on_error": "closed"},
    "json": {"use": "json_schema", "on": ["output"], "action": "repair", "then": "retry", "attempts": 2, "on_error": "closed"},
    "toxicity": {"use": "toxicity", "on": ["output"], "action": "block", "stream": "window", "on_error": "open"},
}  # fmt: skip


def config(**checks: dict[str, Any]) -> dict[str, GuardrailConfig]:
    return {name.replace("_", "-"): GuardrailConfig(**check) for name, check in checks.items()}


def found(**changes: Any) -> list[tuple[str, str]]:
    check = {"use": "pii", "on": ["input"], "action": "mask", "on_error": "closed", **changes}
    return list(problems({"guard": GuardrailConfig(**{k: v for k, v in check.items() if v is not ...})}))


def test_the_contracts_example_has_no_problems_and_builds() -> None:
    """Every check of the documented example is one that this version has."""
    checks = {name: GuardrailConfig(**check) for name, check in FINE.items()}
    assert list(problems(checks)) == []
    guards = build(checks, list(checks))
    assert [look.check.name for stage in (guards.mask, guards.inspect) if stage for look in stage.looks] == [
        "private",
        "secrets",
        "attacks",
        "phrases",
    ]
    assert [check.name for check in guards.checks] == ["private+secrets+phrases+prompt-leak", "json", "toxicity"]
    assert guards.restore.name == "restore"


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"on_error": None}, ".on_error", "missing"),
        ({"on_error": None, "action": "block"}, ".on_error", "closed"),
        ({"link_hosts": ["https://x.example"]}, ".link_hosts[0]", "not a host's name"),
        ({"link_hosts": ["x.example"], "action": "block"}, ".link_hosts", "nothing is restored"),
        ({"use": "json_schema", "on": ["output"], "action": "block", "then": ["reply"]}, ".reply", "missing"),
        ({"use": "json_schema", "on": ["output"], "action": "block", "then": ["pass", "retry"]}, ".then", "come last"),
        ({"use": "json_schema", "on": ["output"], "action": "block", "then": "handoff"}, ".handoff", "missing"),
        ({"use": "injection", "on": ["output"], "action": "block"}, ".on", "cannot run on output"),
        ({"use": "injection", "action": "mask"}, ".action", "cannot mask"),
        ({"use": "secrets", "entities": ["PERSON"]}, ".entities", "means nothing"),
        ({"entities": ["EMAIL"]}, ".entities[0]", "unknown entity 'EMAIL'"),
        ({"entities": []}, ".entities", "find nothing"),
        ({"on": []}, ".on", "never run"),
        ({"use": "phrases", "action": "block"}, ".deny", "missing"),
        ({"use": "phrases", "action": "block", "deny": ["x"]}, ".deny[0]", "two characters"),
        ({"patterns": {"STAFF": "(?=x)"}}, ".patterns.STAFF", "RE2"),
        ({"patterns": {"STAFF": "a*"}}, ".patterns.STAFF", "empty string"),
        ({"patterns": {"STAFF": "^EMP"}}, ".patterns.STAFF", "anchors"),
        ({"patterns": {"staff id": "EMP"}}, ".patterns.staff id", "upper-case"),
        ({"regions": ["XX"]}, ".regions[0]", "ISO 3166"),
        ({"ner": "en_core_web_nope"}, ".ner", "neither installed"),
        ({"deadline": 60.0}, ".deadline", "between"),
        ({"scope": ["user"]}, ".scope", "every role"),
        ({"action": "block", "restore": True}, ".restore", "masked on the way in"),
        ({"stream": "hold"}, ".stream", "without `on: [output]`"),
        ({"use": "judge", "on": ["output"], "action": "block", "stream": "window"}, ".stream", "in mode 'window'"),
        ({"use": "json_schema", "on": ["output"], "action": "repair", "stream": "retract"}, ".stream", "in mode 'retract'"),
        ({"on": ["output"], "action": "flag", "stream": "retract"}, ".stream", "nothing that one could retract"),
        ({"on": ["output"], "action": "flag", "stream": "audit"}, ".stream", "nothing that one could audit"),
        ({"on": ["output"], "stream": "off"}, ".stream", "cannot be off on streams"),
        ({"use": "json_schema", "on": ["output"], "action": "repair", "attempts": 2}, ".attempts", "then: retry"),
        ({"use": "json_schema", "on": ["output"], "action": "repair", "then": "retry", "attempts": 9}, ".attempts", "between"),
        ({"use": "injection", "action": "block", "threshold": 1.5}, ".threshold", "above 0"),
    ],
)  # fmt: skip
def test_each_slip_is_named(changes: dict[str, Any], key: str, words: str) -> None:
    """The path says where, the sentence says what to write instead."""
    hits = [message for path, message in found(**changes) if path == f"guardrails.guard{key}"]
    assert hits, found(**changes)
    assert words in hits[0]


def test_a_name_that_cannot_go_into_a_header_is_refused() -> None:
    """`x-tidegate-guardrails` is built from it."""
    assert next(problems({"Käse; x": GuardrailConfig(use="secrets", action="flag")}))[0] == "guardrails.Käse; x"


def test_every_use_but_the_later_ones_can_be_built() -> None:
    """No configured check silently does nothing."""
    for name, check in FINE.items():
        one = {name: GuardrailConfig(**check)}
        guards = build(one, [name])
        assert bool(guards.mask or guards.inspect) == bool({"input", "retrieved"} & set(check["on"]))
        assert bool(guards.checks) == ("output" in check["on"])


def test_equal_checks_share_one_scanner() -> None:
    """A second route with the same check costs no second set of patterns."""
    checks = config(a=FINE["secrets"], b=FINE["secrets"])
    first, second = build(checks, ["a"]).checks[0], build(checks, ["b"]).checks[0]
    assert isinstance(first, OutputChecks)
    assert isinstance(second, OutputChecks)
    assert first.checks[0].scanners(exchange_of())[0] is second.checks[0].scanners(exchange_of())[0]


def test_check_says_what_runs_and_what_it_misses() -> None:
    """One row for each check and side; streamed and whole answers are told apart."""
    checks = config(
        private=FINE["private"], watch={"use": "secrets", "on": ["output"], "action": "flag", "stream": "off"},
        json=FINE["json"], attacks=FINE["attacks"],
    )  # fmt: skip
    lines = {(line.check, line.side): line for line in describe(checks, list(checks), "stream")}
    assert lines["private", "input"].mode == "before"
    assert lines["private", "output"].mode == "window"
    assert "cue" in lines["private", "output"].misses
    assert (lines["watch", "output"].mode, lines["watch", "output"].misses[:10]) == ("none", "everything")
    assert lines["json", "output"].mode == "full"
    assert "then retry up to 2 times" in lines["json", "output"].acts
    assert lines["attacks", "retrieved"].acts == "block; on error let pass, marked degraded"
    whole = {(line.check, line.side): line for line in describe(checks, list(checks), "whole")}
    assert whole["watch", "output"].mode == "after"


def test_check_tells_audit_and_retract_as_they_are() -> None:
    """An audit never acts, also on whole answers; retract is told with what it costs, and only of streams."""
    checks = config(
        quiet={**FINE["secrets"], "on": ["output"], "restore": None, "stream": "audit"},
        quick={**FINE["secrets"], "on": ["output"], "restore": None, "stream": "retract"},
        some={"use": "pii", "on": ["output"], "action": "mask", "actions": {"US_SSN": "block", "IP_ADDRESS": "log"}, "on_error": "closed"},
    )  # fmt: skip
    assert list(problems(checks)) == []
    stream, whole = ({line.check: line for line in describe(checks, list(checks), how)} for how in ("stream", "whole"))
    for lines in (stream, whole):
        assert (lines["quiet"].mode, lines["quiet"].acts) == ("after", "flag, where it would mask (audit)")
    assert stream["quick"].mode == "retract"
    assert "blocks where it would mask and has them take back what they showed" in stream["quick"].acts
    assert "the client has seen what it takes back" in stream["quick"].misses
    assert (whole["quick"].mode, whole["quick"].acts) == ("full", "mask; on error refuse")
    assert stream["some"].acts.startswith("mask (log IP_ADDRESS, block US_SSN)")


def test_every_kind_can_be_written_in_a_configuration() -> None:
    """The names that `use:` takes are those of the table, and each kind can run somewhere."""
    assert set(get_args(Use)) == set(KINDS)
    for use, kind in KINDS.items():
        assert kind.use == use
        assert kind.scanner or kind.inspector or kind.asking or kind.throttle or kind.transform
        assert bool(kind.streams) == ("output" in kind.sides)
