"""Tensors of another library under OpenAI's names, by a table of rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from clipcli.errors import CheckpointError

# a matrix turned; without leading dimensions of 1; or a piece of q, k and v below each other
How = Literal["same", "turned", "squeezed", "q", "k", "v", "kv"]
_ORDERS = {frozenset(order): order for order in (("q", "k", "v"), ("q", "kv"))}


@dataclass(frozen=True)
class Rule:
    """pattern: of the whole name there; name: ours, with the groups of the pattern."""

    pattern: str
    name: str
    how: How = "same"


@dataclass(frozen=True)
class Layout:
    """known_by: names of which one shows that tensors have this layout; what: whose they are;
    derived: pattern of tensors that follow from the others, and are left out."""

    what: str
    known_by: tuple[str, ...]
    rules: Sequence[Rule]
    derived: str = "(?!)"  # no name


def renamed(tensors: dict[str, Tensor], layout: Layout, path: Path) -> dict[str, Tensor]:
    """Raises CheckpointError for a name that the layout has not, and for q, k and v that do not
    go together."""
    rules = [(re.compile(rule.pattern), rule) for rule in layout.rules]
    found: dict[str, Tensor] = {}
    pieces: dict[str, dict[str, Tensor]] = {}
    for old_name, tensor in tensors.items():
        if re.fullmatch(layout.derived, old_name):
            continue
        matches = ((pattern.fullmatch(old_name), rule) for pattern, rule in rules)
        match, rule = next((pair for pair in matches if pair[0]), (None, None))
        if match is None or rule is None:
            raise CheckpointError(
                f"{path}: unknown tensor {old_name}; expected those of {layout.what}"
            )
        name = match.expand(rule.name)
        if rule.how in ("q", "k", "v", "kv"):
            pieces.setdefault(name, {})[rule.how] = tensor
        elif rule.how == "turned" and tensor.ndim == 2:
            found[name] = tensor.t().contiguous()
        elif rule.how == "squeezed":
            while tensor.ndim > 1 and len(tensor) == 1:
                tensor = tensor[0]
            found[name] = tensor
        else:
            found[name] = tensor
    for name, parts in pieces.items():
        found[name] = _joined(name, parts, layout, path)
    return found


def _joined(name: str, parts: dict[str, Tensor], layout: Layout, path: Path) -> Tensor:
    order = _ORDERS.get(frozenset(parts))
    # of kv, which is k and v, half
    shapes = {(len(part) // len(key), *part.shape[1:]) for key, part in parts.items() if part.ndim}
    if order is None or len(shapes) != 1 or not all(part.ndim for part in parts.values()):
        raise CheckpointError(
            f"{path}: {name} needs q, k and v of one shape, found"
            f" { ({key: list(part.shape) for key, part in sorted(parts.items())}) };"
            f" expected the tensors of {layout.what}"
        )
    return torch.cat([parts[key] for key in order])
