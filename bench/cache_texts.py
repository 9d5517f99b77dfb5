"""Questions and utterances for `bench.caches`: made of parts, all different, about as alike as those of one help desk."""

from __future__ import annotations

import random

ACTIONS = (
    "reset", "export", "delete", "rename", "share", "archive", "restore", "duplicate", "encrypt", "print", "schedule",
    "merge", "compress", "translate", "publish", "lock", "upload", "convert", "filter", "sort", "track", "label",
    "import", "mute",
)  # fmt: skip
THINGS = (
    "invoice", "password", "calendar", "report", "mailbox", "contract", "dashboard", "spreadsheet", "photo album",
    "playlist", "address book", "backup", "database", "newsletter", "ticket", "survey", "workspace", "template",
    "voice memo",
    "shipment",
    "subscription", "payment plan", "voucher", "profile picture", "access token", "webhook", "printer queue",
    "floor plan",
)  # fmt: skip
PLACES = (
    "on my phone", "in the web app", "on Linux", "for a colleague", "without an account", "in the old version",
    "from the office", "on a tablet", "with the free plan", "after an update", "in dark mode", "through the API",
    "from an email",
    "over the weekend", "while travelling", "with two accounts", "in a shared folder", "for a customer abroad",
)  # fmt: skip
ASKS = ("How do I {a} {t} {p}?", "Can I {a} {t} {p}?", "What happens when I {a} {t} {p}?", "Where can one {a} {t} {p}?")


def questions(count: int) -> list[str]:
    """`count` different ones, always the same."""
    rng = random.Random(11)
    every = [
        ask.format(a=action, t=f"the {thing}", p=place)
        for ask in ASKS
        for action in ACTIONS
        for thing in THINGS
        for place in PLACES
    ]
    rng.shuffle(every)
    return every[:count]


def intents(count: int, examples: int, fresh: int) -> tuple[dict[str, list[str]], list[str]]:
    """Examples by intent, and `fresh` utterances that are among none of them."""
    rng = random.Random(13)
    pairs = [(action, thing) for action in ACTIONS for thing in THINGS]
    rng.shuffle(pairs)
    table: dict[str, list[str]] = {}
    rest: list[str] = []
    for action, thing in pairs[:count]:
        said = [ask.format(a=action, t=f"my {thing}", p=place) for ask in ASKS for place in PLACES]
        rng.shuffle(said)
        table[f"{action}_{thing.replace(' ', '_')}"] = said[:examples]
        rest += said[examples:]
    rng.shuffle(rest)
    return table, rest[:fresh]
