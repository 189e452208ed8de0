"""How long a page of a large library takes to be listed, through HTTP.

    python bench/library.py [--images N]

Milliseconds a page, from the first page to the last, with one client. On SQLite, or on what `MATTEBOX_BENCH_DATABASE`
names.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import text

from mattebox.server.store import database
from tasks import Client, server

_ROW = text(
    "INSERT INTO images (id, owner, state, name, width, height, format, size, created, made_by, published) "
    "VALUES (:id, :owner, 'kept', :name, 1200, 800, 'png', 700000, :created, 'upload', FALSE)"
)


def fill(url: str, images: int) -> None:
    """Rows as the library writes them; listing reads no files, so there are none."""
    engine = database.connect(url)
    database.create(engine)
    owner = hashlib.sha256(b"").hexdigest()[:24]  # whoever sends no key
    now = time.time()
    rows = [
        {"id": f"image_{secrets.token_hex(12)}", "owner": owner, "name": f"photo {n}", "created": now + n}
        for n in range(images)
    ]
    with engine.begin() as connection:
        connection.execute(_ROW, rows)
    engine.dispose()


def pages(address: str, take: int) -> list[float]:
    """The seconds that each page took."""
    client = Client(address)
    path: str | None = f"/v1/images?take={take}"
    seconds = []
    while path is not None:
        begin = time.perf_counter()
        page = client.ask("GET", path)
        seconds.append(time.perf_counter() - begin)
        following: str | None = page["links"]["next"]
        path = None if following is None else following.removeprefix(f"http://{urlsplit(following).netloc}")
    return seconds


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--images", type=int, default=10_000)
    images: int = arguments.parse_args().images
    print("| images a page | pages | ms a page, median | 95 % |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get("MATTEBOX_BENCH_DATABASE") or f"sqlite:///{Path(folder, 'bench.db')}"
        fill(url, images)
        with server({"MATTEBOX_DATABASE_URL": url}) as address:
            for take in (10, 100):
                taken = sorted(1000 * each for each in pages(address, take))
                print(
                    f"| {take} | {len(taken)} | {statistics.median(taken):.1f} | {taken[int(len(taken) * 0.95)]:.1f} |"
                )


if __name__ == "__main__":
    main()
