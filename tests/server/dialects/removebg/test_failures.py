"""remove.bg: every failure of the vendor's list, and bodies at its limits."""

from __future__ import annotations

import base64
import io
import re
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from httpx2 import Response
from PIL import Image as Pillow
from starlette.testclient import TestClient
from tests.server.dialects.removebg.conftest import (
    ACCOUNT,
    CODES,
    PATH,
    Serve,
    Site,
    Slow,
    cut,
    nothing,
    opened,
    png,
    post,
    refused,
)

from mattebox.image import RGB, Alpha
from mattebox.testing import FakeModels, FakeSegmenter, make_scene

# --- every failure -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"image_url": "https://example.org/a.jpg"}, "multiple_sources"),
        ({"image_file_b64": "aGVsbG8="}, "multiple_sources"),
        ({"size": "huge"}, "invalid_size"),
        ({"type": "plant"}, "invalid_type"),
        ({"type_level": "3"}, "invalid_type_level"),
        ({"format": "gif"}, "invalid_format"),
        ({"roi": "0 0 100"}, "invalid_roi"),
        ({"roi": "a b c d"}, "invalid_roi"),
        ({"roi": "-10 0 50 50"}, "invalid_roi"),
        ({"roi": "0 0 50em 50"}, "invalid_roi"),
        ({"roi": "0 0 201 150"}, "roi_exceeds_bounds"),
        ({"roi": "0% 0% 101% 100%"}, "roi_exceeds_bounds"),
        ({"roi": "10 10 10 90"}, "roi_region_empty"),
        ({"roi": "50% 0 20px 100"}, "roi_region_empty"),
        ({"crop": "true", "crop_margin": "900px"}, "invalid_crop_margin"),
        ({"crop": "true", "crop_margin": "51%"}, "invalid_crop_margin"),
        ({"crop": "true", "crop_margin": "-1px"}, "invalid_crop_margin"),
        ({"crop_margin": "1 2 3"}, "invalid_crop_margin"),
        ({"crop_margin": "1e1"}, "invalid_crop_margin"),
        ({"scale": "0"}, "invalid_scale"),
        ({"scale": "5%"}, "invalid_scale"),
        ({"scale": "101%"}, "invalid_scale"),
        ({"scale": "nan%"}, "invalid_scale"),
        ({"position": "left"}, "invalid_position"),
        ({"position": "50px"}, "invalid_position"),
        ({"position": "0% 101%"}, "invalid_position"),
        ({"position": "1% 2% 3%"}, "invalid_position"),
        ({"channels": "rgb"}, "invalid_channels"),
        ({"shadow_type": "soft"}, "invalid_shadow_type"),
        ({"shadow_type": "drop", "shadow_opacity": "101"}, "invalid_shadow_opacity"),
        ({"shadow_opacity": "dark"}, "invalid_shadow_opacity"),
        ({"bg_color": "#ggg"}, "invalid_bg_color"),
        ({"bg_color": "greenish"}, "invalid_bg_color"),
        ({"bg_image_url": "backgrounds/beach.jpg"}, "invalid_bg_image_url"),
        ({"bg_image_url": "http://127.0.0.1/a.jpg"}, "failed_bg_download"),
        ({"bg_image_url": "https://example.org/a.jpg", "bg_color": "fff"}, "multiple_bg_sources"),
        # The vendor's list has no code for these; they follow its pattern.
        ({"crop": "yes"}, "invalid_crop"),
        ({"semitransparency": "a bit"}, "invalid_semitransparency"),
        ({"add_shadow": "soft"}, "invalid_add_shadow"),
    ],
)
def test_what_is_not_understood_has_its_code(form: dict[str, str], code: str, client: TestClient, photo: bytes) -> None:
    answer = post(client, photo, **form)
    assert refused(answer) == (400, code)
    if code.startswith("invalid_"):
        assert code.removeprefix("invalid_").split("_")[0] in answer.text


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"size": "auto"}},
        {"json": {"size": "auto"}},
        {"json": {"image_url": "", "image_file_b64": None}},
        {"data": {"size": "auto"}, "files": {"image_file": ("", b"")}},
        {"files": {"image": b"something"}},
        {"content": b""},
    ],
)
def test_without_a_picture(sent: dict[str, dict[str, object]], client: TestClient) -> None:
    answer = client.post(PATH, **sent)  # type: ignore[arg-type]
    assert refused(answer) == (400, "missing_source")
    assert answer.json()["errors"][0]["title"] == "No image given"


