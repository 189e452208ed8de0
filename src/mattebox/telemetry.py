"""Keeps the packages that mattebox runs networks with from reporting to their makers.

OpenVINO sends an event and writes an identifier to the home folder whenever it is imported; so does ONNX Runtime.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import cast

_SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime reads it when it is imported
    "HF_HUB_DISABLE_TELEMETRY": "1",  # diffusers and transformers, of every file that they open
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray, of each cluster that it starts
}


def switch_off() -> None:
    """Switch the reports off, for this process and those that it starts. Call it before the packages are imported."""
    os.environ.update(_SWITCHES)
    # OpenVINO does without this package where it cannot be imported. Its own switch is a file in the home folder.
    cast("dict[str, ModuleType | None]", sys.modules)["openvino_telemetry"] = None
