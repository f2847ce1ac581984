"""The manifests of deploy/kubernetes, against Kubernetes' own schemas and against the code. No cluster ran them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest
from prometheus_client import CollectorRegistry

from schemas.access import ROLES as USERS
from streams.agents.health import HealthServer, Readiness
from streams.agents.life import END_S
from streams.agents.roles import TransportSettings
from streams.cli.main import cli
from streams.cli.worker import ROLES
from streams.settings import Settings, load_settings, to_environ

if not os.environ.get("CI"):
    pytest.importorskip("kubernetes_validate", reason="this .venv is from before it was asked for: make setup")
import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
KUBECTL = shutil.which("kubectl")
# What a pod speaks to: Kafka, Redis, the key service, by the ports in settings.
KAFKA, REDIS, KEYS, NAMES = 9093, 6380, 8200, 53

Manifest = dict[str, Any]


def read(file: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(file.read_text()))


def manifests() -> Iterator[tuple[Path, Manifest]]:
    for file in sorted(FOLDER.rglob("*.yaml")):
        for manifest in read(file):
            yield file, manifest


EVERY = [(file, manifest) for file, manifest in manifests() if manifest["kind"] != "Kustomization"]
OURS = [(file, manifest) for file, manifest in EVERY if manifest["kind"] != "PodMonitor"]


def of_kind(*kinds: str) -> list[Manifest]:
    return [manifest for _, manifest in EVERY if manifest["kind"] in kinds]


def template_of(manifest: Manifest) -> Manifest:
    """The pod in a Deployment, a Job or a CronJob."""
    spec = manifest["spec"]
    return spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]


PODS = {each["metadata"]["name"]: template_of(each) for each in of_kind("Deployment", "Job", "CronJob")}
DEPLOYMENTS = {each["metadata"]["name"]: each["spec"] for each in of_kind("Deployment")}
(SHARED,) = (each["data"] for each in of_kind("ConfigMap"))
FROM_IMAGE = dict(re.findall(r"\b(THRONG_[A-Z_]+)=(\S+)", DOCKERFILE))


def main_of(pod: Manifest) -> Manifest:
    (container,) = pod["spec"]["containers"]
    return container


def environ_of(pod: Manifest) -> dict[str, str]:
    """What a process sees; a secret's value is its name."""
    own = {
        each["name"]: each["value"]
        if "value" in each
        else "rediss://{name}:6380/0".format(**each["valueFrom"]["secretKeyRef"])
        for each in main_of(pod)["env"]
    }
    return {**FROM_IMAGE, **SHARED, **own}


def settings_of(name: str) -> Settings:
    return load_settings(None, {}, environ_of(PODS[name]))


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_every_manifest_is_what_kubernetes_takes(version: str) -> None:
    assert len(OURS) > 20
    for file, manifest in OURS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{file.name}, {manifest['metadata']['name']}: {error.message}")


def test_a_job_makes_room_for_the_next_versions() -> None:
    # Its pod can't be changed, so `kubectl apply` with a new image is refused while it is there.
    assert all(each["spec"]["ttlSecondsAfterFinished"] <= 3600 for each in of_kind("Job"))


