"""A configuration as fingerprints and cache keys hash it, which must never change."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

# fields that came after the first fingerprints
LATER = frozenset(
    {"eps", "patch_bias", "class_token", "norm_first", "rotary", "pool", "projection"}
    | {"causal", "end_token", "sigmoid", "rule"}
)


def hashed(config: Any) -> dict[str, Any]:
    """The fields of a dataclass, without later ones that have their defaults: these say nothing."""
    described = {}
    for one in fields(config):
        value = getattr(config, one.name)
        if one.name not in LATER or value != one.default:
            described[one.name] = hashed(value) if is_dataclass(value) else value
    return described
