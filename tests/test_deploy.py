"""What is in `deploy/`: that it fits the server, the schemas of Kubernetes, and itself."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import kubernetes_validate
import pytest
import yaml

from mattebox.cli.serve import _GRACE as REQUESTS_SECONDS
from mattebox.cli.serve import serve
from mattebox.codec import Limits
from mattebox.server import settings
from mattebox.server.app import create_app
from mattebox.server.health import _STOP_SECONDS as DOWNLOAD_SECONDS
from mattebox.server.http.bodies import _body_room
from mattebox.server.jobs import TaskOptions
from mattebox.server.monitor import METRICS
from mattebox.testing import FakeModels

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
UNIT = (DEPLOY / "systemd" / "mattebox.service").read_text()

Manifest: TypeAlias = dict[str, "Value"]
Value: TypeAlias = "str | int | float | bool | list[Value] | Manifest | None"

DRAIN_SECONDS = REQUESTS_SECONDS + DOWNLOAD_SECONDS + TaskOptions().grace
"""The longest that a server takes to stop, as docs/deploy.md says: requests, then a download, then tasks."""


def at(value: Value, path: str) -> Value:
    """The value at a path such as `spec.template.0`; None where there is nothing."""
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)]
        elif isinstance(value, dict):
            value = value.get(part)
        else:
            return None
    return value


def manifests() -> Iterator[Manifest]:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    for name in kustomization["resources"]:
        yield from yaml.safe_load_all((KUBERNETES / name).read_text())


RESOURCES = {f"{each['kind']}/{at(each, 'metadata.name')}": each for each in manifests()}
WORKLOADS = ("Deployment/server", "StatefulSet/worker")
COMPOSE: Manifest = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def labels(workload: str) -> Mapping[str, Value]:
    found = at(RESOURCES[workload], "spec.template.metadata.labels")
    assert isinstance(found, dict)
    return found


def seconds(path: str, workload: str) -> int:
    found = at(RESOURCES[workload], path)
    assert isinstance(found, int)
    return found


def test_every_manifest_is_used() -> None:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    used = [*kustomization["resources"], *kustomization["configurations"], "kustomization.yaml"]
    assert sorted(used) == sorted(file.name for file in KUBERNETES.glob("*.yaml"))


@pytest.mark.parametrize("version", ["1.30.0", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", [name for name, each in RESOURCES.items() if "keda" not in str(each["apiVersion"])])
def test_manifests_are_what_kubernetes_reads(name: str, version: str) -> None:
    kubernetes_validate.validate(RESOURCES[name], version, strict=True)


def test_the_schemas_know_a_wrong_manifest() -> None:
    wrong = RESOURCES["Deployment/server"] | {"spec": {"replicas": "two"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_pods_have_no_rights(workload: str) -> None:
    pod = at(RESOURCES[workload], "spec.template.spec")
    assert at(pod, "automountServiceAccountToken") is False
    assert at(pod, "securityContext.runAsNonRoot") is True
    assert at(pod, "securityContext.seccompProfile.type") == "RuntimeDefault"
    assert at(pod, "containers.0.securityContext") == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert f"USER {at(pod, 'securityContext.runAsUser')}:{at(pod, 'securityContext.runAsGroup')}\n" in DOCKERFILE


@pytest.mark.parametrize("workload", WORKLOADS)
def test_pods_are_given_the_time_that_a_drain_takes(workload: str) -> None:
    pause = at(RESOURCES[workload], "spec.template.spec.containers.0.lifecycle.preStop.sleep.seconds") or 0
    assert isinstance(pause, int)
    assert seconds("spec.template.spec.terminationGracePeriodSeconds", workload) > pause + DRAIN_SECONDS


def test_other_managers_give_that_time_too() -> None:
    stop = re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > DRAIN_SECONDS
    for service in ("server", "worker"):
        grace = str(at(COMPOSE, f"services.{service}.stop_grace_period"))
        assert int(grace.removesuffix("s")) > DRAIN_SECONDS


def test_systemd_listens_where_the_server_would() -> None:
    unit = (DEPLOY / "systemd" / "mattebox.socket").read_text()
    defaults = {name: each.default for name, each in inspect.signature(serve).parameters.items()}
    assert re.findall(r"^ListenStream=(.*)$", unit, re.MULTILINE) == [f"{defaults['host']}:{defaults['port']}"]
    assert re.search(r"^ExecStart=/opt/mattebox/bin/mattebox serve$", UNIT, re.MULTILINE)  # no --host, no --port
    assert re.search(r"^ExecReload=/bin/kill -HUP \$MAINPID$", UNIT, re.MULTILINE)


def test_a_container_that_is_stopped_while_it_starts_ends() -> None:
    [base] = re.findall(r"^FROM \$\{BASE\} AS base\nRUN ((?:.*\\\n)*.*)", DOCKERFILE, re.MULTILINE)
    assert "tini" in base.split()
    assert 'ENTRYPOINT ["tini", "-e", "143", "--", "mattebox"]\n' in DOCKERFILE
    assert not any(at(RESOURCES[each], "spec.template.spec.containers.0.command") for each in WORKLOADS)
    assert not any(at(COMPOSE, f"services.{name}.entrypoint") for name in ("server", "worker"))


def test_what_selects_pods_selects_some() -> None:
    pods = [labels(workload).items() for workload in WORKLOADS]
    for name, each in RESOURCES.items():
        for path in ("spec.selector.matchLabels", "spec.podSelector.matchLabels", "spec.selector"):
            wanted = at(each, path)
            if isinstance(wanted, dict) and "matchLabels" not in wanted:
                assert any(wanted.items() <= pod for pod in pods), name
    assert at(RESOURCES["ScaledObject/worker"], "spec.scaleTargetRef") == {"kind": "StatefulSet", "name": "worker"}
    assert at(RESOURCES["ScaledObject/worker"], "spec.triggers.0.authenticationRef.name") == at(
        RESOURCES["TriggerAuthentication/database"], "metadata.name"
    )


@pytest.mark.parametrize("workload", WORKLOADS)
def test_probes_ask_what_the_server_answers(workload: str, tmp_path: Path) -> None:
    app = create_app(settings.Settings(data_dir=tmp_path), models=FakeModels(), tasks=False)
    container = at(RESOURCES[workload], "spec.template.spec.containers.0")
    asked = {str(at(container, f"{probe}.httpGet.path")) for probe in ("startupProbe", "livenessProbe")}
    asked |= {str(at(container, "readinessProbe.httpGet.path"))}
    asked |= set(re.findall(r"127\.0\.0\.1:8000(/\w+)", DOCKERFILE))
    assert asked == {"/live", "/ready"}
    assert asked <= {str(getattr(route, "path", "")) for route in app.routes}


def test_the_scaler_finds_the_secret_whose_name_is_generated() -> None:
    references = yaml.safe_load((KUBERNETES / "references.yaml").read_text())
    where = str(at(references, "nameReference.0.fieldSpecs.0.path")).split("/")
    scaler = RESOURCES["TriggerAuthentication/database"]
    assert at(scaler, ".".join([*where[:-1], "0", where[-1]])) == "mattebox"
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    assert at(kustomization, "secretGenerator.0.name") == "mattebox"
    example = (KUBERNETES / "secrets.env.example").read_text()
    assert f"{at(scaler, 'spec.secretTargetRef.0.key')}=" in example


def test_workers_have_names_that_stay() -> None:
    env = at(RESOURCES["StatefulSet/worker"], "spec.template.spec.containers.0.env")
    assert isinstance(env, list)
    assert {"name": "MATTEBOX_NODE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}} in env


def test_workers_do_not_get_the_keys() -> None:
    assert "MATTEBOX_KEYS" not in (KUBERNETES / "worker.yaml").read_text()
    assert "secretRef" not in (KUBERNETES / "worker.yaml").read_text()
    assert "MATTEBOX_KEYS" not in str(at(COMPOSE, "services.worker.environment"))


def test_variables_are_settings() -> None:
    files = [file for file in DEPLOY.rglob("*") if file.is_file() and file.suffix != ".json"]
    named = {name for file in files for name in re.findall(r"MATTEBOX_[A-Z_]+", file.read_text())}
    assert {"MATTEBOX_KEYS", "MATTEBOX_DATABASE_URL", "MATTEBOX_MODELS_DIRECTORY"} <= named
    assert settings.unknown(named) == {}


def test_compose_opens_no_port_to_other_machines_and_lets_nothing_write_to_the_root() -> None:
    services = at(COMPOSE, "services")
    assert isinstance(services, dict)
    ports = {name: at(each, "ports") for name, each in services.items() if at(each, "ports")}
    assert ports == {"server": ["127.0.0.1:8000:8000"], "grafana": ["127.0.0.1:3000:3000"]}
    for name in ("server", "worker"):
        assert at(services[name], "read_only") is True
        assert at(services[name], "cap_drop") == ["ALL"]
    for store in ("database", "storage"):
        assert at(services[store], "networks") == ["stores"]
    assert at(COMPOSE, "networks.stores.internal") is True


def test_the_image_is_made_of_files_that_are_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source.rstrip('/')}" in ignored


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_what_compose_mounts_is_there(service: str) -> None:
    volumes = at(COMPOSE, f"services.{service}.volumes")
    assert isinstance(volumes, list)
    files = [DEPLOY / str(volume).partition(":")[0] for volume in volumes if str(volume).startswith("./")]
    assert files
    assert [file for file in files if not file.exists()] == []


@pytest.mark.parametrize(("name", "brings"), [("cuda", "onnxruntime-gpu"), ("bulk", "pyarrow")])
def test_packages_that_an_argument_adds_have_the_versions_of_the_others(name: str, brings: str) -> None:
    def pins(name: str) -> dict[str, str]:
        found = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)", (ROOT / f"requirements/{name}.txt").read_text(), re.M)
        return dict(found)

    runtime, added = pins("runtime"), pins(name)
    assert brings in added
    shared = runtime.keys() & added.keys()
    assert "numpy" in shared
    assert {name: added[name] for name in shared} == {name: runtime[name] for name in shared}


ALERTS = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text())["groups"][0]["rules"]


def test_alerts_ask_for_metrics_and_labels_that_there_are() -> None:
    endings = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
    labels = {each.name + end: {*each.labels} for each in METRICS.values() for end in endings[each.type]}
    found: set[str] = set()
    for rule in ALERTS:
        for name, selector in re.findall(r"\b(mattebox_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            assert {*re.findall(r"(\w+)[=!]", selector)} <= labels[name], rule["alert"]
            found.add(name)
        assert {*rule["annotations"]} == {"summary", "action"}
        assert rule["labels"]["severity"] in ("critical", "warning")
    assert {"mattebox_ready", "mattebox_oldest_task_age_seconds", "mattebox_requests_total"} <= found
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)


def test_proxies_are_more_patient_than_the_server_and_give_connections_up_before_it() -> None:
    chosen = settings.Settings()
    nginx, haproxy, caddy = ((DEPLOY / name).read_text() for name in ("nginx.conf", "haproxy.cfg", "Caddyfile"))
    longest = chosen.service.timeout + chosen.fetch.timeout
    for patience in (r"proxy_read_timeout (\d+)s", r"timeout server (\d+)s", r"response_header_timeout (\d+)s"):
        [seconds] = re.findall(patience, nginx + haproxy + caddy)
        assert int(seconds) > longest
    for kept in (r"keepalive_timeout (\d+)s", r"timeout http-keep-alive (\d+)s", r"keepalive (\d+)s"):
        [seconds] = re.findall(kept, nginx + haproxy + caddy)
        assert int(seconds) < chosen.keep_alive
    [most] = re.findall(r"client_max_body_size (\d+)m;", nginx)
    assert int(most) * 2**20 > _body_room(Limits().max_bytes)


@pytest.mark.process
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", ["tools", "runtime", "bulk", "cuda"])
def test_every_package_of_the_image_is_there_as_a_wheel(name: str, machine: str, tmp_path: Path) -> None:
    # The oldest base that may be chosen: Debian 12.
    debian = ["--python-platform", f"{machine}-manylinux_2_36", "--python-version", "3.11"]
    uv = str(Path(sys.executable).parent / "uv")
    command = [uv, "pip", "install", "--dry-run", "--target", str(tmp_path), *debian, "--only-binary", ":all:"]
    command += ["--require-hashes", "-r", str(ROOT / f"requirements/{name}.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Would install" in done.stderr
