"""Several checks on one text as one scanner: cut once, looked at once, each span knowing whose it is.

Five checks with a hold-back each cost five cuts for every chunk of a stream, though four of them agree that nothing is
there. So here the text is taken in pieces (a word and the space after it), and for each piece a table remembers which
scanners have anything to say about it: those for which no span begins in it, whatever comes before or after, need not
be asked again. Most pieces of most answers concern nobody, and cost one look-up.

Why that is exact: by the law of `guardrails.finding.scanner`, a scanner that settles a piece whole, and is quiet on it,
may be cut behind it and finds nothing in it. The next piece then begins at a cut too, and so on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from gateway.core.verdict import Action
from guardrails.actions import Actions
from guardrails.finding.scanner import Scanner
from guardrails.finding.spans import Span

_PIECE = re.compile(r"[^ \n]*[ \n]")
_SHORT = 600
"""Longer texts are not taken in pieces: they come whole, and are looked at once."""
_WORD = 64
"""A last word longer than this is not waited for."""
_KNOWN = 1 << 15
"""Pieces that a table remembers, as hashes; then it begins afresh. About 3 MB."""


class Part(msgspec.Struct, frozen=True):
    """One scanner of one check."""

    owner: int
    """Which check, in the route's order."""
    actions: Actions
    """By kind of span: `mask`, `block`, or `flag`, which is counted and let pass."""
    scanner: Scanner


class Hit(NamedTuple):
    """A scanner's span, before overlaps are settled."""

    owner: int
    action: Action
    span: Span


class Owned(Span, frozen=True):
    """What was found, and what is to be done with it."""

    owner: int = 0
    action: Action = "mask"
    others: tuple[tuple[int, Action], ...] = ()
    """Further checks that hit the same place, once for each hit, and what they would do."""


Look = tuple[Part, int]
"""A part that must look at a text, and from where on."""


class Known:
    """The table of one set of scanners, shared by all exchanges: piece -> those it concerns, as bits. Holds hashes."""

    def __init__(self, scanners: Sequence[Scanner]) -> None:
        self._scanners = tuple(scanners)
        self._table: dict[int, int] = {}

    def __len__(self) -> int:
        """How many scanners."""
        return len(self._scanners)

    def concerns(self, pieces: Sequence[str]) -> list[tuple[int, int]]:
        """Who must look at a text of these pieces, and from where on: (scanners as bits, place), in order of place."""
        found: list[tuple[int, int]] = []
        bits = at = 0
        table = self._table
        for piece in pieces:
            known = table.get(hash(piece))
            if known is None:
                known = self._learn(piece)
            if known & ~bits:
                found.append((known & ~bits, at))
                bits |= known
            at += len(piece)
        return found

    def free(self, pieces: Sequence[str]) -> bool:
        """Whether a text of these pieces concerns nobody."""
        table = self._table
        for piece in pieces:
            known = table.get(hash(piece))
            if known or (known is None and self._learn(piece)):
                return False
        return True

    def _learn(self, piece: str) -> int:
        bits = sum(1 << at for at, scanner in enumerate(self._scanners) if not _unconcerned(scanner, piece))
        if len(self._table) >= _KNOWN:
            self._table.clear()
        self._table[hash(piece)] = bits
        return bits


def _unconcerned(scanner: Scanner, piece: str) -> bool:
    try:
        return scanner.settle(piece, len(piece)) == len(piece) and scanner.quiet(piece)
    except Exception:
        return False  # it will fail again where that has consequences


