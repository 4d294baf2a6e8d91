"""JSON as its standard has it. Python also reads NaN, Infinity, and numbers beyond all floats."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def loads(text: str | bytes) -> Any:
    """What the text says. Raises ValueError for what is no JSON, and for a number that is none."""
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{literal} in place of a number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(digits)
    return number
