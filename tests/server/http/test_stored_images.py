"""The library at a server whose storage, database or library is not there."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import RGB, Alpha, Image
from mattebox.server.app import create_app
from mattebox.server.settings import Settings
from mattebox.testing import FakeModels

PATH = "/v1/images"
PICTURE = codec.encode(Image(rgb=np.zeros((6, 8, 3), np.uint8)), Output())


def upload(client: TestClient | httpx2.Client) -> str:
    answer = client.post(f"{PATH}/upload", data={"name": "mug"}, files={"image": PICTURE})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def used(client: TestClient | httpx2.Client) -> object:
    return client.get("/v1/me").json()["usedCredits"]


def test_a_server_without_a_library_says_so(client: TestClient) -> None:
    image = upload(client)
    assert isinstance(client.app, FastAPI)
    client.app.state.server = replace(client.app.state.server, library=None)
    for method, path in (
        ("GET", PATH),
        ("GET", f"{PATH}/{image}"),
        ("GET", f"{PATH}/{image}/download"),
        ("DELETE", f"{PATH}/{image}"),
        ("POST", f"{PATH}/{image}/publish"),
        ("POST", f"{PATH}/{image}/blur"),
        ("GET", f"/images/{image}"),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["detail"]) == (503, "This server keeps no images.")
    assert client.post(f"{PATH}/upload", data={"name": "a"}, files={"image": PICTURE}).status_code == 503
    assert used(client) == 1


def test_a_storage_that_is_away_costs_nothing_and_loses_nothing(client: TestClient, tmp_path: Path) -> None:
    image = upload(client)
    client.post(f"{PATH}/{image}/publish")
    (tmp_path / "blobs").rename(tmp_path / "away")
    (tmp_path / "blobs").write_text("a file")
    for answer in (
        client.get(f"{PATH}/{image}/download"),
        client.post(f"{PATH}/{image}/blur"),
        client.post(f"{PATH}/{image}/remove-background"),
        client.post(f"{PATH}/upload", data={"name": "a"}, files={"image": PICTURE}),
        client.get(f"/images/{image}"),
    ):
        assert answer.status_code == 503, answer.text
    assert used(client) == 2
    (tmp_path / "blobs").unlink()
    (tmp_path / "away").rename(tmp_path / "blobs")
    assert client.get(f"/images/{image}").content == PICTURE
    assert [each["id"] for each in client.get(PATH).json()["data"]] == [image]
    assert client.post(f"{PATH}/{image}/blur").status_code == 201


def test_a_file_that_is_missing_is_no_defect(client: TestClient, tmp_path: Path) -> None:
    image = upload(client)
    client.post(f"{PATH}/{image}/publish")
    (tmp_path / "blobs" / "images" / f"{image}.png").unlink()
    for answer in (
        client.get(f"{PATH}/{image}/download"),
        client.post(f"{PATH}/{image}/blur"),
        client.get(f"/images/{image}"),
    ):
        assert answer.status_code == 404
    assert used(client) == 2
    assert client.delete(f"{PATH}/{image}").status_code == 204


@pytest.mark.filterwarnings("ignore:.*websockets.*:DeprecationWarning")
def test_nothing_is_made_for_a_client_that_has_gone(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(photo: RGB) -> Alpha:
        entered.set()
        assert leave.wait(20)
        return np.ones((8, 8), np.float32)

    app = create_app(Settings.model_validate({"data_dir": tmp_path}), models=FakeModels(slow), tasks=False)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            image = upload(client)
            with pytest.raises(httpx2.ReadTimeout):
                client.post(f"{PATH}/{image}/remove-background", timeout=0.5)
            assert entered.is_set()
            assert used(client) == 3
            time.sleep(0.3)  # until the server has seen it
            leave.set()
            deadline = time.monotonic() + 10
            while used(client) != 1:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert [each["id"] for each in client.get(PATH).json()["data"]] == [image]
    finally:
        leave.set()
        server.should_exit = True
        thread.join()
