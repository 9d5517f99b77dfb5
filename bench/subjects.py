"""The subjects of the bench, as data: how each is got, started and asked. Tidegate is one of them, no more.

Peers run *bare*: one upstream, no database, no key check, nothing switched on that their own defaults leave off. Tidegate
runs with its stages on (see `tidegate_config`), so ratios favour the peers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import peers, tidegate
from bench.load import Target
from bench.place import Launch, Site
from bench.script import MODEL


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`get` installs it under the state folder and returns its version (or raises Unavailable); `launch` says how it
    is started on a port. `extras` are measured for what they alone show, and take no part in the rounds."""

    name: str
    title: str
    get: Callable[[Path], str]
    launch: Callable[[Site, int], Launch]
    default: bool = True
    rounds: bool = True
    redis: bool = False
    note: str = ""


def _litellm(site: Site, port: int) -> Launch:
    config = site.work / "litellm.yaml"
    config.write_text(
        "model_list:\n"
        f"  - model_name: {MODEL}\n"
        f"    litellm_params: {{model: openai/{MODEL}, api_base: '{site.upstream}/v1', api_key: sk-bench}}\n"
        # Since 1.106 it does not start without a master key unless told so; without one it has less to do.
        "general_settings: {dangerously_permit_weak_or_unset_master_key: true}\n"
    )
    argv = [str(site.state / "litellm" / "bin" / "litellm"), "--config", str(config)]
    return Launch(
        argv=[*argv, "--host", "127.0.0.1", "--port", str(port)],
        # Otherwise it first tries, with retries, to fetch a price list from the internet.
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        ready="/health/liveliness",
        target=Target(port=port),
    )


def _portkey(site: Site, port: int) -> Launch:
    headers = (
        ("x-portkey-provider", "openai"),
        ("x-portkey-custom-host", f"{site.upstream}/v1"),
        ("authorization", "Bearer sk-bench"),
    )
    return Launch(
        argv=["node", str(peers.portkey_entry(site.state)), f"--port={port}", "--headless"],
        env={"NODE_ENV": "production"},
        ready="/",
        target=Target(port=port, headers=headers),
    )


def _mlflow(site: Site, port: int) -> Launch:
    config = site.work / "mlflow.yaml"
    config.write_text(
        "endpoints:\n"
        f"  - name: {MODEL}\n"
        "    endpoint_type: llm/v1/chat\n"
        "    model:\n"
        "      provider: openai\n"
        f"      name: {MODEL}\n"
        f"      config: {{openai_api_key: sk-bench, openai_api_base: '{site.upstream}/v1'}}\n"
    )
    argv = [str(site.state / "mlflow" / "bin" / "mlflow"), "gateway", "start", "--config-path", str(config)]
    return Launch(
        argv=[*argv, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        env={"PATH": f"{site.state / 'mlflow' / 'bin'}:/usr/bin:/bin"},
        ready="/health",
        target=Target(port=port),
    )


def _nginx(site: Site, port: int) -> Launch:
    config = site.work / "nginx.conf"
    upstream = site.upstream.removeprefix("http://")
    config.write_text(
        f"daemon off; worker_processes 1; pid {site.work}/nginx.pid; error_log stderr;\n"
        "events { worker_connections 1024; }\n"
        "http {\n"
        f"  access_log off; client_body_temp_path {site.work}/nb; proxy_temp_path {site.work}/np;\n"
        f"  fastcgi_temp_path {site.work}/nf; uwsgi_temp_path {site.work}/nu; scgi_temp_path {site.work}/ns;\n"
        f"  upstream mock {{ server {upstream}; keepalive 128; }}\n"
        f"  server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000;\n"
        "    location / { proxy_pass http://mock; proxy_http_version 1.1; proxy_buffering off;\n"
        "      proxy_set_header Connection ''; }\n"
        "  }\n}\n"
    )
    return Launch(argv=["nginx", "-c", str(config)], env={}, ready="/health", target=Target(port=port))


SUBJECTS: tuple[Subject, ...] = (
    Subject(
        name="tidegate", title="Tidegate", get=tidegate.version, launch=tidegate.plain, note="stages on, in memory"
    ),
    Subject(
        name="tidegate-redis",
        title="Tidegate + Redis",
        get=tidegate.version,
        launch=tidegate.with_redis,
        redis=True,
        note="stages on, limits and exact cache in Redis",
    ),
    Subject(
        name="tidegate-input",
        title="Tidegate, input only",
        get=tidegate.version,
        launch=tidegate.input_only,
        default=False,
        note="guards on the input only, in memory",
    ),
    Subject(
        name="tidegate-embed",
        title="Tidegate + embedding model",
        get=tidegate.version,
        launch=tidegate.with_model,
        rounds=False,
        note="memory only: intents and semantic cache on",
    ),
    Subject(name="litellm", title="LiteLLM proxy", get=peers.litellm, launch=_litellm, note="bare"),
    Subject(name="portkey", title="Portkey gateway", get=peers.portkey, launch=_portkey, note="bare"),
    Subject(name="mlflow", title="MLflow AI gateway", get=peers.mlflow, launch=_mlflow, default=False, note="bare"),
    Subject(name="nginx", title="nginx", get=peers.nginx, launch=_nginx, note="plain relay: the floor"),
)
