"""Whether names, shapes and sizes can be those of a CLIP, before the weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from clipcli.errors import CheckpointError, one_line
from clipcli.models.checkpoint import keymaps, shapes
from clipcli.models.checkpoint.tensor_records import DIMENSIONS_LIMIT, NAME_LIMIT
from clipcli.network.clip import CLIP

TENSORS_LIMIT = 3000  # the largest published CLIP has 1,400
# read of a file whatever it is; more than that only of a CLIP. A ViT-B/32 in float32 has 605 MB.
UNASKED_BYTES = 700_000_000


def excerpt(found: object, limit: int = 200) -> str:
    """What a file or an error about it says, cut to be part of one line."""
    return one_line(str(found)[:limit])[:limit]


def check(tensors: Mapping[str, Tensor], read_bytes: int, path: Path) -> None:
    """Raises CheckpointError where `read_bytes` are more than these tensors, on "meta", need."""
    if len(tensors) > TENSORS_LIMIT:
        raise CheckpointError(
            f"{path}: {len(tensors):,} tensors; expected those of a CLIP, at most {TENSORS_LIMIT:,}"
        )
    for name, tensor in tensors.items():
        if len(repr(name)) - 2 > NAME_LIMIT or tensor.ndim > DIMENSIONS_LIMIT:
            raise CheckpointError(
                f"{path}: a tensor {excerpt(name)} of {tensor.ndim} dimensions; expected names of"
                f" {NAME_LIMIT} characters and {DIMENSIONS_LIMIT} dimensions at most"
            )
    if read_bytes <= UNASKED_BYTES:
        return
    named = keymaps.openai_names(dict(tensors), path)
    try:
        # any number of heads does: it changes no shape
        one = shapes.Tower(heads=1)
        # PE-Core is the family with both; its rotations are no tensors
        rotary = {"visual.pool.probe", "visual.class_embedding"} <= named.keys()
        config = shapes.deduce(named, shapes.Unseen(vision=one, text=one, pool=one, rotary=rotary))
    except shapes.ShapeError as error:
        raise CheckpointError(f"{path}: {error}; expected the tensors of a CLIP") from error
    with torch.device("meta"):
        network = CLIP(config)
    number_bytes = max((t.itemsize for t in named.values() if t.is_floating_point()), default=0)
    needed_bytes = number_bytes * sum(t.numel() for t in network.state_dict().values())
    if read_bytes > needed_bytes + UNASKED_BYTES:
        raise CheckpointError(
            f"{path}: {read_bytes:,} bytes of tensors, where a CLIP of these shapes has"
            f" {needed_bytes:,}; expected the weights alone"
        )
