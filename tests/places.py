"""Where things lie: this checkout, and what is beside it.

`SHARED` holds the part of the reference that is too large, or not free enough, to lie in this
repository. Tests over it are marked `shared`; where it is not there they are left out, and the
header of the test run says so.
"""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
REFERENCE = TESTS / "reference"
SHARED = ROOT.parent / "shared"
