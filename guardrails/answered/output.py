"""The output side's transforms: which sessions, if any, a route's checks open on an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Session, Transform
from gateway.core.verdict import Verdict
from guardrails.actions import Actions
from guardrails.answered.flagging import Flagged
from guardrails.answered.merged import Known, Part
from guardrails.answered.rules import OutputRules, rules_of
from guardrails.answered.streaming import Held
from guardrails.finding.scanner import Scanner, Several
from guardrails.reading.invisible import Visible

__all__ = ["Always", "OutputCheck", "OutputChecks", "OutputRules", "ScannerOf", "merged", "rules_of"]

OPT_IN = "x-tidegate-stream"
"""Request header. `retract`: the client takes back what it showed when the answer's end says so."""


ScannerOf = Callable[[Exchange], Scanner | None]
"""The scanner for one exchange; None when there is nothing to look for."""


Setting = tuple[Sequence[OutputRules], Sequence[Part], Sequence[Known]]
"""Of a session: the rules of the checks that look, their scanners, and the tables that know those."""


class Always:
    """The same scanners for every exchange. They do not know of each other: what two of them find may overlap."""

    def __init__(self, *scanners: Scanner) -> None:
        self.scanners = scanners


class OutputCheck:
    """Transform. One check, alone. Not interested in answers that no model has just made: those passed when they were
    stored."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, rules: OutputRules, source: Always | ScannerOf) -> None:
        """`source`: its scanners, or how to make one for each exchange."""
        self.name = rules.name
        self.rules = rules
        self.source = source
        self._alone = OutputChecks([self]) if rules.acts else None

    def open(self, exchange: Exchange) -> Session | None:
        if self._alone is not None:
            return self._alone.open(exchange)
        if exchange.answer is not None:
            return None
        rules = self.rules
        scanners = self.scanners(exchange)
        if not scanners:
            return None
        if rules.mode == "off" and exchange.asked().stream:
            exchange.verdicts.append(
                Verdict(rules.name, "not_scanned", "output", 0, rules.category, None, "off_on_streams")
            )
            return None
        return Flagged(exchange, rules.name, rules.category, scanners, "audit" if rules.mode == "audit" else "")

    def scanners(self, exchange: Exchange) -> Sequence[Scanner]:
        """Those for this exchange; none when there is nothing to look for."""
        if isinstance(self.source, Always):
            return self.source.scanners
        scanner = self.source(exchange)
        return () if scanner is None else (scanner,)


class OutputChecks:
    """Transform. Neighbouring checks that hold back in the same way, as one session."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, checks: Sequence[OutputCheck]) -> None:
        """`checks` act, are in the route's order, and have the same `manner`."""
        self.name = "+".join(check.name for check in checks)
        self.checks = tuple(checks)
        self._mode = checks[0].rules.mode
        lasting = [check.source.scanners if isinstance(check.source, Always) else () for check in checks]
        self._lasting = [(at, part) for at, scanners in enumerate(lasting) for one in scanners for part in apart(one)]
        self._kept = {at for at, _ in self._lasting}
        self._known = Known([scanner for _, scanner in self._lasting])
        self._met: WeakKeyDictionary[Scanner, tuple[list[Scanner], Known]] = WeakKeyDictionary()
        """For scanners made for an exchange, which may serve others like it."""
        self._same: dict[bool, Setting | None] = {}
        """By `shown`: what is opened on every answer, where no check has scanners for one exchange alone."""
        if len(self._kept) == len(checks):
            self._same = {shown: self._setting(lasting, shown) for shown in (False, True)}

    def open(self, exchange: Exchange) -> Session | None:
        if exchange.answer is not None:
            return None
        asked = exchange.asked()
        shown = self._mode == "retract" and asked.stream and exchange.headers.get(OPT_IN) == "retract"
        # Of an answer that is not streamed nothing leaves before its end, so there is nothing to settle piece by piece.
        whole = self._mode == "full" or not asked.stream
        setting = self._same.get(shown) or self._setting([check.scanners(exchange) for check in self.checks], shown)
        return Held(exchange, *setting, whole=whole, shown=shown) if setting is not None else None

    def _setting(self, scanners: Sequence[Sequence[Scanner]], shown: bool) -> Setting | None:
        """`scanners`: of each check, those for an exchange."""
        places = {at: place for place, at in enumerate(at for at, found in enumerate(scanners) if found)}
        if not places:
            return None
        met = [(at, self._meet(one)) for at, found in enumerate(scanners) if at not in self._kept for one in found]
        made = [(at, part) for at, (split, _) in met for part in split]
        rules = [self.checks[at].rules for at in places]
        actions = [stopping(rule.actions) if shown else rule.actions for rule in rules]
        parts = [Part(places[at], actions[places[at]], scanner) for at, scanner in [*self._lasting, *made]]
        tables = [self._known, *(known for _, (_, known) in met)]
        return rules, parts, tables

    def _meet(self, scanner: Scanner) -> tuple[list[Scanner], Known]:
        met = self._met.get(scanner)
        if met is None:
            split = apart(scanner)
            met = self._met[scanner] = (split, Known(split))
        return met


def apart(scanner: Scanner) -> list[Scanner]:
    """The scanners that one is made of: a piece of text that concerns one of them need not concern the others."""
    if isinstance(scanner, Visible):
        return [Visible(part) for part in apart(scanner.inner)]
    if isinstance(scanner, Several):
        return [part for one in scanner.parts for part in apart(one)]
    return [scanner]


def stopping(actions: Actions) -> Actions:
    """What has been shown cannot be masked, so where that was to be done the answer stops."""
    named = {kind: _stop(action) for kind, action in actions.by_kind.items()}
    return Actions(_stop(actions.default), named)


def _stop(action: Any) -> Any:
    return "block" if action == "mask" else action


def manner(rules: OutputRules) -> str:
    """Checks of one manner can share a session. One that holds everything back would hold for all of them."""
    return (
        "window" if rules.mode in ("window", "hold") else f"{rules.mode} {rules.name if rules.mode == 'full' else ''}"
    )


def merged(transforms: Iterable[Transform]) -> list[Transform]:
    """The transforms, with neighbours that can share a session made one."""
    out: list[Transform] = []
    group: list[OutputCheck] = []
    for transform in [*transforms, None]:
        fits = isinstance(transform, OutputCheck) and transform.rules.acts
        if group and not (fits and manner(transform.rules) == manner(group[0].rules)):  # type: ignore[union-attr]
            out.append(OutputChecks(group))
            group = []
        if fits:
            group.append(transform)  # type: ignore[arg-type]
        elif transform is not None:
            out.append(transform)
    return out
