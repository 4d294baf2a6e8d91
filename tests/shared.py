"""The part of the reference that is too large, or not free enough, to lie in this repository.

Tests over it are marked `shared`; where ../shared is not there they are left out, and the header
of the test run says so.
"""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).parents[2] / "shared"