def test_every_file_is_named_in_its_kustomization() -> None:
    for folder in (path.parent for path in FOLDER.rglob("kustomization.yaml")):
        (said,) = read(folder / "kustomization.yaml")
        files = {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert {name for name in said["resources"] if name.endswith(".yaml")} == files
        assert all((folder / name).exists() for name in said["resources"])


@pytest.mark.skipif(KUBECTL is None, reason="no kubectl here")
def test_kustomize_builds_what_one_starts_from() -> None:
    done = subprocess.run([str(KUBECTL), "kustomize", str(FOLDER / "site")], capture_output=True, text=True, check=True)
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(OURS)
    images = {each["image"] for name in PODS for each in _built_containers(built, name)}
    assert images == {"registry.example/throng:0.1.0"}
    (settings,) = (each["data"] for each in built if each["kind"] == "ConfigMap")
    assert settings.keys() >= SHARED.keys()
    load_settings(None, {"kafka.user": "throng-crowd", "kafka.password": "a password"}, settings)
    for manifest in built:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def _built_containers(built: list[Manifest], name: str) -> list[Manifest]:
    (spec,) = (
        template_of(each)["spec"]
        for each in built
        if each["kind"] in ("Deployment", "Job", "CronJob") and each["metadata"]["name"] == name
    )
    return [*spec["initContainers"], *spec["containers"]]


@pytest.mark.parametrize("name", PODS)
def test_whatever_a_pod_is_told_is_a_setting_and_all_of_it_fits_together(name: str) -> None:
    known = to_environ(Settings()).keys()
    assert environ_of(PODS[name]).keys() <= known
    settings = settings_of(name)
    assert settings.kafka.user.removeprefix("throng-") in USERS
    assert (settings.kafka.replication, settings.kafka.min_insync, settings.kafka.security) == (3, 2, "sasl_ssl")


def test_each_role_has_a_deployment_of_its_own_that_runs_it_as_its_user() -> None:
    assert DEPLOYMENTS.keys() == ROLES.keys()
    for role, spec in DEPLOYMENTS.items():
        pod = spec["template"]
        assert main_of(pod)["args"] == ["worker", role]
        assert settings_of(role).kafka.user == f"throng-{role}"
        assert pod["spec"]["serviceAccountName"] == role
        assert pod["metadata"]["labels"].items() >= spec["selector"]["matchLabels"].items()
        assert spec["selector"]["matchLabels"]["app.kubernetes.io/component"] == role
        assert spec["replicas"] == 2
        # Workers of two versions side by side are tried by nobody.
        assert (spec["strategy"].get("type") == "Recreate") == (role != "api")


@pytest.mark.parametrize("name", PODS)
def test_what_a_pod_runs_is_a_command(name: str) -> None:
    words, group = list(main_of(PODS[name])["args"]), cli
    context = click.Context(cli)
    while isinstance(group, click.Group):
        command = group.get_command(context, words.pop(0))
        assert command is not None
        group = command
    group.make_parser(context).parse_args(words)
    assert "command" not in main_of(PODS[name]) and 'ENTRYPOINT ["throng"]' in DOCKERFILE


async def test_probes_and_ports_are_those_that_workers_have() -> None:
    server = HealthServer("crowd", "127.0.0.1", 0, Readiness(), CollectorRegistry())
    port = await server.start()
    (monitor,) = of_kind("PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    paths = {endpoint["path"]: 200}
    for role, spec in DEPLOYMENTS.items():
        container = main_of(spec["template"])
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert ports["health"] == settings_of(role).worker.http_port
        assert settings_of(role).worker.http_host == "0.0.0.0"
        assert endpoint["port"] == "health"
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["httpGet"] == {"path": "/healthz", "port": "health"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
        paths |= {"/healthz": 200, "/readyz": 503}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        for path, status in paths.items():
            async with session.get(path) as answer:
                assert answer.status == status, path
    await server.stop()
    api = settings_of("api").api
    ports = {each["name"]: each["containerPort"] for each in main_of(PODS["api"])["ports"]}
    assert (ports["api"], api.host) == (api.port, "0.0.0.0")
    (service,) = of_kind("Service")
    assert [each["targetPort"] for each in service["spec"]["ports"]] == ["api"]
    assert service["spec"]["selector"] == DEPLOYMENTS["api"]["selector"]["matchLabels"]


def test_a_worker_has_the_time_that_its_end_takes() -> None:
    for role in ("gateway", "crowd", "release"):
        grace = PODS[role]["spec"]["terminationGracePeriodSeconds"]
        assert grace > TransportSettings.drain_s + END_S
    assert PODS["api"]["spec"]["terminationGracePeriodSeconds"] > 5 + END_S
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
    assert f"terminationGracePeriodSeconds: {grace}" in page


@pytest.mark.parametrize("name", PODS)
def test_pods_are_confined(name: str) -> None:
    spec = PODS[name]["spec"]
    (user,) = re.findall(r"useradd .*--uid (\d+)", DOCKERFILE)
    assert spec["securityContext"]["runAsUser"] == int(user) and spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False
    # A Service's variables would be taken for settings: THRONG_API_PORT=tcp://10.0.0.1:443.
    assert spec["enableServiceLinks"] is False
    for container in [*spec["initContainers"], *spec["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() == {"memory"}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not any("hostPath" in volume for volume in spec["volumes"])


@pytest.mark.parametrize("name", PODS)
def test_all_that_is_read_is_mounted_and_compiled_kernels_can_be_kept(name: str) -> None:
    spec, container = PODS[name]["spec"], main_of(PODS[name])
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert {each["name"] for each in mounts.values()} == volumes.keys()
    for variable, value in environ_of(PODS[name]).items():
        if value.startswith("/") and variable not in FROM_IMAGE and not (name not in ROLES and "PLAN" in variable):
            assert mounts[str(Path(value).parent)]["readOnly"], variable
    # With a read-only root numba finds nowhere to keep what it compiled, and no worker starts.
    (kernels,) = re.findall(r"NUMBA_CACHE_DIR=(\S+)", DOCKERFILE)
    assert mounts[kernels]["name"] == "kernels" and "emptyDir" in volumes["kernels"]
    (first,) = spec["initContainers"]
    assert first["command"] == ["cp", "-r", f"{kernels}/.", "/kernels"]
    assert first["volumeMounts"] == [{"name": "kernels", "mountPath": "/kernels"}]


def test_nobody_mounts_anothers_secret() -> None:
    for name, pod in PODS.items():
        text = json.dumps(pod)
        secrets = {
            *re.findall(r'"secretName": "([^"]+)"', text),
            *re.findall(r'"secretKeyRef": {"name": "([^"]+)"', text),
        }
        user = settings_of(name).kafka.user
        assert secrets == ({user, "throng-api-tokens", "throng-api-tls"} if name == "api" else {user})
        assert ("keys-token" in text) == (name == "gateway")


def test_a_disruption_takes_one_pod_of_a_role() -> None:
    budgets = {each["metadata"]["name"]: each["spec"] for each in of_kind("PodDisruptionBudget")}
    assert budgets.keys() == DEPLOYMENTS.keys()
    for role, spec in budgets.items():
        assert spec == {"maxUnavailable": 1, "selector": DEPLOYMENTS[role]["selector"]}


def policies_for(labels: dict[str, str], way: str) -> list[Manifest]:
    """The rules of all policies that hold for a pod, Ingress or Egress; one that selects it and says nothing denies."""
    chosen = [
        each["spec"]
        for each in of_kind("NetworkPolicy")
        if each["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()
        and way in each["spec"]["policyTypes"]
    ]
    assert chosen, f"nothing holds back the {way.lower()} of {labels}"
    return [rule for spec in chosen for rule in spec.get(way.lower(), [])]


def ports_of(rules: list[Manifest]) -> set[int]:
    assert all(rule["ports"] for rule in rules)
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_a_pod_reaches_what_its_role_needs_and_is_reached_by_prometheus_alone_but_for_the_api() -> None:
    for name, pod in PODS.items():
        labels, settings = pod["metadata"]["labels"], settings_of(name)
        wanted = {KAFKA, NAMES} | ({KEYS} if name == "gateway" else {REDIS} if name in ROLES else set())
        assert ports_of(policies_for(labels, "Egress")) == wanted
        assert all(broker.endswith(f":{KAFKA}") for broker in settings.kafka.bootstrap.split(","))
        comes = policies_for(labels, "Ingress")
        # From other namespaces alone: no rule lets one pod of throng in to another.
        peers = [peer for rule in comes for peer in rule["from"]]
        assert all(peer.keys() == {"namespaceSelector"} for peer in peers)
        spaces = {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in peers}
        assert spaces == ({"monitoring", "ingress"} if name == "api" else {"monitoring"})
        assert ports_of(comes) == ({9400, 8400} if name == "api" else {9400})
    assert f":{KEYS}/" in settings_of("gateway").gateway.keys


def test_the_monitors_job_is_the_role_by_which_alerts_go() -> None:
    (monitor,) = of_kind("PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [
        {"sourceLabels": ["__meta_kubernetes_pod_label_app_kubernetes_io_component"], "targetLabel": "job"}
    ]
    for role in DEPLOYMENTS:
        labels = PODS[role]["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert labels["app.kubernetes.io/component"] == role
