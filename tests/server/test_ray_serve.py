"""The server on Ray Serve: what it refuses, and two replicas on this machine, one of which is killed under load."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import psutil
import pytest
import yaml

from mattebox.errors import Kind, MatteboxError
from mattebox.samples import photo_file
from mattebox.server import ray_serve
from mattebox.server.ray_serve import Arguments, checked
from mattebox.server.settings import Settings, unknown

PATIENCE = 240.0
CLIENTS = 4
ANYBODY = Arguments(allow_anonymous=True)
DEPLOY = Path(__file__).parents[2] / "deploy" / "ray"


def shared(tmp_path: Path, **more: object) -> Settings:
    stores = {"database_url": f"sqlite:///{tmp_path}/mattebox.db", "storage_url": (tmp_path / "blobs").as_uri()}
    return Settings.model_validate({"data_dir": tmp_path} | stores | more)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"database_url": ""}, "MATTEBOX_DATABASE_URL and MATTEBOX_STORAGE_URL"),
        ({"storage_url": ""}, "MATTEBOX_DATABASE_URL and MATTEBOX_STORAGE_URL"),
        ({"metrics": {"port": "9100"}}, "MATTEBOX_METRICS_PORT"),
        ({"accounts": {"credits": "5"}}, "MATTEBOX_ACCOUNTS_CREDITS"),
    ],
)
def test_settings_that_replicas_cannot_share_are_refused(changed: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(MatteboxError, match=said) as caught:
        checked(shared(tmp_path, **changed), ANYBODY)
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_without_keys_it_has_to_be_allowed(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError, match="allow_anonymous"):
        checked(shared(tmp_path), Arguments())
    assert checked(shared(tmp_path), ANYBODY) == shared(tmp_path)
    assert checked(shared(tmp_path, keys=("a",)), Arguments()).keys == ("a",)


# --- the manifest --------------------------------------------------------------------------------------------------

SETTINGS, SERVICE = yaml.safe_load_all((DEPLOY / "rayservice.yaml").read_text())
CLUSTER = SERVICE["spec"]["rayClusterConfig"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]


@pytest.mark.parametrize("group", GROUPS, ids=["head", "workers"])
def test_its_pods_are_what_kubernetes_reads(group: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": group["template"]["spec"]}
    kubernetes_validate.validate(pod, "1.30.0", strict=True)
    (container,) = pod["spec"]["containers"]
    assert {"name": "serve", "containerPort": 8000} in container["ports"]
    assert container["envFrom"][0] == {"configMapRef": {"name": SETTINGS["metadata"]["name"]}}
    assert unknown(each["name"] for each in container["env"]) == {}


def test_its_settings_are_the_servers() -> None:
    kubernetes_validate.validate(SETTINGS, "1.30.0", strict=True)
    assert unknown(SETTINGS["data"]) == {}
    given = {name.removeprefix("MATTEBOX_").lower(): value for name, value in SETTINGS["data"].items()}
    given |= {"database_url": "postgresql://h/n", "keys": "a"}
    found = Settings.model_validate({name: value for name, value in given.items() if name in Settings.model_fields})
    assert checked(found, Arguments()).storage_url == SETTINGS["data"]["MATTEBOX_STORAGE_URL"]


def test_the_image_has_the_version_of_ray_that_the_manifest_names() -> None:
    version = CLUSTER["rayVersion"]
    assert f"ARG RAY={version}\n" in (DEPLOY / "Dockerfile").read_text()


# --- on Ray --------------------------------------------------------------------------------------------------------

# Ray warns of its own settings, and leaves its processes' pipes to the end of the program.
RAYS_WARNINGS = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::UserWarning:ray",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.mark.ray
@RAYS_WARNINGS
def test_the_manifest_is_what_serve_reads() -> None:
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.parse_obj(yaml.safe_load(SERVICE["spec"]["serveConfigV2"]))
    (application,) = config.applications
    assert application.import_path == f"{ray_serve.__name__}:{ray_serve.application.__name__}"
    assert [each.name for each in application.deployments] == [ray_serve.NAME]
    Arguments.model_validate(application.args)


@pytest.fixture
def compiling(tmp_path: Path) -> Path:
    """A folder with a package that writes down, when it is compiled, in which process."""
    module = tmp_path / "packages" / "pymatting" / "foreground" / "estimate_foreground_ml.py"
    module.parent.mkdir(parents=True)
    for folder in (module.parent, module.parent.parent):
        (folder / "__init__.py").touch()
    (tmp_path / "compiled").mkdir()
    module.write_text(
        f"import os, pathlib\n(pathlib.Path({str(tmp_path)!r}) / 'compiled' / str(os.getpid())).touch()\n"
    )
    return tmp_path / "packages"


@pytest.fixture
def address(tmp_path: Path, compiling: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where two replicas with a small network are served."""
    found = shared(tmp_path, model="u2netp")
    variables = {
        "PYTHONPATH": str(compiling),
        "MATTEBOX_DATA_DIR": str(tmp_path),
        "MATTEBOX_DATABASE_URL": found.database_url,
        "MATTEBOX_STORAGE_URL": found.storage_url,
        "MATTEBOX_MODEL": found.model,
        "MATTEBOX_MODELS_THREADS": "1",
    }
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", f"{PATIENCE:.0f}")
    import ray
    from ray import serve

    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": variables})
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        replicas = ray_serve.deployment(found).options(num_replicas=2, autoscaling_config=None)
        serve.run(replicas.bind(ANYBODY), route_prefix="/")
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def replicas(folder: Path) -> list[psutil.Process]:
    """The processes of this test's replicas."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        called = " ".join(process.info["cmdline"] or [])
        if f":{ray_serve.NAME}" in called and called.startswith("ray::ServeReplica"):
            try:
                mine = process.environ().get("MATTEBOX_DATA_DIR") == str(folder)
            except psutil.Error:
                continue
            if mine:
                found.append(process)
    return found


def remove(address: str) -> tuple[int, bytes]:
    """The status, 0 for a connection that broke, and the body."""
    headers = {"Content-Type": "image/jpeg", "Accept": "image/png"}
    request = urllib.request.Request(f"{address}/api/v1/remove", photo_file(), headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


@pytest.mark.ray
@RAYS_WARNINGS
@pytest.mark.timeout(900)
def test_a_replica_that_is_killed_costs_no_wrong_answer(address: str, tmp_path: Path) -> None:
    status, right = remove(address)
    assert status == 200
    before = {each.pid: each for each in replicas(tmp_path)}
    assert len(before) == 2
    wait_until(lambda: len(list((tmp_path / "compiled").iterdir())) == 2)
    done: list[tuple[float, int]] = []
    wrong: list[bytes] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            status, body = remove(address)
            done.append((time.monotonic(), status))
            if status == 200 and body != right:
                wrong.append(body)

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: len(done) >= 5 * CLIENTS)
        next(iter(before.values())).kill()
        killed = time.monotonic()
        wait_until(lambda: len([each for each in replicas(tmp_path) if each.pid not in before]) == 1)
        # Until the new one has answered too, for all that can be seen from outside.
        healthy = len(done)
        wait_until(lambda: len(done) >= healthy + 40 * CLIENTS)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert wrong == []
    refused = [(moment - killed, status) for moment, status in done if status != 200]
    last = max((moment for moment, _ in refused), default=0.0)
    print(
        json.dumps(
            {
                "answers": Counter(str(status) for _, status in done),
                "seconds until the last that was refused": round(last, 2),
                "killed": sorted(set(before))[:1],
            }
        )
    )
    # What was in work at that replica, and what was sent there before Ray knew.
    assert len(refused) <= 3 * CLIENTS
    assert all(moment > -PATIENCE and status in {0, 500, 503} for moment, status in refused)
    assert {status for _, status in done[-10 * CLIENTS :]} == {200}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
