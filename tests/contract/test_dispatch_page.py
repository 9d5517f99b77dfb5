"""The page about calling models: its example is a configuration, and its words and numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec

from gateway import config as configuration
from gateway.commands.calls_told import warnings
from gateway.commands.check import report_of, text_of
from gateway.configuring.server import ServerConfig
from gateway.console.story import WHY
from gateway.core.plan import ModelPlan
from gateway.core.priority import Priority
from gateway.dialects.registry import dialects
from gateway.http import headers
from gateway.pipeline import dispatch, shadowing
from gateway.pipeline.fairness import ANSWER_WEIGHT
from gateway.providers.build import plans
from gateway.providers.catalog import types
from gateway.providers.config import ProviderConfig, profile_of
from gateway.status import LABELS
from gateway.telemetry.metrics import Metrics
from routing.plans import Plans

PAGE = Path(__file__).resolve().parents[2] / "docs/dispatch.md"
TEXT = PAGE.read_text("utf-8")


def example(tmp_path: Path) -> Any:
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    return configuration.read("version: 1\n" + text, tmp_path, {"OPENAI_API_KEY": "sk-x"})


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    """It is read as it stands, and uses every key that says how a model is called."""
    config = example(tmp_path)
    made = plans(config.models, config.providers)
    plan = made["fast"]
    assert (plan.concurrency, plan.queue.most, plan.queue.ttl) == (64, 100, 10.0)
    assert (plan.keepalive, plan.hedge_after, plan.sticky) == (10.0, 2.0, "session")
    assert plan.shadow is not None
    assert (plan.shadow.model, plan.shadow.share) == ("next", 0.05)
    whole = Plans(made).get("fast")
    assert whole is not None
    chains = [[model.alias for model in chain] for chain in (whole.models, whole.overflow, whole.refused)]
    assert chains == [["fast", "large"], ["large"], ["large"]]
    default = ModelPlan(alias="x", targets=())
    left = [name for name in ModelPlan.__struct_fields__ if getattr(plan, name) == getattr(default, name)]
    assert set(left) <= {"attempts", "max_wait", "queue", "price"}  # as they are written, they are the defaults


def test_check_says_what_was_configured(tmp_path: Path) -> None:
    """Who stands in for what, places and queue, the copy, and what several workers make of it."""
    config = example(tmp_path)
    told = report_of(config)["calls"]
    assert told == {
        "fast": [
            "after a failure, a time-out or a full queue: large",
            "after too long a prompt: large",
            "after a provider's content filter: large",
            "a second call after 2 s without content",
            "64 at once in each process; 100 wait, 10 s at most",
            "one session stays at one target",
            "0.05 of the answered requests are copied to next",
            "a sign of life after 10 s",
        ]
    }
    assert "model fast" in text_of(report_of(config))
    many = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, workers=4))
    assert "models.fast.concurrency: counted in each of 4 workers, 256 in all" in warnings(many)


def test_every_header_is_on_the_page() -> None:
    """With the unit it is read in."""
    for name, scale in (*headers._DEADLINES, *headers._FIRST_TOKENS):
        assert f"`{name}`" in TEXT
        assert name.endswith("-ms") or f"({'ms' if scale < 1 else 's'})" in TEXT
    for name in ("priority", "queued-ms", "cost-estimated-usd"):
        assert f"`x-tidegate-{name}`" in TEXT


def test_the_numbers_are_the_codes() -> None:
    """Caps, weights, waits and bounds."""
    assert f"{headers.RETRY_AFTER_CAP:.0f} s at most" in TEXT
    assert f"{dispatch._BACKOFF} s" in TEXT
    assert f"At most {shadowing.MOST} are under way in a process, each for {shadowing.LONGEST:.0f} s" in TEXT
    assert ANSWER_WEIGHT == 2.0
    assert "twice those of the answer" in TEXT
    assert f"keepalive: {ServerConfig().keepalive:g}s" in TEXT
    assert " | ".join(get_args(Priority)) in TEXT


def test_the_metrics_are_there() -> None:
    """Every one that the page names."""
    named = set(re.findall(r"`(tidegate_[a-z_]+)`", TEXT))
    page = Metrics().page().decode()
    assert len(named) >= 6
    for name in named:
        assert name in LABELS or name.removesuffix("_total") in page, name


def test_every_reason_for_a_call_is_told() -> None:
    """In the page's words."""
    words = {"content_policy": "content filter", "stale_connection": "fresh one"}
    for why in WHY:
        assert words.get(why, why) in TEXT


def test_the_signs_of_life_are_the_dialects() -> None:
    """As the page tells them."""
    beats = {name: dialect.beat for name, dialect in dialects().items()}
    assert beats["openai"] == beats["responses"] == b": keepalive\n\n"
    assert beats["anthropic"].startswith(b"event: ping\n")
    assert beats["gemini"].strip() == b""


def test_who_is_always_asked_to_stream() -> None:
    """The engines the page names, and no other."""
    always = [
        kind
        for kind in types()
        if profile_of(ProviderConfig(type=kind)).stream.always  # the address and the key do not matter here
    ]
    assert always == ["llama-cpp"]
