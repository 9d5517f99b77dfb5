"""Their `guardrails` as ours: what we do ourselves, and services that we can ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.commands.litellm.source import Notes, Secrets, Section, is_variable
from guardrails.private.pii import ENTITIES

_MODES = {"pre_call": "input", "during_call": "input", "post_call": "output"}
_OURS = {"hide-secrets": "secrets", "presidio": "pii", "openai_moderation": "remote"}
_ATTACKS = ("lakera", "prompt_injection", "prompt_security", "pangea", "aim", "lasso", "panw")


def guardrails(given: Any, config: dict[str, Any], secrets: Secrets, notes: Notes) -> None:
    """Those that are on by default go to the default route; others are kept for routes to name."""
    for at, entry in enumerate(given if isinstance(given, list) else []):
        section = Section(entry, f"guardrails[{at}]", notes)
        name = _name(str(section.take("guardrail_name", f"check-{at + 1}")))
        params = section.section("litellm_params")
        kind = str(params.take("guardrail", ""))
        modes = params.take("mode", ["pre_call"])
        on = _sides(modes if isinstance(modes, list) else [modes], params)
        check = _check(kind, params, on, secrets)
        if check is None:
            params.say("guardrail", f"{kind!r}: no counterpart")
        elif on:
            config["guardrails"][name] = check
            if params.take("default_on"):
                config["routes"]["default"].setdefault("guardrails", []).append(name)
            else:
                params.say(
                    "default_on", f"{name!r} is on no route: name it where it is to run; a request cannot ask for it"
                )
        params.take("default_on")
        params.rest({})
        section.rest({"guardrail_info": "no counterpart"})


def _check(kind: str, params: Section, on: list[str], secrets: Secrets) -> dict[str, Any] | None:
    made = _MADE.get(_OURS.get(kind, ""))
    if made is not None:
        return made(params, on, secrets)
    if any(word in kind for word in _ATTACKS):
        params.say("guardrail", f"{kind!r}: our own detector instead; measure it with `tidegate eval injection`")
        for name in ("api_key", "api_base"):
            params.take(name)
        return {"use": "injection", "on": ["input"], "action": "block", "on_error": "open", "deadline": "60ms"}
    return None


def _pii(params: Section, on: list[str], _secrets: Secrets) -> dict[str, Any]:
    restore = bool(params.take("output_parse_pii", False))
    check: dict[str, Any] = {"use": "pii", "on": on, "action": "mask"}
    if restore:
        check["restore"] = True
    wanted = params.take("pii_entities_config") or {}
    known = [name for name in wanted if name in ENTITIES]
    for name in wanted:
        if name not in ENTITIES:
            params.say("pii_entities_config", f"{name!r} is not among our entities; a pattern of your own can be")
        elif str(wanted[name]).upper() == "BLOCK":
            params.say(
                "pii_entities_config",
                f"{name!r} is masked, not blocked; a check of its own with `action: block` blocks",
            )
    if known:
        check["entities"] = known
    for name in ("presidio_analyzer_api_base", "presidio_anonymizer_api_base"):
        if params.take(name) is not None:
            params.say(name, "no service is asked: recognisers run in the gateway")
    return {**check, "on_error": "closed", "deadline": "80ms"}


def _hidden(params: Section, on: list[str], _secrets: Secrets) -> dict[str, Any]:
    return {"use": "secrets", "on": on, "action": "mask", "on_error": "closed", "deadline": "40ms"}


def _remote(params: Section, on: list[str], secrets: Secrets) -> dict[str, Any]:
    base = (params.text("api_base") or "https://api.openai.com/v1").rstrip("/")
    key = params.text("api_key") or "${OPENAI_API_KEY}"
    if not is_variable(key):
        variable = secrets.of(key, "OPENAI_API_KEY")
        params.say("api_key", f"stands in the file: put it into the variable {variable}")
        key = "${" + variable + "}"
    check: dict[str, Any] = {"use": "remote", "on": on, "action": "block", "form": "openai_moderation"}
    model = params.text("model")
    return {
        **check,
        "url": f"{base}/moderations",
        "api_key": key,
        **({"model": model} if model else {}),
        "on_error": "closed",
        "deadline": "5s",
    }


_MADE: dict[str, Callable[[Section, list[str], Secrets], dict[str, Any]]] = {
    "pii": _pii,
    "secrets": _hidden,
    "remote": _remote,
}


def _sides(modes: list[Any], params: Section) -> list[str]:
    for mode in modes:
        if mode not in _MODES:
            params.say("mode", f"{mode!r}: no counterpart; nothing a user wrote is logged in any case")
    return list(dict.fromkeys(_MODES[mode] for mode in modes if mode in _MODES))


def _name(given: str) -> str:
    """As names of checks may be written."""
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "-" for letter in given.lower()
    )
    return kept.strip("-_")[:40] or "check"
