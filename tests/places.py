"""Where things lie: this checkout, what is beside it, and a second file system.

`SHARED` holds the part of the reference that is too large, or not free enough, to lie in this
repository. Tests over it are marked `shared`; where it is not there they are left out, and the
header of the test run says so.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
REFERENCE = TESTS / "reference"
SHARED = ROOT.parent / "shared"


def other_file_system(than: Path) -> Path:
    """A folder in memory; where it is no file system of its own, the test is skipped."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == than.stat().st_dev:
        pytest.skip("there is no second file system here, as /dev/shm is one")
    return memory