def test_several_pictures(client: TestClient) -> None:
    both = {"image_url": "https://example.org/a.jpg", "image_file_b64": "aGVsbG8="}
    assert refused(client.post(PATH, json=both)) == (400, "multiple_sources")


def test_addresses_of_the_picture(serve: Serve, client: TestClient, photo: bytes, site: Site) -> None:
    for url in ("photo.jpg", "ftp://example.org/a.jpg", "http://", "https://example org/a.jpg"):
        assert refused(client.post(PATH, data={"image_url": url})) == (400, "invalid_image_url"), url
    for url in ("http://127.0.0.1/a.jpg", "http://169.254.169.254/"):
        assert refused(client.post(PATH, data={"image_url": url})) == (400, "failed_image_download"), url
    site.files["/photo"], site.files["/letter"] = photo, b"Dear Sir"
    client = serve(fetch={"allow_networks": ("127.0.0.0/8",)})
    assert client.post(PATH, data={"image_url": f"{site.address}/photo"}).status_code == 200
    gone, letter = f"{site.address}/gone", f"{site.address}/letter"
    assert refused(client.post(PATH, json={"image_url": gone})) == (400, "failed_image_download")
    assert refused(client.post(PATH, json={"image_url": "http://127.0.0.1:1/"})) == (400, "failed_image_download")
    assert refused(client.post(PATH, json={"image_url": letter})) == (400, "failed_to_read_image")
    assert refused(post(client, photo, bg_image_url=gone)) == (400, "failed_bg_download")
    assert refused(post(client, photo, bg_image_url=letter)) == (400, "failed_to_read_image")


