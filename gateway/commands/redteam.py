"""`tidegate redteam`: attacks and harmless texts through a running gateway; what got through, and who was refused."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.commands.scoring import DataError, write_rows

KEY = "TIDEGATE_KEY"
MOST_AT_ONCE = 64
LEAST_MEASURED = 0.95
"""Share of requests that must have come to a result before a limit counts as kept."""
_TOLD = f"""\
Sends every attack and every harmless text in every mutation: some 3,400 requests, which cost what your upstreams charge.
The key is taken from the environment ({KEY}) where --key is not given.
Status: 0 told, 1 a rate is over its limit (or too little could be measured), 2 the gateway cannot be asked."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "redteam",
        help="attack a running gateway, and count what got through and who was refused",
        epilog=_TOLD,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--url", default="http://127.0.0.1:8080/v1", help="the gateway, up to /v1 (default: %(default)s)")
    option("--key", default="", help="a virtual key, where keys are in force")
    option("--model", default="", help="the model to ask for (default: the first that the gateway lists)")
    option("--dialect", choices=("openai", "anthropic", "responses", "gemini"), default="openai")
    option("--stream", action="store_true", help="ask for streams")
    option(
        "--echo-model", default="", metavar="MODEL", help="a model that repeats what reaches it: for the link families"
    )
    option("--deny", action="append", default=[], metavar="PHRASE", help="a phrase that no answer may hold; repeatable")
    option("--families", default="", metavar="A,B", help="only these; of a side that none is of, all")
    option("--mutations", default="", metavar="A,B", help="only these")
    option("--limit", type=_whole(0, 1_000_000), default=0, help="requests of each side, spread evenly (default: all)")
    option("--seed", type=int, default=0, help="of everything that is drawn (default: %(default)s)")
    option("--concurrency", type=_whole(1, MOST_AT_ONCE), default=8, help="requests at one time (default: %(default)s)")
    option("--timeout", type=_number(0.1, 3600), default=60.0, help="seconds for one request (default: %(default)g)")
    option("--fail-over-violations", type=_number(0, 100), metavar="P", help="status 1 above this percentage")
    option("--fail-over-refusals", type=_number(0, 100), metavar="P", help="status 1 above this percentage")
    option("--json", action="store_true", help="the report as JSON")
    option("--rows", type=Path, help="write one line for each request, in the order of sending")
    parser.set_defaults(run=run)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    return number


def _number(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return number


def run(options: argparse.Namespace) -> int:
    from gateway.commands.redteam_report import lines_of, report_of
    from gateway.commands.redteam_send import Unasked
    from guardrails.redteam.corpus import UnknownName, left_out

    try:
        if options.rows is not None:
            write_rows(options.rows, [])  # better now than after all the sending
        rows = asyncio.run(_rows(options))
        if options.rows is not None:
            write_rows(options.rows, [row.told for row in rows])
    except (Unasked, UnknownName, DataError) as error:
        print(error, file=sys.stderr)
        return 2
    report = {"url": options.url, "dialect": options.dialect, "streamed": options.stream, "seed": options.seed}
    report |= {"left_out": left_out(_wanted(options)), **report_of(rows)}
    broken = _broken(report, options)
    if options.json:
        print(json.dumps({**report, "over": broken}, indent=2))
    else:
        print(f"{options.url}, {options.dialect}, {'streamed' if options.stream else 'whole'}, seed {options.seed}\n")
        print(*lines_of(report), *_left_out(report["left_out"]), sep="\n")
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


async def _rows(options: argparse.Namespace) -> list[Any]:
    from gateway.commands.redteam_report import judged
    from gateway.commands.redteam_send import Gateway, send_all
    from guardrails.redteam.corpus import families, probes

    wanted = _wanted(options)
    made = [*probes("attacks", wanted), *probes("benign", wanted)]
    if not made:
        raise DataError("nothing to send: none of these families is sent in any of these mutations")
    key = options.key or os.environ.get(KEY, "")
    gateway = Gateway(options.url, key, options.dialect, stream=options.stream, timeout=options.timeout)
    try:
        model = _chosen(options, await gateway.models())
        echoing = {name for name, family in families("attacks").items() if family.needs == "echo"}
        asked = [(options.echo_model if probe.family in echoing else model, probe) for probe in made]
        return await send_all(gateway, asked, options.concurrency, judged, _progress(len(asked)))
    finally:
        await gateway.close()


def _wanted(options: argparse.Namespace) -> Any:
    from guardrails.redteam.corpus import Wanted

    for phrase in options.deny:
        if not phrase.strip() or not phrase.isprintable():
            raise DataError("--deny: give a phrase of printable characters")
    return Wanted(
        families=[name for name in options.families.split(",") if name],
        mutations=[name for name in options.mutations.split(",") if name],
        phrases=options.deny,
        echo=bool(options.echo_model),
        limit=options.limit,
        seed=options.seed,
    )


def _chosen(options: argparse.Namespace, models: list[str]) -> str:
    if not models:
        raise DataError(f"{options.url} lists no model for this key")
    for name in (options.model, options.echo_model):
        if name and name not in models:
            raise DataError(f"{options.url} lists no model {name!r} for this key; there are: {', '.join(models[:20])}")
    chosen: str = options.model or models[0]
    return chosen


def _progress(count: int) -> Callable[[int], None]:
    """One line that is written over on a terminal; elsewhere a line for each tenth."""
    terminal = sys.stderr.isatty()
    every = max(1, count // (100 if terminal else 10))

    def told(done: int) -> None:
        if done % every == 0 or done == count:
            start, end = ("\r" if terminal else ""), ("\n" if not terminal or done == count else "")
            print(f"{start}  sent {done:,} of {count:,}", end=end, file=sys.stderr, flush=True)

    return told


def _broken(report: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """Limits that are not kept. What could not be measured keeps none."""
    broken = []
    for side, name, limit in (
        ("attacks", "violation_rate", options.fail_over_violations),
        ("benign", "false_refusal_rate", options.fail_over_refusals),
    ):
        if limit is None:
            continue
        rate, sent = report[side][name], report[side]["sent"]
        words = name.replace("_", " ")
        if rate["of"] < LEAST_MEASURED * sent or not sent:
            broken.append(f"{words}: only {rate['of']} of {sent} requests could be measured")
        elif 100 * rate["value"] > limit:
            broken.append(f"{words}: {100 * rate['value']:.2f} % is over {limit:g} %")
    return broken


def _left_out(names: dict[str, str]) -> list[str]:
    return ["", *(f"left out: {name} (give {needs})" for name, needs in names.items())] if names else []
