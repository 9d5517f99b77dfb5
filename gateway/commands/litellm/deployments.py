"""One entry of their `model_list`: which provider of ours, which model there, and the rest of it."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from gateway.commands.litellm.source import Secrets, Section, is_variable, seconds, spelled

_BARE = (
    (re.compile(r"(gpt|chatgpt|o\d|text-embedding|dall-e|whisper|tts|davinci|babbage|omni)[-\d]"), "openai"),
    (re.compile(r"claude"), "anthropic"),
    (re.compile(r"gemini"), "vertex_ai"),
    (re.compile(r"command|embed-|rerank-"), "cohere"),
)
"""Names without a prefix, as LiteLLM knows them."""
_FILLERS = frozenset({"", "none", "empty", "fake-key", "my-fake-key", "not-needed", "anything", "dummy", "no-key"})
"""Keys that are none: written because an SDK wants some."""
_DEFAULTS = (
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "frequency_penalty", "presence_penalty", "seed", "stop",
    "reasoning_effort", "logit_bias", "response_format", "n",
)  # fmt: skip
_AWS = {"aws_region_name": "region", "aws_access_key_id": "access_key_id", "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "session_token"}  # fmt: skip
_GOOGLE = {"vertex_project": "project", "vertex_location": "location"}
_SECRET = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)
_REASONS = {
    "tpm": "no limit of one deployment: limit routes (`limits`) or keys",
    "rpm": "no limit of one deployment: limit routes (`limits`) or keys",
    "order": "no order among targets: put the later ones into a model of their own and name it in `on_failure`",
    "tags": "no routing by tags: give each tag a route, or a model of its own",
    "max_budget": "no budget of a deployment",
    "budget_duration": "no budget of a deployment",
    "drop_params": "what a provider cannot do is a clear 400 here; name fields to leave out in `providers.*.params.drop`",
    "mock_response": "no mocks: `tidegate faults` serves a scripted upstream",
    "use_in_pass_through": "unknown paths below /v1 are relayed in any case",
}


class Prefix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of `providers.yaml`."""

    type: str
    own: str | None = None
    base_url: str | None = None
    key: str | None = None
    path: str = ""
    parts: list[str] = []
    google: bool = False


class Deployment(msgspec.Struct, kw_only=True):
    """`provider` is our entry less its address; `url` empty where the catalog has one."""

    group: str
    model: str
    provider: dict[str, Any]
    url: str
    weight: float | None
    target: dict[str, Any]
    """Price and window."""
    total: float | None
    ttft: float | None
    retries: int | None
    parallel: int | None
    """Calls at one time."""

    @property
    def kind(self) -> str:
        """Same for deployments that differ in their address alone."""
        return json.dumps([self.model, self.provider, self.target], sort_keys=True)


@cache
def prefixes() -> dict[str, Prefix]:
    rows = yaml.safe_load(Path(__file__).with_name("providers.yaml").read_text("utf-8"))
    return msgspec.convert(rows, dict[str, Prefix])


def deployment(entry: Section, secrets: Secrets) -> Deployment | None:
    """None, with a note, for what cannot be served."""
    group = str(entry.take("model_name", ""))
    params = entry.section("litellm_params")
    info = entry.section("model_info")
    known = _provider_of(params)
    if known is None or not group:
        if not group:
            entry.notes.add(entry.path, "has no model_name; left out")
        return None
    prefix, model = known
    if "*" in group or "*" in model:
        entry.notes.add(f"{entry.path}.model_name", f"{group!r} is a wildcard: name each model that clients ask for")
        return None
    base = params.text("api_base") or params.text("base_url")
    provider = _provider(prefix, params, secrets, base is not None)
    url = _url(prefix, base)
    if "@" in urlsplit(url).netloc:
        params.say("api_base", "holds a credential, which no address of ours may: put it into `api_key` or `headers`")
        url = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
    if prefix.google and "google" not in provider:
        provider["google"] = {"credentials": "${VERTEX_CREDENTIALS}"}
        params.say("vertex_credentials", "absent: put the service account's JSON into the variable VERTEX_CREDENTIALS")
    made = Deployment(
        group=group,
        model=model,
        provider=provider,
        url=url,
        weight=params.number("weight"),
        target=_target(params, info),
        total=params.number("timeout"),
        ttft=params.number("stream_timeout"),
        retries=_retries(params),
        parallel=params.whole("max_parallel_requests"),
    )
    rpm, entry_rpm = params.number("rpm"), entry.number("rpm")
    if rpm is not None or entry_rpm is not None:
        made.weight = made.weight if made.weight is not None else rpm or entry_rpm
        params.say("rpm", "taken as the target's weight; it is no limit: limit routes (`limits`) or keys")
    _rest(entry, params, info)
    return made


