"""The pool of engines beside the gateway in Kubernetes: what the manifests promise is what the gateway's config looks for."""

from __future__ import annotations

import os
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from gateway.core.units import parse_duration
from tests.unit.test_deploy_kubernetes import BASE, DEPLOY, Object, only, pod, render

COMPONENT = DEPLOY / "kustomize/components/gpu-pool"
CONFIG = yaml.safe_load((DEPLOY / "examples/tidegate.gpu-pool.yaml").read_text())
GPU = CONFIG["providers"]["gpu"]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Object, ...]:
    """The base with the component, as `kubectl kustomize` prints them."""
    place = tmp_path_factory.mktemp("overlay").resolve()
    lines = {"resources": [os.path.relpath(BASE, place)], "components": [os.path.relpath(COMPONENT, place)]}
    (place / "kustomization.yaml").write_text(yaml.safe_dump(lines))
    return render(place)


@pytest.mark.parametrize("version", ["1.28", kubernetes_validate.latest_version()])
def test_each_object_is_valid_strictly(objects: tuple[Object, ...], version: str) -> None:
    """Unknown fields are refused; beside the base there are a Service, a Deployment and a policy."""
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)
    assert len(objects) == len(render(BASE)) + 3


def test_the_name_that_is_looked_up_is_the_headless_service(objects: tuple[Object, ...]) -> None:
    """Without an address of its own, only of ready pods, on the port that the config says and the container listens on."""
    service = only(objects, "Service", GPU["discover"]["dns"])["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is False
    deployment = only(objects, "Deployment", "vllm")["spec"]
    assert service["selector"].items() <= deployment["template"]["metadata"]["labels"].items()
    (container,) = pod(only(objects, "Deployment", "vllm"))["containers"]
    (port,) = container["ports"]
    assert (service["ports"][0]["targetPort"], service["ports"][0]["port"]) == (port["name"], GPU["discover"]["port"])
    assert f"--port={port['containerPort']}" in container["args"]


def test_the_engine_serves_what_the_models_ask_for(objects: tuple[Object, ...]) -> None:
    """Its served name is the model of every target of the pool, and its usage tells cached tokens."""
    (container,) = pod(only(objects, "Deployment", "vllm"))["containers"]
    targets = [target for model in CONFIG["models"].values() for target in model["targets"]]
    names = {target["model"] for target in targets if target["provider"] == "gpu"}
    assert names == {arg.partition("=")[2] for arg in container["args"] if arg.startswith("--served-model-name=")}
    assert {"--enable-prefix-caching", "--enable-prompt-tokens-details"} <= set(container["args"])


def test_an_ending_pod_outlives_its_answers(objects: tuple[Object, ...]) -> None:
    """It leaves DNS before it stops listening, and its longest call ends before it is killed."""
    spec = pod(only(objects, "Deployment", "vllm"))
    pre = float(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pre >= parse_duration("5s") + 5 + 5, "a look-up, CoreDNS' cache, and time to spare"
    longest = max(parse_duration(model["timeouts"]["total"]) for model in CONFIG["models"].values())
    assert spec["terminationGracePeriodSeconds"] >= pre + longest + 10


def test_a_busy_engine_is_not_taken_for_dead(objects: tuple[Object, ...]) -> None:
    """Probes are patient: readiness waits ten seconds for an answer, and liveness gives five minutes."""
    (container,) = pod(only(objects, "Deployment", "vllm"))["containers"]
    assert container["readinessProbe"]["timeoutSeconds"] >= 10
    assert container["readinessProbe"]["failureThreshold"] >= 3
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 300
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600


def test_engines_are_shut_in(objects: tuple[Object, ...]) -> None:
    """Restricted pods, without a token, that only the gateway can reach and that reach nobody."""
    spec = pod(only(objects, "Deployment", "vllm"))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    inner = spec["containers"][0]["securityContext"]
    assert inner["readOnlyRootFilesystem"] is True
    assert inner["capabilities"] == {"drop": ["ALL"]}
    policy = only(objects, "NetworkPolicy", "vllm")["spec"]
    assert policy["egress"] == []
    (rule,) = policy["ingress"]
    gateway = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert rule["from"][0]["podSelector"]["matchLabels"].items() <= gateway.items()
    allowed = {
        port["port"]
        for rule in only(objects, "NetworkPolicy", "tidegate-gateway")["spec"]["egress"]
        for port in rule["ports"]
    }
    assert GPU["discover"]["port"] in allowed


def test_no_image_can_be_pulled_by_mistake(objects: tuple[Object, ...]) -> None:
    """The engine's image has a placeholder's registry, as the gateway's own has."""
    image = pod(only(objects, "Deployment", "vllm"))["containers"][0]["image"]
    assert image.startswith("registry.example.com/")


def test_the_comment_in_the_plain_config_is_right() -> None:
    """What is commented out there is a pool that would be accepted."""
    text = Path(BASE / "tidegate.yaml").read_text()
    lines = [line.replace("# ", "", 1) for line in text.splitlines() if line.startswith(("  # gpu:", "  #   "))]
    said = yaml.safe_load("\n".join(lines))["gpu"]
    assert (said["type"], said["balance"]) == (GPU["type"], GPU["balance"])
    assert said["discover"]["port"] == GPU["discover"]["port"]
