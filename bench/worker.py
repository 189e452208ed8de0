"""One contestant in a process of its own, which answers for one photo after another.

    python bench/worker.py KIND [MODEL]

It loads its network and does one small photo, and then reads the paths of photos, one a line. For each it prints one
line of JSON: wall and CPU seconds from the bytes of the file to those of an RGBA PNG, the most memory that the process
held meanwhile, and the size of the result. It runs in the contestant's own environment, so it imports nothing else.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO, TypeAlias

from measure import peak_bytes, reset_peak

Run: TypeAlias = Callable[[bytes], bytes]


def mattebox(model: str) -> Run:
    from mattebox.edit import Edit, Matte
    from mattebox.engine import Engine
    from mattebox.models import Models

    engine = Engine(Models())
    engine.models.warm(model)
    edit = Edit(matte=Matte(model=model))
    return lambda photo: engine.run_file(edit, photo).data


def rembg(model: str, **options: bool) -> Run:
    import rembg as peer

    session = peer.new_session(model)
    return lambda photo: bytes(peer.remove(photo, session=session, **options))


def snipbg(model: str) -> Run:
    import snipbg as peer

    remover = peer.Remover(model)
    remover.load()
    return lambda photo: bytes(remover.remove(photo))


def batchroom(model: str) -> Run:
    """Its only way in and out is by files, on a memory disk where there is one."""
    from batchroom.config import Settings
    from batchroom.core.pipeline import process_item
    from batchroom.core.recipe import load_recipe_file
    from batchroom.models.manager import ModelManager
    from batchroom.ops.base import PipelineContext

    data = Path(os.environ["BATCHROOM_DATA_DIR"])
    recipe = load_recipe_file(data / "recipe.yaml")
    settings = Settings.from_env()
    models = ModelManager(settings.models_dir)
    models.ensure_session(model)
    context = PipelineContext(recipe_name=recipe.name, job_id="bench", date="", settings=settings, models=models)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of our own in it

    def run(photo: bytes) -> bytes:
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            source = Path(folder, "photo.jpg")
            source.write_bytes(photo)
            result = process_item(source, recipe, Path(folder, "out"), context)
            assert result.status == "done", result.error
            return Path(folder, "out", result.outputs[0].path).read_bytes()

    return run


KINDS: dict[str, Callable[[str], Run]] = {
    "mattebox": mattebox,
    "rembg": rembg,
    "rembg-decontaminate": lambda model: rembg(model, decontaminate=True),
    "rembg-alpha-matting": lambda model: rembg(model, alpha_matting=True),
    "snipbg": snipbg,
    "batchroom": batchroom,
}


def main() -> None:
    kind, model = sys.argv[1:]
    answers = own_output()
    run = KINDS[kind](model)
    print(json.dumps({"loaded": True}), file=answers, flush=True)
    for line in sys.stdin:
        photo = Path(line.rstrip("\n")).read_bytes()
        reset_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        result = run(photo)
        measured = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak": peak_bytes()}
        assert result.startswith(b"\x89PNG"), "the result is no PNG"
        print(json.dumps(measured | {"bytes": len(result)}), file=answers, flush=True)


def own_output() -> TextIO:
    """The standard output for the answers only; whatever else is printed goes to the standard error."""
    kept = io.open(os.dup(1), "w", encoding="utf-8")  # noqa: SIM115, UP020 - open as long as the process
    os.dup2(2, 1)
    return kept


if __name__ == "__main__":
    main()
