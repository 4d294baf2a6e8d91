"""Tensor names of other libraries to OpenAI's, which are ours.

A new layout is a `Layout` in a file of its own, and one of `LAYOUTS`.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from clipcli.models.checkpoint.hugging_face_names import CLIP_MODEL, SIGLIP_MODEL
from clipcli.models.checkpoint.open_clip_names import CUSTOM_TEXT_CLIP
from clipcli.models.checkpoint.renaming import renamed

LAYOUTS = (SIGLIP_MODEL, CLIP_MODEL, CUSTOM_TEXT_CLIP)


def openai_names(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The same tensors under OpenAI's names; those already there pass as they are.

    Raises CheckpointError for a name that the layout has not.
    """
    for layout in LAYOUTS:
        if any(name in tensors for name in layout.known_by):
            tensors = renamed(tensors, layout, path)
            break
    # scale and bias are numbers, or lists of one
    scalars = {name: tensors[name] for name in ("logit_scale", "logit_bias") if name in tensors}
    return tensors | {
        name: one.reshape(()) if one.shape == (1,) else one for name, one in scalars.items()
    }
