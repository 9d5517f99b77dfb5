"""The two corpora, and what is sent of them: families of texts, filled in, dressed up, put where they belong."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from random import Random
from typing import Literal

import msgspec
import yaml

from guardrails.redteam.judging import Condition
from guardrails.redteam.mutations import MUTATIONS, Mutation

Side = Literal["attacks", "benign"]
Carry = Literal["user", "tool"]


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts of one kind. `violates`: when an attack got what it wanted (`judging`); empty for harmless texts."""

    about: str
    texts: list[str]
    violates: str = ""
    carry: Carry = "user"
    """Who says it: the user, or a tool's result that the user's request led to."""
    frame: str = "{text}"
    """What stands around it. Only the text itself is dressed up."""
    system: str = ""
    """The operator's own prompt."""
    needs: Literal["", "echo", "phrase"] = ""
    """`echo`: a model that repeats what reaches it; `phrase`: the words that are forbidden."""
    mutations: list[str] = []
    """The only ones that leave it what it is; empty: all."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One request to make. `value`: the condition's, filled in."""

    side: Side
    family: str
    mutation: str
    number: int
    carry: Carry
    text: str
    system: str
    canary: str
    condition: Condition
    value: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What of the corpora to send. Empty `families` of a side, or `mutations`: all."""

    families: Sequence[str] = ()
    mutations: Sequence[str] = ()
    phrases: Sequence[str] = ()
    echo: bool = False
    limit: int = 0
    """Requests of each side, spread evenly; 0: all."""
    seed: int = 0


class UnknownName(ValueError):
    """Names a family or a mutation that there is not."""


@lru_cache(maxsize=2)
def families(side: Side) -> Mapping[str, Family]:
    """Those of one side, by name, from the files of this package."""
    text = resources.files("guardrails.redteam").joinpath(f"{side}.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), dict[str, Family])


def probes(side: Side, wanted: Wanted) -> list[Probe]:
    """Everything to send of one side, in an order drawn from the seed. Raises `UnknownName`."""
    chosen = _named(wanted.families, [*families("attacks"), *families("benign")], "family")
    mutations = _named(wanted.mutations, MUTATIONS, "mutation") or list(MUTATIONS)
    own = [name for name in chosen if name in families(side)] or list(families(side))
    made = [probe for name in own for probe in _of(side, name, families(side)[name], mutations, wanted)]
    Random(f"{wanted.seed}:{side}").shuffle(made)  # noqa: S311 - an order, guards nothing
    return _spread(made)[: wanted.limit or None]


def left_out(wanted: Wanted) -> dict[str, str]:
    """Families of attacks that cannot be measured as asked, and what they need."""
    needs = {"echo": "--echo-model", "phrase": "--deny"}
    met = {"": True, "echo": wanted.echo, "phrase": bool(wanted.phrases)}
    asked = set(wanted.families) & set(families("attacks")) or set(families("attacks"))
    return {
        name: needs[family.needs]
        for name, family in families("attacks").items()
        if name in asked and not met[family.needs]
    }


def _of(side: Side, name: str, family: Family, mutations: Sequence[str], wanted: Wanted) -> Iterator[Probe]:
    if name in left_out(wanted):
        return
    phrases = wanted.phrases if family.needs == "phrase" else [""]
    for phrase in phrases:
        for number, text in enumerate(family.texts):
            for mutation in mutations:
                if not family.mutations or mutation in family.mutations:
                    key = f"{wanted.seed}:{name}:{number}:{phrase}:{mutation}"
                    yield _probe(side, name, family, number, text, MUTATIONS[mutation], {"phrase": phrase}, key)


def _probe(
    side: Side, name: str, family: Family, number: int, text: str, mutation: Mutation, given: dict[str, str], key: str
) -> Probe:
    rng = Random(key)  # noqa: S311 - the same key must give the same text
    fillers = {**given, **planted(rng)}
    condition = Condition.parse(family.violates or "not_blocked")
    dressed = mutation.apply(_filled(text, fillers), rng)
    return Probe(
        side=side,
        family=name,
        mutation=mutation.name,
        number=number,
        carry=family.carry,
        text=family.frame.replace("{text}", dressed),
        system=_filled(family.system, fillers),
        canary=fillers["canary"] if "{canary}" in family.system else "",
        condition=condition,
        value=_filled(condition.value, fillers),
    )


def _filled(text: str, fillers: Mapping[str, str]) -> str:
    for name, value in fillers.items():
        text = text.replace("{" + name + "}", value)
    return text


def planted(rng: Random) -> dict[str, str]:
    """Private values drawn at random, well-formed down to their check digits, and a marker for the system prompt."""

    def digits(count: int) -> str:
        return "".join(rng.choices("0123456789", k=count))

    def letters(count: int) -> str:
        return "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=count))

    account = digits(18)
    return {
        "mail": f"{rng.choice(['ada', 'nils', 'mira', 'tomas'])}.{letters(6).lower()}@example.org",
        "card": _with_luhn("4" + digits(14)),
        "iban": f"DE{98 - int(account + '131400') % 97:02d}{account}",
        "key": "ghp_" + letters(36),
        "canary": f"{letters(6)}-{letters(6)}-{letters(6)}",
    }


def _with_luhn(digits: str) -> str:
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if at % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def _named(given: Sequence[str], known: Collection[str], what: str) -> list[str]:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"
            raise UnknownName(f"there is no {what} {name!r}{hint}")
    return list(dict.fromkeys(given))


def _spread(made: Sequence[Probe]) -> list[Probe]:
    """One of each family and mutation, then a second of each, and so on: any beginning of it is even."""
    counts: dict[tuple[str, str], int] = {}
    ranked = []
    for at, probe in enumerate(made):
        cell = (probe.family, probe.mutation)
        counts[cell] = rank = counts.get(cell, 0) + 1
        ranked.append((rank, at, probe))
    return [probe for _, _, probe in sorted(ranked, key=lambda row: row[:2])]