def test_what_is_no_picture(client: TestClient, photo: bytes) -> None:
    letter = (400, "failed_to_read_image")
    assert refused(post(client, b"Dear Sir")) == letter
    assert refused(client.post(PATH, json={"image_file_b64": base64.b64encode(b"Dear Sir").decode()})) == letter
    assert refused(client.post(PATH, json={"image_file_b64": "no base64!"})) == letter
    assert refused(client.post(PATH, json={"image_file_b64": 7})) == letter
    assert refused(client.post(PATH, files={"image_file": photo, "bg_image_file": b"Dear Sir"})) == letter
    assert refused(post(client, photo[: len(photo) // 2])) == letter


def test_several_backgrounds(client: TestClient, photo: bytes) -> None:
    files = {"image_file": photo, "bg_image_file": photo}
    for other in ({"bg_color": "fff"}, {"bg_image_url": "https://example.org/a.jpg"}):
        assert refused(client.post(PATH, files=files, data=other)) == (400, "multiple_bg_sources")
    # One that cannot be seen is none.
    assert client.post(PATH, files=files, data={"bg_color": "#0000"}).status_code == 200


def test_too_many_bytes_or_pixels(client: TestClient, photo: bytes) -> None:
    large = bytes(22 * 2**20 + 1)
    assert refused(post(client, large)) == (400, "file_too_large")
    encoded = base64.b64encode(large).decode()
    assert refused(client.post(PATH, json={"image_file_b64": encoded})) == (400, "file_too_large")
    assert refused(client.post(PATH, files={"image_file": photo, "bg_image_file": large})) == (400, "file_too_large")
    huge = io.BytesIO()
    Pillow.new("1", (7100, 7100)).save(huge, "PNG")
    assert refused(post(client, huge.getvalue())) == (400, "resolution_too_high")
    both = {"image_file": photo, "bg_image_file": huge.getvalue()}
    assert refused(client.post(PATH, files=both)) == (400, "resolution_too_high")


def test_a_blank_wall_has_no_foreground(client: TestClient, serve: Serve, photo: bytes) -> None:
    answer = post(client, png(np.full((300, 400, 3), 230, np.uint8)))
    assert refused(answer) == (400, "unknown_foreground")
    assert answer.json()["errors"][0]["title"] == "Could not identify foreground in image."
    # It costs nothing.
    client = serve(models=FakeModels(nothing), keys=("k",), accounts={"credits": 1})
    client.headers["X-Api-Key"] = "k"
    for _ in range(2):
        assert refused(post(client, photo)) == (400, "unknown_foreground")


def test_keys(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("right",))
    assert post(client, photo).json()["errors"][0]["title"] == "Missing API Key"
    for method, path in (("POST", PATH), ("GET", ACCOUNT), ("POST", "/v1.0/improve")):
        files = {"image_file": photo} if method == "POST" else None
        assert refused(client.request(method, path, files=files)) == (403, "auth_failed")
        for headers in ({"X-Api-Key": "wrong"}, {"Authorization": "Bearer wrong"}):
            answer = client.request(method, path, files=files, headers=headers)
            assert refused(answer) == (403, "auth_failed")
            assert answer.json()["errors"][0]["title"] == "API Key invalid"
        for headers in ({"X-API-KEY": "right"}, {"Authorization": "Bearer right"}):
            assert client.request(method, path, files=files, headers=headers).status_code == 200


def test_credits(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 1})
    client.headers["X-Api-Key"] = "k"

    def total() -> object:
        return client.get(ACCOUNT).json()["data"]["attributes"]["credits"]["total"]

    assert total() == 1
    assert refused(post(client, photo, size="huge")) == (400, "invalid_size")
    assert total() == 1
    assert cut(client, photo)[1].headers["x-credits-charged"] == "1"
    answer = post(client, photo)
    assert refused(answer) == (402, "insufficient_credits")
    assert answer.json()["errors"][0]["title"] == "Insufficient credits"
    assert total() == 0


@pytest.mark.parametrize("allowed", [0, 5])
def test_a_picture_that_is_made_is_handed_out_although_the_database_fails_by_then(
    allowed: int, serve: Serve, photo: bytes, tmp_path: Path
) -> None:
    """The credit was taken already; the response needs nothing more of the database."""

    def lose(photo: RGB) -> Alpha:
        with closing(sqlite3.connect(tmp_path / "mattebox.db", isolation_level=None)) as database:
            database.execute("DROP TABLE usage")
        return FakeSegmenter()(photo)

    client = serve(models=FakeModels(lose), keys=("k",), accounts={"credits": allowed})
    client.headers["X-Api-Key"] = "k"
    assert cut(client, photo)[1].headers["x-credits-charged"] == ("1" if allowed else "0")


SQUARE = png(make_scene(width=64, height=64, seed=3).photo)


def test_the_rate_limit_is_that_of_the_key(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k", "l"), rates={"requests": "9/second", "dialects": "removebg=2/hour"})
    begin, key = time.time(), {"x-api-key": "k"}
    names = [f"x-ratelimit-{name}" for name in ("limit", "remaining", "reset")]

    def send(headers: dict[str, str]) -> Response:
        return client.post(PATH, files={"image_file": photo}, headers=headers)

    answers = [send(key) for _ in range(3)]
    told = [(each.status_code, *(each.headers[name] for name in names[:2])) for each in answers]
    assert told == [(200, "2", "1"), (200, "2", "0"), (429, "2", "0")]
    assert all(begin < int(each.headers[names[2]]) <= begin + 3600 + 60 for each in answers)
    answer = answers[-1]
    assert answer.json()["errors"][0]["code"] == "rate_limit_exceeded"
    wait = int(answer.headers["retry-after"])
    # Both tell of one moment; each is rounded to a second.
    assert begin - 2 <= int(answer.headers["x-ratelimit-reset"]) - wait <= time.time() + 2
    assert 3000 < wait <= 3600
    assert send({"x-api-key": "l"}).status_code == 200
    assert client.post("/api/v1/remove", content=photo, headers=key).status_code == 200  # another dialect


def test_too_many_at_a_time(serve: Serve, photo: bytes) -> None:
    slow = Slow()
    client = serve(models=FakeModels(slow), service={"workers": 1, "queue": 0})
    busy = threading.Thread(target=post, args=(client, SQUARE))
    busy.start()
    try:
        assert slow.entered.wait(20)
        answer = post(client, photo)
    finally:
        slow.leave.set()
        busy.join()
    assert refused(answer) == (429, "rate_limit_exceeded")
    assert answer.json()["errors"][0]["title"] == "Rate limit exceeded"
    assert int(answer.headers["retry-after"]) > 0


def test_failures_beside_the_vendors_list(client: TestClient) -> None:
    broken = client.post(PATH, content=b"{", headers={"Content-Type": "application/json"})
    assert refused(broken) == (400, "invalid_request")
    assert refused(client.post("/v1.0/removebg/more")) == (404, "not_found")
    for path, method in ((PATH, "POST"), (ACCOUNT, "GET"), ("/v1.0/improve", "POST")):
        answer = client.put(path)
        assert refused(answer) == (405, "invalid_request")
        assert answer.headers["allow"] == method


def test_a_failure_says_more_only_where_there_is_more(client: TestClient, photo: bytes) -> None:
    sentence = "scale must be from 10% to 100%, or original."
    assert post(client, photo, scale="5%").json() == {"errors": [{"title": sentence, "code": "invalid_scale"}]}
    (missing,) = client.post(PATH, json={}).json()["errors"]
    assert missing["title"] == "No image given"
    assert "image_file_b64" in missing["detail"]


# --- large bodies ------------------------------------------------------------------------------------------------


def noise(size: int) -> bytes:
    """A photo of about so many bytes, which no PNG makes smaller."""
    side = round((size / 3) ** 0.5)
    pixels = np.random.default_rng(4).integers(0, 256, (side, side, 3), np.uint8)
    written = io.BytesIO()
    Pillow.fromarray(pixels).save(written, "PNG", compress_level=0)
    return written.getvalue()


def disc(photo: RGB) -> Alpha:
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    return np.asarray(np.hypot(x, y) < 0.7, np.float32)


@pytest.mark.slow
def test_a_base64_field_of_22_megabytes(serve: Serve) -> None:
    photo = noise(16_400_000)
    encoded = base64.b64encode(photo).decode()
    assert 21_800_000 < len(encoded) < 22_200_000
    client = serve(models=FakeModels(disc))
    form = {"image_file_b64": encoded, "channels": "alpha"}
    urlencoded = client.post(PATH, data=form)
    matte = opened(urlencoded)
    assert 245_000 < matte.size <= 250_000
    assert (matte[0, 0], matte[250, 250]) == (0, 255)
    multipart = client.post(PATH, data=form, files={"size": (None, b"preview")})
    assert multipart.request.headers["content-type"].startswith("multipart/")
    assert multipart.content == urlencoded.content


@pytest.mark.slow
def test_a_file_of_almost_22_megabytes(serve: Serve) -> None:
    photo = noise(int(21.9 * 2**20))
    assert 21.8 * 2**20 < len(photo) <= 22 * 2**20
    matte, answer = cut(serve(models=FakeModels(disc)), photo, channels="alpha")
    assert (matte[0, 0], matte[250, 250]) == (0, 255)
    assert int(answer.headers["x-max-width"]) > 2700


def test_every_code_of_the_vendors_list_is_provoked_here() -> None:
    """So that the list and the tests do not part."""
    here = re.findall(r'"(\w+)"', "".join(each.read_text("utf-8") for each in Path(__file__).parent.glob("*.py")))
    assert {each for each in CODES if here.count(each) < 2} == set()
