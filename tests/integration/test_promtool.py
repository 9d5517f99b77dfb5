"""Alerts and dashboard, checked and run by Prometheus' own promtool."""

from __future__ import annotations

import functools
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "alerts/rules.yaml"
TESTS = [DEPLOY / f"alerts/rules.{name}" for name in ("test.yaml", "days.test.yaml", "pools.test.yaml")]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "dashboards/tidegate.json").read_text())

METRICS = {
    "tidegate_requests_total": {"route", "operation", "outcome", "status"},
    "tidegate_request_duration_seconds": {"route", "outcome", "le"},
    "tidegate_ttft_seconds": {"route", "le"},
    "tidegate_overhead_seconds": {"route", "le"},
    "tidegate_inflight_requests": set(),
    "tidegate_tokens_total": {"model", "provider", "kind"},
    "tidegate_cost_usd_total": {"model", "provider"},
    "tidegate_cache_lookups_total": {"route", "tier", "result"},
    "tidegate_cache_reasons_total": {"route", "reason"},
    "tidegate_coalescing_total": {"event"},
    "tidegate_semantic_wrong_bound": {"route"},
    "tidegate_semantic_serving": {"route"},
    "tidegate_semantic_agreements_total": {"route"},
    "tidegate_semantic_disagreements_total": {"route"},
    "tidegate_semantic_unclear_total": {"route"},
    "tidegate_guardrail_verdicts_total": {"check", "action"},
    "tidegate_guardrail_not_scanned_total": {"check", "reason"},
    "tidegate_intents_total": {"route", "intent"},
    "tidegate_attempts_total": {"provider", "outcome"},
    "tidegate_breaker_open": {"dependency"},
    "tidegate_queue_depth": {"model"},
    "tidegate_queue_running": {"model"},
    "tidegate_queue_refused_total": {"model", "why"},
    "tidegate_queue_seconds": {"model", "priority", "le"},
    "tidegate_shadows_total": {"outcome"},
    "tidegate_cost_estimated_usd_total": {"model", "provider"},
    "tidegate_receipts_dropped_total": {"kind"},
    "tidegate_handovers_queued": set(),
    "tidegate_handovers_total": {"outcome"},
    "tidegate_degraded_total": {"what"},
    "tidegate_unpriced_total": {"model", "provider"},
    "tidegate_rejected_connections_total": {"why"},
    "tidegate_endpoints": {"provider"},
    "tidegate_endpoint_in_flight": {"provider", "endpoint"},
    "tidegate_endpoint_tokens_in_flight": {"provider", "endpoint"},
    "tidegate_endpoint_expected_ttft_seconds": {"provider", "endpoint"},
    "tidegate_endpoint_well": {"provider", "endpoint"},
    "tidegate_endpoint_draining": {"provider", "endpoint"},
    "tidegate_endpoint_waiting": {"provider", "endpoint"},
    "tidegate_endpoint_running": {"provider", "endpoint"},
    "tidegate_endpoint_kv_share": {"provider", "endpoint"},
    "tidegate_endpoint_reading_age_seconds": {"provider", "endpoint"},
    "tidegate_engine_metric_missing": {"provider", "name"},
    "tidegate_scrapes_failed_total": {"provider"},
    "tidegate_lookups_failed_total": {"provider"},
}
"""Every metric that rules and panels may ask for, with its labels; `instance` and `job` come from Prometheus."""
SCRAPED = {"instance", "job"}


@functools.cache
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.fail(
            "promtool is missing; it comes with Debian's prometheus: apt-get install -y --no-install-recommends prometheus"
        )
    return found