def _provider_of(params: Section) -> tuple[Prefix, str] | None:
    given = params.take("model")
    named = params.take("custom_llm_provider")
    if not isinstance(given, str) or not given:
        params.say("model", "absent; left out")
        return None
    head, slash, rest = given.partition("/")
    known = prefixes()
    if isinstance(named, str) and named in known:
        model = rest if slash and head == named else given
        return known[named], _stripped(known[named], model)
    if slash and head in known:
        return known[head], _stripped(known[head], rest)
    for pattern, name in _BARE:
        if not slash and pattern.match(given):
            return known[name], given
    params.say("model", f"{given!r}: no provider of ours serves this prefix; left out")
    return None


def _stripped(prefix: Prefix, model: str) -> str:
    for part in prefix.parts:
        model = model.removeprefix(part)
    return model


def _provider(prefix: Prefix, params: Section, secrets: Secrets, addressed: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"type": prefix.own if addressed and prefix.own else prefix.type}
    key = params.text("api_key")
    if key is not None and not is_variable(key) and key.lower() in _FILLERS:
        key = None
    elif key is None and prefix.key:
        key = "${" + prefix.key + "}"
    if key is not None:
        made["api_key"] = _secret(key, prefix.key or "API_KEY", params.at("api_key"), params, secrets)
    elif prefix.key and not addressed:
        made["api_key"] = "${" + prefix.key + "}"
    version = params.text("api_version")
    if version is not None:
        made["query"] = {"api-version": version}
    headers = {str(name): spelled(str(value)) for name, value in (params.take("extra_headers") or {}).items()}
    for name, value in headers.items():
        if _SECRET.search(name) and not is_variable(value):
            headers[name] = _secret(value, name.upper().replace("-", "_"), params.at("extra_headers"), params, secrets)
    organization = params.text("organization")
    if organization is not None:
        headers["OpenAI-Organization"] = organization
    if headers:
        made["headers"] = headers
    defaults = {name: value for name in _DEFAULTS if (value := params.take(name)) is not None}
    if defaults:
        made["params"] = {"default": defaults}
    for name, fields in (("aws", _AWS), ("google", _GOOGLE)):
        signed = {ours: params.text(theirs) for theirs, ours in fields.items()}
        found = {ours: value for ours, value in signed.items() if value is not None}
        for ours, value in found.items():
            if _SECRET.search(ours) and not is_variable(value):
                found[ours] = _secret(value, f"AWS_{ours}".upper(), params.at(f"aws_{ours}"), params, secrets)
        if found:
            made[name] = found
    credentials = params.text("vertex_credentials")
    if credentials is not None or "google" in made:
        made.setdefault("google", {})["credentials"] = _google(credentials)
    return made


def _google(given: str | None) -> str:
    """A variable, a file, or the variable to put the JSON into."""
    if given is None or given.lstrip().startswith("{"):
        return "${VERTEX_CREDENTIALS}"
    return given if is_variable(given) else "${file:" + given + "}"


def _secret(value: str, name: str, path: str, params: Section, secrets: Secrets) -> str:
    """A variable for a key that stands in their file. Secrets are never repeated."""
    if is_variable(value):
        return value
    variable = secrets.of(value, name)
    params.notes.add(path, f"stands in the file: put it into the variable {variable}")
    return "${" + variable + "}"


def _url(prefix: Prefix, base: str | None) -> str:
    url = (base or prefix.base_url or "").rstrip("/")
    if base and prefix.path and not url.endswith(prefix.path):
        url += prefix.path
    return url


def _target(params: Section, info: Section) -> dict[str, Any]:
    made: dict[str, Any] = {}
    cost = {}
    for ours, theirs in (("input", "input_cost_per_token"), ("output", "output_cost_per_token"),
                         ("cached_input", "cache_read_input_token_cost")):  # fmt: skip
        each, also = params.number(theirs), info.number(theirs)
        price = each if each is not None else also
        if price is not None:
            cost[ours] = round(price * 1e6, 6)
    if "input" in cost or "output" in cost:
        made["price"] = {"input": cost.get("input", 0.0), "output": cost.get("output", 0.0), **cost}
    window = info.whole("max_input_tokens")
    if window:
        made["context_window"] = window
    return made


def _retries(params: Section) -> int | None:
    for name in ("num_retries", "max_retries"):
        value = params.whole(name)
        if value is not None:
            return value
    return None


def _rest(entry: Section, params: Section, info: Section) -> None:
    for harmless in ("id", "mode", "base_model", "max_tokens", "max_output_tokens", "description", "db_model"):
        info.take(harmless)
    for name in list(info.left()):
        if name.startswith("supports_"):
            info.take(name)
            info.say(name, "declare what the model can do in `capabilities`, all of it")
    for section in (entry, params, info):
        section.rest(_REASONS)


def timeouts(total: float | None, ttft: float | None) -> dict[str, str]:
    made = {}
    if ttft is not None and ttft > 0:
        made["ttft"] = seconds(ttft)
    if total is not None and total > 0:
        made["total"] = seconds(total)
    return made
