"""The studio's files: what is served, what the page may do, and that the parts agree."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import pytest
from starlette.testclient import TestClient

from mattebox import codec, download, samples
from mattebox.download import State
from mattebox.errors import Kind
from mattebox.server import studio

Serve = Callable[..., TestClient]
TEXTS = sorted((studio.FOLDER / "text").glob("*.json"))
MODULES = sorted(studio.FOLDER.glob("*.js"))


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "verify", lambda *_: State.PRESENT)


def test_the_page_may_use_its_own_server_only(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert re.fullmatch(r"'self' 'sha256-[\w+/=]{44}'", policy["script-src"])
    assert policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self' blob:"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", answer.text)
    assert not re.search(r"\son\w+=|<style|style=", answer.text)


def test_its_addresses_are_relative_and_there(serve: Serve) -> None:
    """As behind a proxy that takes a path off, whether it was asked for with a slash at its end or not."""
    client = serve(public_url="https://cutout.example/under")
    page = client.get("/").text
    assert '<base href="/under/">' in page
    addresses = [each for each in re.findall(r'(?:src|href)="([^"]+)"', page) if "/vendor/" not in each]
    assert "docs" in addresses
    for address in addresses:
        whole = urljoin("https://cutout.example/under/", address)
        assert whole.startswith("https://cutout.example/under/")
        assert client.get(whole.removeprefix("https://cutout.example/under")).status_code == 200, address
    assert '<base href="./">' in serve().get("/").text


def test_a_proxy_that_is_trusted_says_the_path(listen: Callable[..., int]) -> None:
    port = listen(trusted_proxies=("127.0.0.1",))

    def ask(path: str) -> str:
        request = Request(f"http://127.0.0.1:{port}{path}", headers={"X-Forwarded-Prefix": "/inner"})
        with urlopen(request) as answer:
            text: bytes = answer.read()
        return text.decode()

    assert '<base href="/inner/">' in ask("/")
    assert ask("/studio/app.js") == (studio.FOLDER / "app.js").read_text("utf-8")


def test_without_its_libraries_it_says_what_fetches_them(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "verify", lambda *_: State.DAMAGED)
    answer = client.get("/")
    assert answer.status_code == 503
    assert "mattebox studio pull" in answer.text


def test_libraries_come_out_of_the_package_where_they_are_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(studio, "FOLDER", tmp_path)
    assert studio.default_directory() == tmp_path / "vendor"
    monkeypatch.setattr(download, "verify", lambda *_: State.MISSING)
    assert studio.default_directory().name == "studio"


def test_every_library_has_its_licence_and_a_place_in_the_page() -> None:
    page = (studio.FOLDER / "index.html").read_text("utf-8")
    names = [each.file for each in studio.libraries()]
    assert len(names) == len(set(names))
    for name in names:
        assert name.endswith(".LICENSE") or f"./studio/vendor/{name}" in page
    assert {name.removesuffix(".LICENSE") for name in names if name.endswith(".LICENSE")} == {
        "preact",
        "htm",
        "signals",
        "client-zip",
    }


def test_files_are_packed_and_asked_for_again(client: TestClient) -> None:
    first = client.get("/studio/queue.js")
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["content-type"].startswith("text/javascript")
    assert first.headers["cache-control"] == "no-cache"
    assert client.get("/studio/queue.js", headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert client.get("/studio/samples/mug.jpg").content == samples.photo_file()
    small = codec.decode(client.get("/studio/samples/mug-small.jpg").content)
    assert (small.width, small.height) == (192, 144)
    for path in ("/studio/nothing.js", "/studio/../server/app.py", "/studio/%2e%2e/server/app.py", "/studio/"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["kind"] == "not_found"


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.stem)
def test_languages_have_the_same_keys_and_names(file: Path) -> None:
    def names(text: str) -> set[str]:
        return set(re.findall(r"\{\w+\}", text))

    english = json.loads((studio.FOLDER / "text" / "en.json").read_text("utf-8"))
    other = json.loads(file.read_text("utf-8"))
    assert other.keys() == english.keys()
    assert {key: names(text) for key, text in other.items()} == {key: names(text) for key, text in english.items()}
    assert all(other.values())


def test_each_kind_of_failure_has_a_sentence() -> None:
    english = json.loads((studio.FOLDER / "text" / "en.json").read_text("utf-8"))
    assert {f"kind.{kind}" for kind in Kind} <= english.keys()


def test_each_text_is_used_and_each_that_is_used_is_there() -> None:
    english = json.loads((studio.FOLDER / "text" / "en.json").read_text("utf-8"))
    code = "".join(each.read_text("utf-8") for each in MODULES)
    assert set(re.findall(r"""\bt\("([\w.]+)\"""", code)) <= english.keys()
    families = set(re.findall(r"`([a-z]+)\.\$\{", code))
    written = set(re.findall(r'"([a-z_.]+)"', code))
    assert [each for each in english if each not in written and each.partition(".")[0] not in families] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_modules_stay_small_and_import_what_is_there(module: Path) -> None:
    text = module.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    page = (studio.FOLDER / "index.html").read_text("utf-8")
    for name in re.findall(r'from "([^"]+)"', text):
        assert (studio.FOLDER / name).is_file() if name.startswith("./") else f'"{name}":' in page
    assert not re.search(r"https?://(?!www\.w3\.org)[a-z]", text)
    assert not re.search(r"\beval\(|new Function|innerHTML|dangerouslySet", text)


def test_presets_are_recipes() -> None:
    recipe = (studio.FOLDER / "recipe.js").read_text("utf-8")
    plain = re.search(r"PLAIN = \{(.*?)\n\};", recipe, re.DOTALL)
    assert plain is not None
    known = set(re.findall(r"^  (\w+):", plain[1], re.MULTILINE))
    presets = json.loads((studio.FOLDER / "presets.json").read_text("utf-8"))
    assert len({preset["id"] for preset in presets}) == len(presets)
    for preset in presets:
        assert preset.keys() == {"id", "name", "recipe"}
        assert preset["recipe"].keys() <= known
        assert isinstance(preset["name"], str) or preset["name"].keys() == {file.stem for file in TEXTS}