def run(*arguments: str | Path) -> None:
    done = subprocess.run([promtool(), *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def asked(expr: str) -> dict[str, set[str]]:
    """Metric names in an expression, each with the labels that its selectors and groupings name."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    found: dict[str, set[str]] = {}
    for name, braces in re.findall(r"\b(tidegate_\w+)(\{[^}]*\})?", bare):
        found.setdefault(re.sub(r"_bucket$", "", name), set()).update(re.findall(r"(\w+)\s*[=!]", braces))
    grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", bare) for label in re.split(r",\s*", group)}
    return {name: labels | grouped for name, labels in found.items()}


# --- alerts


def test_the_rules_are_valid() -> None:
    """promtool accepts every rule, its expression and its templates."""
    run("check", "rules", RULES)


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_the_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    """Recorded series go through Prometheus' own evaluation; the alerts that fire are those that are expected."""
    run("test", "rules", file)


def test_promtool_would_find_a_wrong_alert(tmp_path: Path) -> None:
    """With one threshold changed the same tests fail, so passing means something."""
    text = RULES.read_text()
    assert text.count("> 14.4 * 0.005") == 2
    (tmp_path / "rules.yaml").write_text(text.replace("> 14.4 * 0.005", "> 140 * 0.005"))
    shutil.copy(TESTS[0], tmp_path)
    done = subprocess.run(
        [promtool(), "test", "rules", str(tmp_path / TESTS[0].name)], capture_output=True, timeout=120
    )
    assert done.returncode != 0


def test_each_alert_is_seen_firing_in_a_test() -> None:
    """No alert is only believed: each has a test in which it fires."""
    expected = [
        sample["labels"]
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for check in test["promql_expr_test"]
        for sample in check["exp_samples"]
    ]
    fired = set(re.findall(r'alertname="(\w+)", alertstate="firing"', "\n".join(expected)))
    assert fired == {rule["alert"] for rule in alerts()}


def test_each_alert_says_what_happened_and_what_to_look_at() -> None:
    """A severity of two, a summary and a description: the text someone reads at night."""
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert len(rule["annotations"]["description"]) > 40


def test_rules_ask_for_metrics_and_labels_that_exist() -> None:
    """No rule watches a metric that nobody exports or a label that it does not have."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        for name, labels in asked(rule["expr"]).items():
            assert labels <= METRICS[name] | SCRAPED, rule
        assert set(re.findall(r"\btidegate:\w+:\w+", rule["expr"])) <= recorded


# --- dashboard


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*found, *(one["expr"] for one in DASHBOARD["annotations"]["list"] if "expr" in one)]


def test_every_panels_query_is_valid_promql(tmp_path: Path) -> None:
    """Each query, with Grafana's variables filled in, is accepted by promtool as a rule."""
    filled = [expr.replace("$__rate_interval", "5m").replace("$route", ".*") for expr in expressions()]
    assert not any("$" in expr for expr in filled)
    file = tmp_path / "panels.yaml"
    records = [{"record": f"panel:{at}", "expr": expr} for at, expr in enumerate(filled)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    run("check", "rules", file)


def test_panels_ask_for_metrics_and_labels_that_exist_and_show_all_of_them() -> None:
    """No panel stays empty by a misspelt name, and no metric is exported that nobody can see."""
    seen: set[str] = set()
    for expr in expressions():
        for name, labels in asked(expr).items():
            assert labels <= METRICS[name] | SCRAPED, expr
            seen.add(name)
    assert seen == set(METRICS)


def test_legends_name_labels_that_their_query_keeps() -> None:
    """A legend of a label that was summed away would be blank."""
    for panel in panels():
        for target in panel["targets"]:
            grouped = {
                label for group in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for label in re.split(r",\s*", group)
            }
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped, panel["title"]


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """A fixed uid, the data source by variable only, and no id of someone's installation."""
    assert DASHBOARD["uid"] == "tidegate-overview"
    assert "id" not in DASHBOARD
    kinds = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "route": "query"}
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_panels_do_not_overlap_and_have_their_own_ids() -> None:
    """Each panel has its own id and its own place on the 24-column grid."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        cells |= own


# --- the gateway's own page


def exported() -> dict[str, set[str]]:
    """Names and labels of what the gateway's code makes: its recorder's metrics, and the readings of each scrape."""
    from gateway.status import LABELS
    from gateway.telemetry.metrics import Metrics

    found: dict[str, set[str]] = {}
    for name, collector in Metrics().registry._names_to_collectors.items():
        found[name] = set(getattr(collector, "_labelnames", ()))
    return found | {name: {label} if isinstance(label, str) else set(label) for name, label in LABELS.items()}


def test_every_metric_is_exported_with_its_labels() -> None:
    """What rules and panels ask for is what the gateway's recorder makes, label by label."""
    made = exported()
    for name, labels in METRICS.items():
        if not labels:
            continue  # the scrape below finds it
        assert name in made, name
        assert labels - {"le"} == made[name], name


def test_a_live_scrape_has_every_metric(tmp_path: Path) -> None:
    """A gateway is started and its /metrics read: each name is on the page, with the type that the rules assume."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = DEPLOY / "examples/tidegate.laptop.yaml"
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(config), "--port", str(port)]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(command, cwd=DEPLOY.parent, stdout=log, stderr=log)
    try:
        page = scraped(f"http://127.0.0.1:{port}/metrics", process)
    finally:
        process.terminate()
        process.wait(30)
        log.close()
    types = {family.name: family.type for family in text_string_to_metric_families(page)}
    for name, labels in METRICS.items():
        kind = "histogram" if "le" in labels else "counter" if name.endswith("_total") else "gauge"
        assert types.get(name.removesuffix("_total")) == kind, name


def scraped(url: str, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=3) as reply:
                return reply.read().decode()
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer; exit code {process.poll()}")
