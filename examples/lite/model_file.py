"""The one file of the model: tensors small enough for a wheel, everything else in the metadata.

Image tower and text tower are float16, the token table int8 with one float16 scale per row
(`token_embedding.weight`, `token_embedding.scale`); `logit_scale` is float32; `evidence.*` is the
test of `evidence.py`. Metadata: `format` "clipcli-lite", `config` (JSON: architecture,
preprocessing) and `sources` (JSON: where each part comes from, under which licence). Its reader is
`clipcli.models.checkpoint.lite_file`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from clipcli.models.checkpoint.lite_file import FORMAT, SCALES, TOKENS
from clipcli.network.efficientnet_lite import EfficientNetLite


def quantise_rows(table: Tensor) -> tuple[Tensor, Tensor]:
    """float [n, d] -> int8 [n, d] and float16 scales [n]; symmetric.

    The scale is rounded to float16 before it is used.
    """
    scales = (table.abs().amax(dim=1) / 127).clamp(min=1e-7).half()
    return (table / scales.float().unsqueeze(1)).round().clamp(-127, 127).to(torch.int8), scales


def write(
    path: Path,
    visual: EfficientNetLite,
    text: dict[str, Tensor],
    logit_scale: float,
    config: dict,
    sources: list[dict],
) -> None:
    """Written beside, then renamed."""
    tensors = {f"visual.{name}": tensor.half() for name, tensor in visual.state_dict().items()}
    tensors |= {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in text.items()
    }
    tensors[TOKENS], tensors[SCALES] = quantise_rows(text[TOKENS])
    tensors["logit_scale"] = torch.tensor(logit_scale)
    metadata = {"format": FORMAT, "config": json.dumps(config), "sources": json.dumps(sources)}
    part = path.with_name(path.name + ".part")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata)
    os.replace(part, path)
