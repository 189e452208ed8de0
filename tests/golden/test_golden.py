"""Whole edits, and the mattes of real photos."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
import skimage.data
from tests.golden.comparison import compare

from mattebox import codec
from mattebox.edit import Color, Edit, Foreground, Layout, Matte, Output
from mattebox.engine import Engine
from mattebox.image import RGB, Image
from mattebox.testing import FakeModels, make_photo, make_scene

SCENE = codec.encode(Image(rgb=make_scene(width=240, height=180, seed=7).photo), Output())

EDITS = {
    "transparent": Edit(),
    "colour": Edit(backdrop=Color(250, 200, 40)),
    "crop": Edit(backdrop=Color(255, 255, 255), layout=Layout(crop=True)),
    "small": Edit(layout=Layout(max_side=90)),
    "crop-small": Edit(backdrop=Color(20, 30, 120), layout=Layout(crop=True, max_side=64)),
    "matte": Edit(output=Output(alpha_only=True)),
    "kept-colours": Edit(matte=Matte(foreground=Foreground.KEEP)),
    "unrefined": Edit(matte=Matte(refine=False)),
}

PHOTOS: dict[str, Callable[[], RGB]] = {
    "mug": make_photo,
    "astronaut": skimage.data.astronaut,
    "cat": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "rocket": skimage.data.rocket,
}


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_looks_as_it_did(name: str, regenerate: bool) -> None:
    result = Engine(FakeModels()).run_file(EDITS[name], SCENE)
    picture = PIL.Image.open(io.BytesIO(result.data))
    compare(f"edit-{name}", picture, regenerate=regenerate, tolerance=0.05)


@pytest.mark.model
@pytest.mark.parametrize("name", PHOTOS)
def test_the_default_model_cuts_real_photos_as_it_did(name: str, regenerate: bool, real_engine: Engine) -> None:
    cutout = real_engine.cut_out(Image(rgb=np.ascontiguousarray(PHOTOS[name]())))
    matte = PIL.Image.fromarray((cutout.alpha * 255).astype(np.uint8))
    matte.thumbnail((192, 192), PIL.Image.Resampling.BOX)
    # Half precision on one processor and full on another differ by less than this.
    compare(f"matte-{name}", matte, regenerate=regenerate, tolerance=1.5)
