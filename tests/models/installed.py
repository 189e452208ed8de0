"""Rows of the catalogue whose files are tiny networks."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from mattebox.models import (
    CATALOGUE,
    ModelOptions,
    Models,
    weights,
)
from mattebox.models.catalogue import Row, Variant

from .networks import write_tiny

PHOTO = np.random.default_rng(11).integers(0, 256, (300, 420, 3), dtype=np.uint8)


def variant(name: str) -> Variant:
    row = CATALOGUE[name]
    assert isinstance(row, Variant)
    return row


def installed(name: str, directory: Path) -> Variant:
    """A row of the catalogue whose file is a tiny network, in its place."""
    content = write_tiny(variant(name), directory).read_bytes()
    row = dataclasses.replace(variant(name), sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), sources=())
    weights.path(row, directory).write_bytes(content)
    return row


def models(directory: Path, *rows: Row) -> Models:
    options = ModelOptions(device="cpu", threads=1, directory=directory, download=False, user_files=True)
    return Models(options, catalogue={row.name: row for row in rows} or CATALOGUE)
