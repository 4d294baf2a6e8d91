"""What tests of several commands need."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def labelled(example_photos: Path, tmp_path: Path) -> Path:
    """Two labels with three photographs each."""
    for label, names in {
        "living_thing": ("cat", "astronaut", "photographer"),
        "thing": ("coffee", "rocket", "galaxies"),
    }.items():
        (tmp_path / "labelled" / label).mkdir(parents=True)
        for name in names:
            shutil.copy(example_photos / f"{name}.jpg", tmp_path / "labelled" / label)
    return tmp_path / "labelled"
