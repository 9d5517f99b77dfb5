"""Structured output: an answer that must be JSON of some schema is that, or is mended, or does not go out.

Works on whole texts, so it holds everything it is asked about until the choice ends: a value cannot be judged by half.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import msgspec

from gateway.core.errors import CheckFailed
from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Finished, Remedy, Text, ToolCall
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.verdict import Action, Verdict
from guardrails.json_repair import repair
from guardrails.json_validate import Unusable, Validators
from guardrails.schema_source import Wanted, wanted

CATEGORY = "invalid_json"
MAX_TEXT = 1 << 20


class Outcome(msgspec.Struct, frozen=True):
    """`text` is what may go out: None for as it came. `error` says why nothing may."""

    text: str | None = None
    error: str = ""


class JsonRules(msgspec.Struct, frozen=True, kw_only=True):
    """How one configured check works."""

    name: str
    mend: bool
    remedies: tuple[Remedy, ...]
    closed: bool
    deadline: float
    schema: dict[str, Any] | None = None
    """The route's own schema, used when the request asks for none."""


class JsonSchema:
    """Transform. Interested only when JSON was asked for, by the request or by the route."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, rules: JsonRules, pool: Executor) -> None:
        self.name = rules.name
        self._rules = rules
        self._pool = pool
        self._validators = Validators()

    def open(self, exchange: Exchange) -> Checking | None:
        if exchange.answer is not None or exchange.request is None:
            return None
        want = wanted(exchange.request.body)
        if want is None:
            if self._rules.schema is None:
                return None
            want = Wanted(self._rules.schema)
        return Checking(exchange, self._rules, want, self._validators, self._pool)


class Checking:
    """The texts of one answer, each held until its choice ends. Reasoning and tool calls pass."""

    def __init__(
        self, exchange: Exchange, rules: JsonRules, want: Wanted, validators: Validators, pool: Executor
    ) -> None:
        self._exchange = exchange
        self._rules = rules
        self._want = want
        self._validators = validators
        self._pool = pool
        self._held: dict[int, list[Text]] = {}
        self._size = 0
        self._calls: set[int] = set()
        self._ends: list[ChoiceFinished] = []
        self._mended = 0
        self._micros = 0
        self._over = False
        self.waiting = False

    def push(self, event: Event) -> Sequence[Event]:
        if type(event) is Text and not self._over:
            self._size += len(event.text)
            self._exchange.held_chars = max(self._exchange.held_chars, self._size)
            if self._size <= MAX_TEXT:
                self._held.setdefault(event.choice, []).append(event)
                return ()
            return self._not_scanned("too_long", event)
        if type(event) is ToolCall:
            self._calls.add(event.choice)
        elif type(event) is ChoiceFinished and event.choice in self._held:
            self._ends.append(event)
            self.waiting = True
            return ()
        elif type(event) is Finished:
            return [*self.finish(), event] if not self._held else (event,)
        elif type(event) is Blocked or type(event) is Failed:
            self._over = True
            self._held.clear()
        return (event,)

    def finish(self) -> Sequence[Event]:
        """Choices that ended without saying so are judged now, in `settle`; else the verdict is given."""
        if self._held:
            self.waiting = True
        elif not self._over:
            self._over = True
            self._say("repair" if self._mended else "allow", count=self._mended)
        return ()

    async def settle(self) -> Sequence[Event]:
        """Judges what has ended, off the event loop and within the deadline."""
        self.waiting = False
        ends, self._ends = self._ends, []
        last = not ends
        out: list[Event] = []
        todo: list[tuple[int, ChoiceFinished | None]] = [(end.choice, end) for end in ends]
        for choice, end in todo or [(choice, None) for choice in sorted(self._held)]:
            texts = self._held.pop(choice)
            events = await self._judge(choice, texts, end)
            out += events
            if self._over:
                return out
            if end is not None:
                out.append(end)
        if last:
            self.finish()
        return out

    async def _judge(self, choice: int, texts: list[Text], end: ChoiceFinished | None) -> Sequence[Event]:
        whole = "".join(event.text for event in texts)
        if not whole.strip() and choice in self._calls:
            return texts
        mend = self._rules.mend and (end is None or end.reason != "length")
        start = self._exchange.clock.now()
        try:
            job = asyncio.get_running_loop().run_in_executor(self._pool, self._check, whole, mend)
            outcome = await asyncio.wait_for(job, self._rules.deadline)
        except TimeoutError:
            return self._not_scanned("timeout", *texts, *_some(end))
        except Unusable as problem:
            self._exchange.warnings.append(f"{self._rules.name}: the schema cannot be used: {problem}")
            return self._not_scanned("schema", *texts, *_some(end))
        except Exception:
            return self._not_scanned("crashed", *texts, *_some(end))
        finally:
            self._micros += (self._exchange.clock.now() - start) // 1000
        if outcome.error:
            self._over = True
            self._say("block", count=1, reason=outcome.error[:80])
            message = f"The answer is not the JSON that was asked for ({outcome.error[:200]})."
            return [Blocked(self._rules.name, CATEGORY, message, self._rules.remedies)]
        if outcome.text is None:
            return texts
        self._mended += 1
        return [Text(outcome.text, choice)]

    def _check(self, text: str, mend: bool) -> Outcome:
        error = self._error(text)
        if not error:
            return Outcome()
        mended = repair(text) if mend else None
        if mended is not None and not self._error(mended):
            return Outcome(mended)
        return Outcome(None, error)

    def _error(self, text: str) -> str:
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return "$: not JSON"
        except RecursionError:
            return "$: nested too deeply"
        return self._validators.error(self._want.schema, value)

    def _not_scanned(self, reason: str, *events: Event) -> Sequence[Event]:
        """The check could not judge. Closed ends the answer; open lets go of all that is held, in order, and says
        so."""
        self._over = True
        self.waiting = False
        self._say("not_scanned", reason=reason)
        if self._rules.closed:
            raise CheckFailed(
                f"The check {self._rules.name!r} could not look at the answer, so it may not pass."
            ) from None
        self._exchange.degraded.append(f"guardrail:{self._rules.name}")
        held = [event for choice in sorted(self._held) for event in self._held[choice]]
        self._held.clear()
        return [*held, *events]

    def _say(self, action: Action, count: int = 0, reason: str = "") -> None:
        self._exchange.verdicts.append(
            Verdict(self._rules.name, action, "output", count, CATEGORY, None, reason, self._micros)
        )


def _some(end: ChoiceFinished | None) -> tuple[ChoiceFinished, ...]:
    return () if end is None else (end,)
