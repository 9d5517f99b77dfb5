"""The `guardrails:` section: named checks, and what is wrong with one before it ever runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from gateway.core.secret import Secret
from gateway.core.units import Duration

Use = Literal[
    "pii", "secrets", "injection", "phrases", "brand", "topic", "prompt_leak", "json_schema", "tool_schema", "empty",
    "refusal", "repetition", "toxicity", "burst", "handover", "classifier", "remote", "judge", "grounded",
]  # fmt: skip
"""The keys of `guardrails.kinds.KINDS`; written out for the schema of the configuration."""
On = Literal["input", "retrieved", "output"]
Action = Literal["mask", "block", "flag", "repair", "handoff"]
EntityAction = Literal["mask", "block", "allow", "log"]
Scope = Literal["latest_turn", "user", "tool_results", "assistant"]
StreamMode = Literal["window", "hold", "full", "audit", "retract", "off"]
Internal = Literal["original", "mask"]
Step = Literal["retry", "hedge", "fallback", "reply", "handoff", "pass", "block"]


class JudgeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the gateway's own models, asked about a text. What it costs is the asking key's."""

    model: str
    """An alias of `models:`."""
    band: list[float] | None = None
    """For `use: injection`: only texts whose score so far lies between these two are asked about. Default [0.3, 0.7]."""
    tokens: int | None = None
    """Most tokens of its answer. Default 256: models that reason first need some."""


class GuardrailConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check. Which keys mean something depends on `use`; the others are errors."""

    use: Use
    on: list[On] = msgspec.field(default_factory=lambda: ["input"])
    action: Action = "block"
    on_error: Literal["open", "closed"] | None = None
    """What happens when the check cannot run. Must be written for every check that masks, blocks or repairs."""
    deadline: Duration = Duration(0.1)
    """For one run on the input side. On the output side it bounds the slow steps (`json_schema`); pattern checks
    there are bounded by how much they may hold."""
    scope: list[Scope] | None = None
    """Whose text may block: default the latest user turn, and tool results. Masking always covers every role."""
    restore: bool | None = None
    """Put originals back into the answer. Default yes, for checks that mask input."""
    link_hosts: list[str] | None = None
    """Hosts, with all below them, whose links in an answer may hold restored values; the hosts in the client's own system
    and user texts always may."""
    internal: Internal | None = None
    """What targets with `trust: internal` get: `mask` (default) what everyone gets, `original` what the client sent."""
    entities: list[str] | None = None
    actions: dict[str, EntityAction] | None = None
    """What to do with single entities, where it differs from `action`: `allow` does not look for it, `log` counts it and
    lets it pass."""
    regions: list[str] | None = None
    """ISO country codes whose national telephone numbers are understood."""
    patterns: dict[str, str] | None = None
    """Own entities: name -> RE2 pattern."""
    words: dict[str, list[str]] | None = None
    """Own entities: name -> words to find as they stand."""
    ner: str | None = None
    """An installed spaCy model, or a path to one: finds names in running text (PERSON, LOCATION ...). Slow and
    large."""
    deny: list[str] | None = None
    threshold: float | None = None
    untrusted_threshold: float | None = None
    """The same for tool results and retrieved text, which are looked at more strictly. Default 0.8 of `threshold`."""
    beside: Literal["call"] | None = None
    """The check, if it is slow, may go on while the model is called; the answer waits for it."""
    stream: StreamMode | None = None
    """How the check acts on a stream. `window`, the default of most: lets go what is settled, word by word, and holds what
    may still become a hit; a check that asks something slow holds whole sentences. `hold` is another name for it. `full`
    holds everything until the end, so that a refusal shows nothing and other answers can be tried. `audit` holds nothing
    and stops nothing, streamed or not: it says in the verdict what it saw, for trying a check out. `retract`, where the
    client sends `x-tidegate-stream: retract`, holds nothing but tool calls; a hit, also one that would be masked, ends the
    stream with the mark that what was shown must be taken back; other clients get `window`. `off`: not at all on streams
    (only for `flag`)."""
    then: Step | list[Step] | None = None
    """What to do instead of refusing, in this order, while nothing of the answer has been released: `retry` (the same
    model again), `hedge` (two targets at once, the first content wins), `fallback` (the model's `on_failure`), `reply`
    (the words of `reply`), `handoff` (to the people of `handoff`), `pass` (let it go, flagged). Default: refuse."""
    attempts: int | None = None
    """How often the model may be asked again."""
    reply: str | None = None
    """The stock reply, or what is said when a person takes over."""
    handoff: str | None = None
    """Who takes over."""

    retry_truncated: bool | None = None
    """`retry` and `hedge` also where the answer was cut by its token limit. Default no: asked again, it would be cut
    again."""
    repeats: int | None = None
    """How often in a row the same must be said to be a runaway."""
    min_chars: int | None = None
    """How long the repeated part must be, all repeats together."""
    topics: dict[str, list[str]] | None = None
    """Topic -> example sentences."""
    allow: list[str] | None = None
    """Topics that alone may be talked about; phrases in which a denied name may stand."""
    canary: bool | None = None
    """Put a random word into the system prompt that the model has no reason to say."""

    model: str | None = None
    """The directory of an ONNX classifier: model.onnx, tokenizer.json, config.json. For `use: remote`: the name that is
    sent as `model`."""
    labels: list[str] | None = None
    """The classifier's labels that count as a hit. Default: all but the one that says "harmless"."""
    providers: list[str] | None = None
    """onnxruntime's execution providers to use before the CPU, such as CUDAExecutionProvider."""
    band: list[float] | None = None
    """Only texts that the built-in detector scores between these two go to the classifier. Default [0.15, 0.85]."""
    escalate: Literal["band", "always"] | None = None
    """`always`: every text goes to the classifier. Default `band`."""
    judge: JudgeConfig | None = None
    question: str | None = None
    """What the judge is asked about each text; yes means it must not pass."""
    context: list[Literal["retrieved", "tool_results", "system"]] | None = None
    """What answers are to be grounded in. Default retrieved text and tool results."""
    url: str | None = None
    """The address of the service that is asked."""
    api_key: Secret | None = None
    """Sent to that service as `Authorization: Bearer`."""
    form: Literal["openai_moderation", "tidegate"] | None = None
    """How the service is spoken to."""
    categories: list[str] | None = None
    """The service's categories that count. Default all."""
    at_once: int | None = None
    """How many may be asked at one time, of this check; what comes beyond that is not scanned. Default 8 for models, 32 for
    services."""

    phrases: list[str] | None = None
    """How people ask for a person, beside the wordings that are known; an empty list for those alone."""
    anger: float | None = None
    """How annoyed a message must sound, 0 to 1. 0.6 is one strong wording, or two weaker ones."""
    turns: int | None = None
    """How many messages the user may have written in a conversation, before a person takes over."""

    limit: int | None = None
    """How many nearly identical prompts one caller may send at once; then as many again, evenly, in each `within`. Default
    20. Jobs that fill in one form again and again need more."""
    within: Duration | None = None
    """Default 60s."""
    similarity: float | None = None
    """How alike two prompts are one: the share of their pieces that are the same. Default 0.9."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """`then`, as a list."""
        return () if self.then is None else ((self.then,) if isinstance(self.then, str) else tuple(self.then))


NAME = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9-]{1,63})*")
CHECK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def problems(config: Mapping[str, GuardrailConfig]) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) for every fault in the section. Expensive parts (patterns, models) are tried for real."""
    from guardrails.problems import check_problems

    for name, check in config.items():
        for key, message in check_problems(name, check):
            yield f"guardrails.{name}{key}", message
