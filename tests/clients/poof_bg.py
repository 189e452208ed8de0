"""Run by `test_vendor_clients` with one version of the vendor's client and nothing else of the test environment.

Arguments: the server's address, a photo, a folder for results.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import poof  # type: ignore[import-not-found]


def failure(action: Callable[[], object]) -> dict[str, object]:
    try:
        action()
    except poof.PoofError as error:
        return {
            "class": type(error).__name__,
            "code": error.code,
            "message": error.message,
            "details": error.details,
            "request_id": error.request_id,
        }
    return {"class": "nothing failed"}


def main(address: str, photo: str, results: str) -> None:
    folder = Path(results)
    client = poof.Poof(api_key="right-key", base_url=address + "/v1/")
    said: dict[str, Any] = {"where": poof.__file__, "version": poof.__version__}
    before = client.me()

    def remove(name: str, picture: Any, **options: Any) -> None:
        result = client.remove_background(picture, **options)
        (folder / name).write_bytes(bytes(result))
        said[name] = {
            "content_type": result.content_type,
            "request_id": result.request_id,
            "milliseconds": result.processing_time_ms,
            "width": result.width,
            "height": result.height,
            "confidence": result.matte_confidence,
            "ambiguous": result.matte_ambiguous_ratio,
        }

    data = Path(photo).read_bytes()
    remove("default", photo)
    remove("bytes", data, format="webp", crop=False)
    remove("stream", io.BytesIO(data), format="jpg", bg_color="#00ff00")
    remove("rgb", Path(photo), channels="rgb")
    remove("alpha", photo, channels="alpha", size="preview")
    remove("crop", photo, crop=True, size="medium")
    remove("hd", photo, size="hd")
    remove("ratio", photo, crop="16:9", padding="10%")
    remove("canvas", photo, crop=True, padding="0.1", width=500, height=400)
    remove("cover", photo, width=100, height=200, fit="cover", channels="rgb")
    remove("no larger", photo, width=2000, fit="scale-down")
    said["account"] = client.me()
    said["used"] = said["account"]["usedCredits"] - before["usedCredits"]

    wrong = poof.Poof(api_key="wrong-key", base_url=address + "/v1")
    said["wrong key"] = failure(lambda: wrong.remove_background(photo))
    said["wrong account"] = failure(wrong.me)
    said["wrong picture"] = failure(lambda: client.remove_background(b"a letter"))
    said["wrong size"] = failure(lambda: client.remove_background(photo, size="huge"))
    said["wrong ratio"] = failure(lambda: client.remove_background(photo, crop="wide:high"))
    said["no crop"] = failure(lambda: client.remove_background(photo, padding="10%"))
    said["film"] = failure(lambda: client.remove_background(photo, format="mp4"))
    said["large"] = failure(lambda: client.remove_background(bytes(21 * 2**20)))
    said["video"] = failure(lambda: client.remove_background(b"\0\0\0\x18ftypisom" + bytes(1000)))
    if poof.__version__ >= "0.3":
        said["url"] = failure(lambda: client.remove_background(url="http://192.168.0.1/photo.jpg"))
    print(json.dumps(said))


main(*sys.argv[1:])
