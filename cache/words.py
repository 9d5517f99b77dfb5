"""Word lists of the semantic cache. English; a word missing here weakens a veto, a word too many costs a hit."""

from __future__ import annotations


def listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


def grouped(text: str) -> tuple[tuple[str, ...], ...]:
    """Groups of words, set apart by commas."""
    return tuple(tuple(group.split()) for group in text.split(","))


FILLER = listed(
    """
    a an the is are was were be been being am do does did done can could will would shall should may might must have has
    had i you we they he she it me us them my your our their his her its this that these those there here of to in on at
    by for from with without and or if as than then so also just any some please what which how who whom whose when where
    why way able best get got want need like know tell let into up out about
    """
)
"""Words that carry little of what is asked."""

NEGATION = listed(
    """
    not no never without cannot nor neither none nobody nothing nowhere except unless hardly cant wont dont doesnt didnt
    isnt arent wasnt werent couldnt wouldnt shouldnt havent hasnt hadnt
    """
)

_COUNTED = """
    two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty
"""
NUMERAL = {word: str(value) for value, word in enumerate(_COUNTED.split(), start=2)} | {
    "zero": "0", "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80",
    "ninety": "90", "hundred": "100", "thousand": "1000", "million": "1000000",
}  # fmt: skip
"""Not `one`, which is a pronoun more often than a number."""

TIME = listed(
    """
    today tonight tomorrow yesterday monday tuesday wednesday thursday friday saturday sunday weekend weekday january
    february march april june july august september october november december daily weekly monthly quarterly yearly
    annual annually
    """
)
"""Not `may`, which is a verb more often than a month."""

OPPOSITES = grouped(
    """
    enable disable, activate deactivate, increase decrease, raise lower, upload download, accept reject, accept decline,
    approve deny, allow forbid, allow block, start stop, begin end, open close, lock unlock, add remove,
    install uninstall, buy sell, deposit withdraw, send receive, import export, include exclude, cover exclude,
    connect disconnect, before after, above below, over under, minimum maximum, min max, least most, less more,
    fewer more, cheapest expensive, cheap expensive, highest lowest, high low, largest smallest, large small,
    biggest smallest, big small, first last, earliest latest, early late, fastest slowest, fast slow, best worst, good bad,
    domestic international, weekday weekend, internal external, public private, online offline, credit debit,
    login logout, push pull, encrypt decrypt, compress decompress, encode decode, safe dangerous, legal illegal,
    arrival departure, arrive depart, input output, read write, up down, left right, inside outside, male female,
    husband wife, mother father, son daughter, child adult, new old, hot cold, win lose, pass fail, gain loss,
    profit loss, inbound outbound, incoming outgoing, upgrade downgrade, freeze unfreeze, attach detach, show hide,
    always never, with without, per total, gross net, joint single, yes no, am pm
    """
)

NEGATING_PREFIX = listed("un in im il ir dis de non mis re pre post anti")
"""`safe` and `unsafe`, `eligible` and `ineligible`, `activate` and `reactivate` are different questions."""

SAME = grouped(
    """
    increase raise, decrease lower reduce, delete remove erase, buy purchase, begin start, close cancel terminate,
    change modify update edit, find locate obtain, fix repair resolve, help assist support, big large,
    fast quick quickly, cost price fee charge, phone telephone mobile, picture photo image, reset recover, create make,
    send transfer, allow permit, show display appear see, error problem issue trouble difficulty, explain describe,
    extra additional, wrong incorrect, happen go went gone, work function, live reside, calculate determine,
    child children kid, canceled cancelled
    """
)
"""Words that may stand for each other in a question."""

FLEETING = listed(
    """
    today tonight tomorrow yesterday now currently latest recent recently price prices weather forecast news score stock
    """
)
"""What is asked with these changes while an answer lies in a cache."""

POINTING = listed("this these following above below attached")
"""What is meant stands outside the question."""

SHOWN = listed(
    """
    text texts sentence sentences paragraph passage question questions answer image images picture pictures photo photos
    screenshot diagram chart graph table file files document documents pdf page pages website site url link article essay
    email emails mail message messages letter letters word words line lines list code function script snippet query
    error log logs output input data example examples one ones thing things stuff poem song story book video clip formula
    equation problem exercise number numbers symbol symbols sign day week weekend month quarter year time
    """
)
"""After `this` or `these`: what stands elsewhere, or changes with the day."""

PERSONAL = listed("my mine our ours myself ourselves")
"""The answer may hold for the asker alone: not shared beyond one user."""
