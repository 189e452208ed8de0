"""A real Prometheus reads a server's metrics, and answers every query of the dashboard."""

from __future__ import annotations

import json
import math
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml
from tests.bulk.work import job_for, write_photos
from tests.server.conftest import running
from tests.servers import free_ports

from mattebox import bulk
from mattebox.image import RGB, Alpha
from mattebox.server.app import create_app
from mattebox.server.jobs.shards import run_on_queue
from mattebox.server.settings import Settings
from mattebox.server.store.database import connect
from mattebox.testing import FakeModels, FakeSegmenter

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / ".debian" / "prometheus" / "usr" / "bin"
CONFIG = ROOT / "deploy" / "prometheus.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text("utf-8"))
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
PATIENCE = 60.0


class Prometheus:
    """A Prometheus that runs."""

    def __init__(self, address: str) -> None:
        self._client = httpx2.Client(base_url=f"{address}/api/v1", timeout=30, trust_env=False)
        self.close = self._client.close

    def get(self, path: str, **query: str) -> object:
        """What it answers.

        Raises:
            AssertionError: with its own words, where it refuses the query.
        """
        answer = self._client.get(path, params=query).json()
        assert answer["status"] == "success", f"{query}: {answer['error']}"
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        """The values of an expression's series now, but for those that are no number, as where nothing has happened."""
        data = self.get("/query", query=expression)
        assert isinstance(data, dict)
        found = [float(series["value"][1]) for series in data["result"]]
        return [value for value in found if math.isfinite(value)]

    def label_values(self, query: str) -> list[str]:
        """What Grafana offers for a variable: `label_values(metric{…}, label)`."""
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert found is not None
        values = self.get(f"/label/{found[2]}/values", **{"match[]": found[1]})
        assert isinstance(values, list)
        return [str(each) for each in values]


def program(name: str) -> str:
    found = PROGRAMS / name
    assert found.exists(), "Prometheus is not there: run make test"
    return str(found)


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """One that is configured as that of `deploy/`, but reads one server's metrics each second."""
    config = yaml.safe_load(CONFIG.read_text())
    config["global"]["scrape_interval"] = "1s"
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [target] if job["job_name"] == "server" else []}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    [port] = free_ports(1)
    log = folder / "prometheus.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=written,
            stderr=written,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + PATIENCE
        while not _is_ready(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        with closing(Prometheus(address)) as found:
            yield found
    finally:
        process.terminate()
        process.wait(60)


def _is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/-/ready", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def test_the_file_that_compose_mounts_is_one() -> None:
    done = subprocess.run([program("promtool"), "check", "config", CONFIG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_query_of_the_dashboard_has_an_answer(tmp_path: Path, photo: bytes) -> None:
    go_on = threading.Event()

    def segment(photo: RGB) -> Alpha:
        # The photos of requests are cut out. The task's and the shard's wait, so that there is an oldest one.
        assert photo.shape[0] == 150 or go_on.wait(PATIENCE)
        return FakeSegmenter()(photo)

    [port] = free_ports(1)
    settings = Settings.model_validate(
        {"data_dir": tmp_path / "data", "metrics": {"port": port}, "service": {"workers": 4}}
    )
    app = create_app(settings, models=FakeModels(segment))
    write_photos(tmp_path / "in", 1)
    job = job_for(tmp_path / "in", tmp_path / "out")
    plan = bulk.make_plan(job)
    small = next((tmp_path / "in").rglob("*.png")).read_bytes()
    database = connect(f"sqlite:///{tmp_path}/data/mattebox.db")
    ordering = threading.Thread(target=run_on_queue, args=(job, plan, database), kwargs={"done": lambda shard: None})
    with (
        running(app) as server,
        prometheus(tmp_path, f"127.0.0.1:{port}") as seen,
        httpx2.Client(base_url=f"http://127.0.0.1:{server}", timeout=60, trust_env=False) as client,
    ):
        try:
            ordering.start()
            assert client.post("/api/v1/tasks", files={"image": ("photo.png", small)}).status_code == 202
            deadline = time.monotonic() + PATIENCE
            without = EXPRESSIONS
            while without := [query for query in without if not seen.values(chosen(query, seen))]:
                assert time.monotonic() < deadline, f"no data: {without}"
                assert client.post("/api/v1/remove", files={"image": ("photo.png", photo)}).status_code == 200
                time.sleep(0.2)
            assert seen.values('sum(mattebox_requests_total{status="202"})') == [1]
            assert seen.values('max(mattebox_tasks{status="running"})') == [1]
            assert seen.values('max(mattebox_shards{status="working"})') == [1]
            assert seen.values("up") == [1]
        finally:
            go_on.set()
            ordering.join(PATIENCE)
    assert not ordering.is_alive()
    database.dispose()


def chosen(expression: str, seen: Prometheus) -> str:
    """An expression as Grafana sends it, with everything chosen that its variables offer."""
    variables: dict[str, str] = {"$__rate_interval": "5m"}

    def replaced(text: str) -> str:
        for name, value in variables.items():
            text = text.replace(name, value)
        return text

    for each in DASHBOARD["templating"]["list"]:
        if each["type"] == "query":  # which may name those before it
            offered = seen.label_values(replaced(each["query"]))
            variables[f"${each['name']}"] = f"({'|'.join(offered)})"
    return replaced(expression)
