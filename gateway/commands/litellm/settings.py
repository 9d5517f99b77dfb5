"""Their `router_settings`, `litellm_settings` and `general_settings` as ours."""

from __future__ import annotations

from typing import Any

from gateway.commands.litellm.deployments import timeouts
from gateway.commands.litellm.models import attempts
from gateway.commands.litellm.source import Secrets, Section, is_variable, pairs, seconds

_FALLBACKS = {"fallbacks": "on_failure", "context_window_fallbacks": "on_context_overflow",
              "content_policy_fallbacks": "on_content_policy"}  # fmt: skip
_BALANCE = {"least-busy": "least_inflight", "latency-based-routing": "latency"}
_REASONS = {
    "allowed_fails": "each endpoint has a breaker of its own: five failures in a row, 2 to 60 s of rest",
    "cooldown_time": "each endpoint has a breaker of its own: five failures in a row, 2 to 60 s of rest",
    "enable_pre_call_checks": "always on: what a model cannot do or hold is not asked of it",
    "retry_policy": "what may be tried again follows from the fault; `retry.attempts` holds for all of them",
    "enable_tag_filtering": "no routing by tags: give each tag a route, or a model of its own",
    "set_verbose": "one line of JSON a request (`telemetry.log`); no prompts",
    "json_logs": "one line of JSON a request (`telemetry.log`); no prompts",
    "turn_off_message_logging": "always so: nothing a user wrote is logged",
    "redact_messages_in_exceptions": "always so: errors hold no text of a user",
    "drop_params": "what a provider cannot do is a clear 400 here; name fields to leave out in `providers.*.params.drop`",
    "modify_params": "no rewriting of requests behind the client's back",
    "ssl_verify": "certificates are always verified",
    "max_budget": "no budget of the whole gateway; keys have `rpm`, `tpm` and `concurrency`",
    "budget_duration": "no budget of the whole gateway; keys have `rpm`, `tpm` and `concurrency`",
    "database_url": "no database: keys are hashes in a file, what is shared is in Redis",
    "store_model_in_db": "no database: models are in the file",
    "background_health_checks": "pools are probed and their calls watched: `providers.*.health`",
    "health_check_interval": "pools are probed and their calls watched: `providers.*.health`",
    "alerting": "alert rules are in deploy/alerts, for Prometheus",
    "max_parallel_requests": "limit routes and keys: `concurrency`",
    "global_max_parallel_requests": "limit routes and keys: `concurrency`",
    "pass_through_endpoints": "paths below /v1 that are not understood are relayed; others are not",
    "ui_access_mode": "the console is at /console, for admin keys",
    "custom_auth": "no code of your own in the gateway; keys are in `access.keys`",
    "enforce_user_param": "users are named by a header that a key may be trusted with",
    "proxy_batch_write_at": "spend is told as metrics, not written to a database",
    "public_routes": "all but /livez, /readyz and /metrics needs a key",
}
_CALLBACKS = {
    "prometheus": "served at /metrics, as `telemetry.prometheus` says",
    "otel": "",
    "arize_phoenix": "takes OTLP: point `telemetry.otlp` there",
    "langfuse": "takes OTLP: point `telemetry.otlp` there; prompts and answers are never in spans",
    "langfuse_otel": "takes OTLP: point `telemetry.otlp` there; prompts and answers are never in spans",
    "datadog": "takes OTLP through its agent: point `telemetry.otlp` there",
    "langsmith": "takes OTLP: point `telemetry.otlp` there; prompts and answers are never in spans",
}


def router(section: Section, config: dict[str, Any], secrets: Secrets) -> None:
    """Fallbacks, retries, time-outs, the way of balancing, Redis."""
    models = config["models"]
    _aliases(section, models)
    strategy = section.take("routing_strategy", "simple-shuffle")
    if strategy in _BALANCE:
        for provider in config["providers"].values():
            if "endpoints" in provider:
                provider["balance"] = _BALANCE[strategy]
        section.say("routing_strategy", f"{strategy!r} balances the endpoints of one provider; targets go by weight")
    elif strategy != "simple-shuffle":
        section.say(
            "routing_strategy", f"{strategy!r} has no counterpart: targets go by weight, endpoints by `balance`"
        )
    _fallbacks(section, models)
    _for_all(section, models, "timeout")
    url = redis_url(section, "redis_", secrets)
    if url is not None:
        config["redis"] = url
    section.rest(_REASONS)


def house(section: Section, config: dict[str, Any], secrets: Secrets) -> None:
    """Caches, callbacks, and what may also stand under `router_settings`."""
    _fallbacks(section, config["models"])
    _for_all(section, config["models"], "request_timeout")
    _cache(section, config, secrets)
    for name in ("callbacks", "success_callback", "failure_callback", "service_callback"):
        for callback in _listed(section.take(name)):
            _callback(section, name, callback, config)
    section.rest(_REASONS)


def general(section: Section, config: dict[str, Any]) -> None:
    master = section.take("master_key")
    if master is not None:
        section.say(
            "master_key",
            "no key of a master: make keys with `tidegate keys create --admin`, then set `access: {keys: keys.yaml}` and "
            "the address to listen on (`server.host`)",
        )
    if section.take("otel"):
        config["telemetry"]["otlp"] = "${OTEL_EXPORTER_OTLP_ENDPOINT:-}"
    budget = section.number("request_timeout")
    if budget:
        config["server"]["timeout"] = seconds(budget)
    section.rest(_REASONS)


