"""Keys, tokens and private keys, in prose and in code.

Three sources: forms that vendors gave their keys on purpose (prefix and length), private-key blocks, and assignments
(`api_key = "..."`, `password: ...`) whose value looks random. Patterns follow the vendors' own documentation and the
public secret-scanning rule sets; lengths are lower bounds, because vendors lengthen their keys more often than they
shorten them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from guardrails.finding.scanner import Scanner, Several
from guardrails.finding.spans import Span
from guardrails.finding.zones import Left, Recogniser, Zones
from guardrails.private.private_keys import PrivateKeys
from guardrails.reading.invisible import Visible

_B = r"(?<![A-Za-z0-9_-])"
VENDORS: Sequence[tuple[str, str, str]] = (
    # name, RE2 gate, exact pattern
    ("openai", r"sk-[A-Za-z0-9]", _B + r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{16,220}"),
    ("anthropic", r"sk-ant-", _B + r"sk-ant-[A-Za-z0-9_-]{16,220}"),
    ("aws", r"A(?:KIA|SIA|BIA|CCA|GPA|IDA|ROA)[A-Za-z0-9]{12}", _B + r"A(?:KIA|SIA|BIA|CCA|GPA|IDA|ROA)[A-Za-z0-9]{12,60}"),
    ("github", r"gh[pousr]_", _B + r"gh[pousr]_[A-Za-z0-9]{16,255}"),
    ("github_fine", r"github_pat_", _B + r"github_pat_[A-Za-z0-9_]{22,255}"),
    ("gitlab", r"glpat-", _B + r"glpat-[A-Za-z0-9_-]{16,64}"),
    ("slack", r"xox[abeoprs]-", _B + r"xox[abeoprs]-[A-Za-z0-9-]{10,250}"),
    ("slack_hook", r"hooks\.slack\.com/services/",
     r"hooks\.slack\.com/services/T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/[A-Za-z0-9]{16,32}"),
    ("google", r"AIza", _B + r"AIza[A-Za-z0-9_-]{30,45}"),
    ("google_oauth", r"ya29\.|GOCSPX-", _B + r"(?:ya29\.[A-Za-z0-9_-]{20,512}|GOCSPX-[A-Za-z0-9_-]{20,40})"),
    ("stripe", r"(?:sk|rk|pk)_(?:live|test)_|whsec_",
     _B + r"(?:(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,247}|whsec_[A-Za-z0-9+/=]{24,80})"),
    ("jwt", r"eyJ[A-Za-z0-9_-]{8}", _B + r"eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,1000}"),
    ("hugging_face", r"hf_", _B + r"hf_[A-Za-z0-9]{30,40}"),
    ("npm", r"npm_", _B + r"npm_[A-Za-z0-9]{36}"),
    ("pypi", r"pypi-", _B + r"pypi-[A-Za-z0-9_-]{50,250}"),
    ("sendgrid", r"SG\.", _B + r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,60}"),
    ("twilio", r"(?:SK|AC)[0-9a-f]{32}", _B + r"(?:SK|AC)[0-9a-f]{32}(?![A-Za-z0-9])"),
    ("digitalocean", r"do[por]_v1_", _B + r"do[por]_v1_[a-f0-9]{40,64}"),
    ("groq_xai", r"gsk_|xai-", _B + r"(?:gsk_|xai-)[A-Za-z0-9]{30,100}"),
    ("telegram", r"[0-9]:AA[A-Za-z0-9_-]{30}", _B + r"[0-9]{8,10}:AA[A-Za-z0-9_-]{30,40}"),
    ("others", r"xapp-|shp(?:at|ca|pa|ss)_|sq0(?:atp|csp|idp)-|AGE-SECRET-KEY-1|dapi[0-9a-f]{32}|lin_api_|ntn_|pplx-|r8_|"
     r"figd_|ATATT3|nvapi-|dckr_pat_",
     _B + r"(?:xapp-[A-Za-z0-9-]{20,250}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}|sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,64}|"
     r"AGE-SECRET-KEY-1[0-9A-Z]{58}|dapi[0-9a-f]{32}(?:-[0-9])?|lin_api_[A-Za-z0-9]{32,64}|ntn_[A-Za-z0-9]{40,60}|"
     r"pplx-[A-Za-z0-9]{40,64}|r8_[A-Za-z0-9]{30,50}|figd_[A-Za-z0-9_-]{36,64}|ATATT3[A-Za-z0-9_=-]{100,250}|"
     r"nvapi-[A-Za-z0-9_-]{50,90}|dckr_pat_[A-Za-z0-9_-]{20,60})"),
    ("tidegate", r"tg_", _B + r"tg_[A-Za-z0-9_-]{24,100}"),
    ("url_password", r"://[^\s/@:]{1,64}:[^\s/@:]", r"(?<=://)[^\s/@:]{1,64}:[^\s/@:]{3,128}(?=@)"),
)  # fmt: skip

SEPARATOR = r"\s,;{}<>|`"
_CHAR = f"[^{SEPARATOR}]"
_NAME = (
    r"(?:api[_-]?key|apikey|(?:access|account)[_-]?key(?:[_-]?id)?|secret(?:[_-]?(?:access[_-]?)?key)?|client[_-]?secret|"
    r"private[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|token|passwd|password|passphrase|pwd|authorization)"
)
_ENDINGS = (
    "key", "_id", "-id", "ret", "ken", "swd", "ord", "ase", "pwd", "ion", "rer", "sic", ":", "=", "\"", "'", "]", "(",
)  # fmt: skip
_LAST = "".join(sorted({ch for ending in _ENDINGS for ch in (ending[-1], ending[-1].upper())}))
_LEADS = f"(?<=[{re.escape(_LAST)}])(?i:" + "|".join(f"(?<={re.escape(ending)})" for ending in _ENDINGS) + ")"
"""Behind a token's last character: it may be a name such as `api_key`, an operator, a quote, or `Bearer`. By its last
letters only, which is wider than the names and costs a fraction of trying each of them at every character."""
_LINK = rf"{_CHAR}++{_LEADS}"
_GAP = rf"[ \t>]{{1,4}}(?={_CHAR})"
ZONE = (
    rf"(?<!{_CHAR})(?:{_LINK}(?:{_GAP}{_LINK}){{0,5}}(?:{_GAP}{_CHAR}++)?|[^{SEPARATOR}:=]*+[:=]{_CHAR}*+"
    rf"|{_CHAR}{{10}}{_CHAR}*+)"
)
"""A token that is long or has a colon or an equals sign; and up to six tokens that each lead to the next, with the one
they lead to."""

_PLAIN = rf"[a-z]{{1,9}}(?!{_LEADS})"
"""A short word in small letters that leads to nothing."""

_OPERATOR = re.compile(r"=>|[:=]{1,3}")
_NAME_BEFORE = re.compile(rf"(?i)(?P<name>{_NAME})\Z")
_NAME_LAST = frozenset({"key", "_id", "-id", "ret", "ken", "swd", "ord", "ase", "pwd", "ion"})
_NAME_SIZE = 24
_VALUE = re.compile(r"[ \t]{0,4}[\"'(]{0,2}(?:(?i:bearer|basic)[ \t]{1,4})?(?P<value>[^\s\"'(),;{}<>|`]{6,256})")
_PLACEHOLDER = re.compile(
    r"(?i)^(?:\$|%|\*+$|x+$|\.+$|<|\[)|your|example|changeme|change_me|placeholder|redacted|dummy|environ|getenv|process\.env|"
    r"^(?:none|null|true|false|undefined|string|str|secret|password|token)$|^\[\["
)


class Vendor:
    """API_KEY by the form that its vendor gave it."""

    kind = "API_KEY"

    def __init__(self, gate: str, pattern: str) -> None:
        self.gates: Sequence[str] = (gate,)
        self._regex = re.compile(pattern)

    def find(self, zones: str, left: Left) -> list[Span]:
        return [Span(self.kind, m.start(), m.end()) for m in self._regex.finditer(zones)]


class Assigned:
    """API_KEY or PASSWORD by the name it is given to, if the value looks like one. Words and stand-ins do not."""

    kind = "API_KEY"
    gates: Sequence[str] = (rf"(?i){_NAME}[\"'\]]{{0,2}}\s{{0,4}}[:=]",)

    def find(self, zones: str, left: Left) -> list[Span]:
        spans = []
        done = 0
        for operator in _OPERATOR.finditer(zones):
            start = operator.start()
            name = _name_before(zones, start) if start >= done else None
            match = _VALUE.match(zones, operator.end()) if name is not None else None
            if match is None or name is None:
                continue
            secret = name.startswith("pass") or name == "pwd"
            value, start = match["value"].rstrip(".:"), match.start("value")
            done = match.end()
            if _NAMED.fullmatch(value) and zones[start - 1] not in "\"'":
                continue
            if looks_secret(value, 2.5 if secret else 3.0):
                spans.append(Span("PASSWORD" if secret else self.kind, start, start + len(value), 0.7))
        return spans


_NAMED = re.compile(r"[A-Za-z_][A-Za-z_.]*")
"""Without quotes, another name: `token == other_token`."""


def _name_before(zones: str, end: int) -> str | None:
    """The name that an operator at `end` gives a value to, in small letters. Most operators have another before them,
    which its last letters tell."""
    at = end
    while end - at < 4 and at and zones[at - 1] in " \t":
        at -= 1
    quotes = at
    while quotes - at < 2 and at and zones[at - 1] in "\"']":
        at -= 1
    if zones[max(0, at - 3) : at].lower() not in _NAME_LAST:
        return None
    match = _NAME_BEFORE.search(zones[max(0, at - _NAME_SIZE) : at])
    return match["name"].lower() if match is not None else None


def entropy(text: str) -> float:
    """Shannon entropy in bits per character."""
    total = len(text)
    if not total:
        return 0.0
    return math.log2(total) - sum(n * math.log2(n) for n in map(text.count, set(text))) / total


_CLASSES = tuple(re.compile(kind) for kind in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]"))
_ATTRIBUTE = re.compile(r"(?!.*\d{2})[A-Za-z_][\w.]*\.[\w.]*", re.DOTALL)
"""Code: `config.api_key`."""


def looks_secret(value: str, bits: float) -> bool:
    """Random enough for a credential: letters with digits or marks, or long, and not a known stand-in."""
    if len(value) < 8 or _PLACEHOLDER.search(value):
        return False
    classes = sum(kind.search(value) is not None for kind in _CLASSES)
    if classes < 2 or (value.isalpha() and len(value) < 24) or _ATTRIBUTE.fullmatch(value):
        return False
    return entropy(value) >= bits


def scanner() -> Scanner:
    """The scanner of a `use: secrets` check."""
    recognisers: list[Recogniser] = [*(Vendor(gate, pattern) for _, gate, pattern in VENDORS), Assigned()]
    return Visible(Several([Zones(SEPARATOR, ZONE, _LEADS, recognisers, _PLAIN), PrivateKeys()]))