class Merged:
    """The checks of one exchange as one scanner.

    `failed` is told of a check whose scanner raised. If it returns, that check's scanners are left out from then on."""

    def __init__(
        self, parts: Sequence[Part], tables: Sequence[Known], *, failed: Callable[[int], None], now: Callable[[], int]
    ) -> None:
        """`tables` know the scanners of the parts, in the same order. `now`: nanoseconds."""
        self._parts = tuple(parts)
        self._tables: list[tuple[Known, int]] = []
        known = 0
        for table in tables:
            self._tables.append((table, known))
            known += len(table)
        self._failed = failed
        self._now = now
        self._dropped: set[int] = set()
        """Checks that failed."""
        self.spent = [0] * (1 + max((part.owner for part in parts), default=0))
        """Nanoseconds that each check's own scanners took."""

    def _all(self) -> list[Look]:
        return [(part, 0) for part in self._parts if part.owner not in self._dropped]

    def _concerned(self, text: str) -> list[Look]:
        """The parts that must look at `text`, whose end is that of a piece, and from where on."""
        pieces = _PIECE.findall(text)
        looks: list[Look] = []
        for table, shift in self._tables:
            for bits, at in table.concerns(pieces):
                parts = (part for place, part in enumerate(self._parts[shift:]) if bits >> place & 1)
                looks += [(part, at) for part in parts if part.owner not in self._dropped]
        return looks

    def quiet(self, text: str) -> bool:
        return not self.find(text)

    def find(self, text: str, begin: int = 0) -> list[Span]:
        """The spans, disjoint and in order, all of them `Owned`."""
        if len(text) - begin <= _SHORT and text[-1:] in (" ", "\n"):
            looks = self._concerned(text[begin:] if begin else text)
            if not looks:
                return []
        else:
            looks = self._all()
        hits: list[Hit] = []
        for part, at in looks:
            start = self._now()
            try:
                spans = part.scanner.find(text, begin + at)
            except Exception:
                self._drop(part.owner)
                hits = [hit for hit in hits if hit.owner != part.owner]
                continue
            self.spent[part.owner] += self._now() - start
            if spans and part.owner not in self._dropped:
                hits += [Hit(part.owner, part.actions.of(span.kind), span) for span in spans]
        return resolve_owned(hits) if hits else []

    def free(self, text: str) -> int:
        """How much of the beginning of `text`, which starts at a cut, settles and holds nothing, where that shows at a
        glance, as it mostly does; else -1. The same as `settle` and then `find`, for a fraction of the cost."""
        if len(text) > _SHORT or not text.isascii():
            return -1
        at = max(text.rfind(" "), text.rfind("\n")) + 1
        if len(text) - at > _WORD:
            return -1
        if at:
            pieces = _PIECE.findall(text, 0, at)
            for table, _ in self._tables:
                if not table.free(pieces):
                    return -1
        return at

    def settle(self, text: str, limit: int) -> int:
        if limit <= _SHORT:
            at = _boundary(text, limit)
            if limit - at <= _WORD and text[at:limit].isascii():
                return self._settle_pieces(text, at) if at else 0
        return self._agree(self._all(), text, limit)

    def _settle_pieces(self, text: str, limit: int) -> int:
        """`limit` is the end of a piece, and so is the cut: there all that are not concerned may be cut too."""
        looks = self._concerned(text[:limit])
        while looks and limit:
            cut = self._agree(looks, text, limit)
            limit = _boundary(text, cut)
            if limit == cut:
                break
        return limit

    def _agree(self, looks: list[Look], text: str, limit: int) -> int:
        """Each part lowers the cut until none objects. None objects to a cut before the place from where it looks."""
        agreed = at = 0
        while agreed < len(looks) and limit > 0:
            part, begin = looks[at]
            lower = limit
            if limit > begin:
                start = self._now()
                try:
                    lower = begin + part.scanner.settle(text[begin:] if begin else text, limit - begin)
                except Exception:
                    self._drop(part.owner)
                    return self._agree([look for look in looks if look[0].owner != part.owner], text, limit)
                self.spent[part.owner] += self._now() - start
            agreed = agreed + 1 if lower == limit else 1
            limit = lower
            at = (at + 1) % len(looks)
        return limit

    def _drop(self, owner: int) -> None:
        self._dropped.add(owner)
        self._failed(owner)


def _boundary(text: str, limit: int) -> int:
    """The end of the last whole piece before `limit`."""
    return max(text.rfind(" ", 0, limit), text.rfind("\n", 0, limit)) + 1


def resolve_owned(hits: Sequence[Hit]) -> list[Span]:
    """Disjoint spans in order that cover all that is to be masked or blocked, and nothing else but what is flagged.

    Where several overlap, one that blocks wins, then the check that comes first in the route, then the longer; the
    result is their union, so that a contested character is never left standing. Flags change no text, so they give way."""
    out: list[Owned] = []
    acting = sorted((hit for hit in hits if hit.action != "flag"), key=lambda hit: (hit.span.start, -hit.span.end))
    cluster: list[Hit] = []
    end = 0
    for hit in acting:
        if cluster and hit.span.start >= end:
            out.append(_won(cluster, end))
            cluster = []
        end = max(end, hit.span.end)
        cluster.append(hit)
    if cluster:
        out.append(_won(cluster, end))
    for hit in hits:
        if hit.action == "flag":
            _add_flag(out, hit)
    return sorted(out, key=lambda span: span.start)


def _won(cluster: Sequence[Hit], end: int) -> Owned:
    blocking = [hit for hit in cluster if hit.action == "block"]
    won = min(
        blocking or cluster, key=lambda hit: (hit.owner, hit.span.start - hit.span.end, -hit.span.score, hit.span.kind)
    )
    others = () if blocking else tuple((hit.owner, hit.action) for hit in cluster if hit.owner != won.owner)
    best = won.span
    return Owned(best.kind, cluster[0].span.start, end, best.score, won.owner, won.action, others)


def _add_flag(out: list[Owned], flag: Hit) -> None:
    """As a span of its own, or as one more hit on one that is there already."""
    span = flag.span
    for at, other in enumerate(out):
        if span.start < other.end and other.start < span.end:
            if other.action != "block":
                out[at] = msgspec.structs.replace(other, others=(*other.others, (flag.owner, flag.action)))
            return
    out.append(Owned(span.kind, span.start, span.end, span.score, flag.owner, "flag"))