def _aliases(section: Section, models: dict[str, Any]) -> None:
    for alias, given in (section.take("model_group_alias") or {}).items():
        name = given.get("model") if isinstance(given, dict) else given
        if name in models:
            models[str(alias)] = dict(models[name])
        else:
            section.say("model_group_alias", f"{alias!r} stands for {name!r}, which is not among the models; left out")


def _fallbacks(section: Section, models: dict[str, Any]) -> None:
    for theirs, ours in _FALLBACKS.items():
        for name, others in pairs(section.take(theirs)):
            for alias in models if name == "*" else [name]:
                _point(section, theirs, models, alias, others, ours)
    for default in _listed(section.take("default_fallbacks")):
        for alias, model in models.items():
            if alias != default and "on_failure" not in model:
                _point(section, "default_fallbacks", models, alias, [default], "on_failure")


def _point(section: Section, at: str, models: dict[str, Any], alias: str, others: list[str], field: str) -> None:
    known = [other for other in others if other in models and other != alias]
    for other in others:
        if other not in models:
            section.say(at, f"{other!r} is not among the models; left out")
    if alias not in models:
        section.say(at, f"{alias!r} is not among the models; left out")
    elif known:
        models[alias][field] = list(dict.fromkeys([*models[alias].get(field, []), *known]))


def _for_all(section: Section, models: dict[str, Any], timeout: str) -> None:
    """What holds for every model that does not say otherwise."""
    times = timeouts(section.number(timeout), section.number("stream_timeout"))
    retries = section.number("num_retries")
    for model in models.values():
        if times:
            model["timeouts"] = {**times, **model.get("timeouts", {})}
        if retries is not None:
            model.setdefault("retry", {"attempts": attempts(retries)})


def redis_url(section: Section, prefix: str, secrets: Secrets) -> str | None:
    """From host, port and password, or the URL they give."""
    url = section.text(f"{prefix}url")
    host, port = section.text(f"{prefix}host"), section.text(f"{prefix}port")
    password = section.text(f"{prefix}password")
    if url is not None:
        if "@" in url and not is_variable(url):
            section.say(
                f"{prefix}url", "holds a password, which stays out: put the whole URL into the variable REDIS_URL"
            )
            return "${" + secrets.of(url, "REDIS_URL") + "}"
        return url if is_variable(url) or url.startswith(("redis://", "rediss://")) else None
    if host is None:
        return None
    if password is not None and not is_variable(password):
        section.say(f"{prefix}password", "stands in the file: put it into the variable REDIS_PASSWORD")
        password = "${" + secrets.of(password, "REDIS_PASSWORD") + "}"
    return f"redis://{f':{password}@' if password else ''}{host}:{port or 6379}/0"


def _cache(section: Section, config: dict[str, Any], secrets: Secrets) -> None:
    used = section.take("cache")
    params = section.section("cache_params")
    if not used:
        list(map(params.take, list(params.left())))
        return
    kind = str(params.take("type", "local"))
    ttl = params.number("ttl")
    url = redis_url(params, "", secrets)
    if url is not None:
        config.setdefault("redis", url)
    elif "redis" in kind:
        config.setdefault("redis", "redis://${REDIS_HOST}:${REDIS_PORT:-6379}/0")
        params.say(
            "type",
            "Redis' address is read from REDIS_HOST and REDIS_PORT, as LiteLLM does; a password goes into `redis`",
        )
    cache: dict[str, Any] = {"partition": "tenant", "exact": {"ttl": seconds(ttl)} if ttl else {}}
    params.say("type", "answers are shared within one tenant (`partition`); LiteLLM shares them among all who ask")
    if "semantic" in kind:
        cache["semantic"] = {"ttl": seconds(ttl)} if ttl else {}
        params.take("similarity_threshold")
        params.say(
            "similarity_threshold", "our `threshold` is no cosine: the default is kept, and the route starts in shadow"
        )
        address = params.text("qdrant_api_base")
        if address is not None:
            config["qdrant"] = address
        params.take("redis_semantic_cache_embedding_model")
        params.take("qdrant_semantic_cache_embedding_model")
        params.say("type", "questions are compared by the built-in encoder, or by a provider's: `embedding`")
    elif kind not in ("local", "redis"):
        params.say("type", f"{kind!r}: entries lie in memory, or in Redis if there is one")
    config["routes"]["default"]["cache"] = cache
    params.rest({"namespace": "keys are made with `server.secret`; who shares it shares entries",
                 "supported_call_types": "chat, completions, embeddings and reranking are cached; streams too"})  # fmt: skip


def _callback(section: Section, at: str, callback: str, config: dict[str, Any]) -> None:
    if callback == "otel":
        config["telemetry"]["otlp"] = "${OTEL_EXPORTER_OTLP_ENDPOINT:-}"
    elif callback in _CALLBACKS:
        section.say(at, f"{callback!r} {_CALLBACKS[callback]}")
    else:
        section.say(at, f"{callback!r}: no counterpart; traces leave as OTLP, metrics are at /metrics")


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [value] if isinstance(value, str) else []
