"""`tidegate router calibrate | explain`: are a route's examples good enough, and why was a text read as it was.

`explain` also says how hard the text looks, which is all there is to say of a route that has tiers and no intents."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.commands.intent_routes import chosen_route, examples_of, explained_route, head_of, intent_routes
from gateway.commands.routing_explained import complexity_lines, complexity_of
from gateway.commands.scoring import DataError, encoder, percent
from gateway.configuring.problems import ConfigError

if TYPE_CHECKING:
    from routing.diagnose import Diagnosis
    from routing.lock import Lock, Locked

_NEAREST = 5
_SHOWN = 10


def add(commands: Any) -> None:
    parser = commands.add_parser("router", help="look at intent routing: its examples, thresholds and decisions")
    actions = parser.add_subparsers(dest="action", required=True)
    calibrate = actions.add_parser("calibrate", help="measure the examples on each other and write the lock file")
    calibrate.add_argument("--check", action="store_true", help="only say whether the lock file still holds; 1 if not")
    explain = actions.add_parser("explain", help="how one text is read, and which examples are nearest")
    explain.add_argument("text")
    for action, run in ((calibrate, _calibrate), (explain, _explain)):
        action.add_argument("--config", type=Path, required=True)
        action.add_argument("--route", help="a route with intents (`explain`: or tiers); default: all, or the only one")
        action.add_argument("--json", action="store_true", help="as JSON")
        action.set_defaults(run=_told(run))


def _told(run: Callable[[argparse.Namespace, Any], int]) -> Callable[[argparse.Namespace], int]:
    """Loads the configuration; says what is wrong instead of failing."""

    def guarded(options: argparse.Namespace) -> int:
        from gateway import config as configuration

        try:
            return run(options, configuration.load(options.config))
        except ConfigError as error:
            print(
                f"{options.config} has {len(error.problems)} problem(s):", *error.problems, sep="\n  ", file=sys.stderr
            )
        except (DataError, OSError, ValueError) as error:
            print(error, file=sys.stderr)
        return 2

    return guarded


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


# --- calibrate


def _calibrate(options: argparse.Namespace, config: Any) -> int:
    from routing.lock import Lock, lock_path, read_lock, write_lock

    routes = dict([chosen_route(config, options.route)] if options.route else intent_routes(config))
    path = lock_path(options.config)
    before = read_lock(path)
    if options.check:
        return _check(options, config, routes, before)
    encode = encoder(_say, config)
    locked, told = {}, {}
    for name, intents in routes.items():
        told[name], locked[name] = _measured(name, intents, options.config.parent, encode)
    known = intent_routes(config)  # a route that is gone leaves the lock as well
    write_lock(path, Lock(routes={**{n: v for n, v in before.routes.items() if n in known}, **locked}))
    if options.json:
        print(json.dumps({name: msgspec.to_builtins(diagnosis) for name, diagnosis in told.items()}, indent=2))
    else:
        for name, diagnosis in told.items():
            print(*_lines(name, locked[name], diagnosis), sep="\n")
        print(f"wrote {path}")
    return 0


def _check(options: argparse.Namespace, config: Any, routes: dict[str, Any], lock: Lock) -> int:
    from gateway.embedding.files import encoder_id
    from gateway.encoders import remote_id
    from routing.lock import stale

    own = remote_id(config) if config.embedding is not None else encoder_id("int8")

    found = {}
    for name, intents in routes.items():
        examples = examples_of(intents, options.config.parent)
        why = stale(lock.routes.get(name), intents, examples, own)
        if why:
            found[name] = why
    if options.json:
        print(json.dumps({"stale": found}, indent=2))
    else:
        print(*[f"route {name} {why}" for name, why in found.items()] or ["the lock file holds"], sep="\n")
    return 1 if found else 0


def _measured(name: str, intents: Any, base: Path, encode: Any) -> tuple[Diagnosis, Locked]:
    from routing.diagnose import diagnose
    from routing.lock import Locked
    from routing.store import FITTING, head_key

    examples = examples_of(intents, base)
    head = head_of(examples, encode, lambda line: _say(f"route {name}: {line}"))
    _say(f"route {name}: holding out examples in turn")
    found = diagnose(head, examples, below=intents.below, margin=intents.margin)
    locked = Locked(
        encoder=head.encoder,
        examples=head_key(examples, head.encoder),
        fitting=FITTING,
        kind=head.kind,
        intents=len(head.intents),
        rows=len(examples.texts) + len(examples.outside),
        below=intents.below,
        margin=intents.margin,
        accuracy=found.accuracy.value,
        false_refusals=found.false_refusals.value,
    )
    return found, locked


def _lines(name: str, locked: Locked, found: Diagnosis) -> list[str]:
    lines = [
        f"route {name}: {locked.intents} intents, {locked.rows:,} examples, {locked.kind} head, {locked.encoder}",
        f"  measured on {found.rows:,} examples held out in turn; 95 % intervals after Wilson",
    ]
    for words, s in (
        ("intent right", found.accuracy),
        (f"refused (below {locked.below:g})", found.false_refusals),
        (f"unclear (margin under {locked.margin:g})", found.unclear),
    ):
        lines.append(f"  {words:28} {percent(s.hits, s.of, s.low, s.high)}")
    lines.append("  confusions:" if found.confusions else "  no confusions")
    lines += [f"    {c.rows:4}  {c.intent} read as {c.read_as}: {c.example!r}" for c in found.confusions[:_SHOWN]]
    lines.append("  thresholds hard to reach:" if found.unreachable else "  every intent reaches the thresholds")
    lines += [
        f"    {u.intent}: {u.passed} of {u.rows} examples get over {u.threshold} {u.value:g} (best {u.best:g})"
        for u in found.unreachable[:_SHOWN]
    ]
    count = found.alike_in_all
    lines.append(f"  near-duplicates across intents: {count}" if count else "  no near-duplicates across intents")
    lines += [f"    {a.cosine:.3f}  {a.intent} {a.text!r} | {a.other} {a.other_text!r}" for a in found.alike[:_SHOWN]]
    return lines


# --- explain


def _explain(options: argparse.Namespace, config: Any) -> int:
    name, route = explained_route(config, options.route)
    report: dict[str, Any] = {"route": name}
    if route.intents is not None:
        report |= _read(options, config, route.intents)
    report["complexity"] = complexity_of(options.text, route.tiers)
    print(json.dumps(report, indent=2) if options.json else _explained(report))
    return 0


def _read(options: argparse.Namespace, config: Any, intents: Any) -> dict[str, Any]:
    """How the route's intents read the text."""
    from routing.conversation import Turn, normal
    from routing.diagnose import likeliest, nearest
    from routing.intents import Intents, verbatim

    examples = examples_of(intents, options.config.parent)
    encode = encoder(_say, config)
    head = head_of(examples, encode, _say)
    decided = asyncio.run(Intents(intents, examples, head, encode).of(Turn(options.text, "", "", False, ())))
    encode.close()
    assert decided is not None, "with an encoder there is always an intent"
    vector = encode.encode([options.text])[0]
    signals = head.signals(vector, options.text)
    return {
        "intent": decided.name,
        "verbatim": normal(options.text) in verbatim(examples),
        "confidence": head.calibration.confidence(signals),
        "below": intents.below,
        "margin": head.calibration.margin(signals),
        "margin_under": intents.margin,
        "signals": {"peak": signals.peak, "near": signals.near, "away": signals.away},
        "scores": dict(likeliest(head, vector, options.text, _NEAREST)),
        "nearest": [msgspec.to_builtins(near) for near in nearest(head, examples, vector, _NEAREST)],
    }


def _explained(told: dict[str, Any]) -> str:
    if "intent" not in told:
        return "\n".join([f"route {told['route']}: no intents", *complexity_lines(told["complexity"])])
    how = " (one of the examples, word for word)" if told["verbatim"] else ""
    signals = ", ".join(f"{name} {value:.3f}" for name, value in told["signals"].items())
    lines = [
        f"route {told['route']}: {told['intent']}{how}",
        f"  confidence {told['confidence']:.3f}: out of scope under {told['below']:g} ({signals})",
        f"  margin     {told['margin']:.3f}: unclear under {told['margin_under']:g}",
        *complexity_lines(told["complexity"]),
        "  intents by score:",
        *[f"    {score:8.3f}  {name}" for name, score in told["scores"].items()],
        "  nearest examples:",
        *[f"    {near['cosine']:8.3f}  {near['intent']}: {near['text']!r}" for near in told["nearest"]],
    ]
    return "\n".join(lines)
