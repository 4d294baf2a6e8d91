"""The embedded model's file: `.safetensors` with its configuration in the metadata.

It is made small: weights are float16, the token table is int8 with one float16 scale a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from clipcli.errors import CheckpointError
from clipcli.models.checkpoint.description import triple
from clipcli.models.checkpoint.shapes import ShapeError, Tower, Unseen, deduce_text
from clipcli.network.config import ClipConfig, EfficientNetLiteConfig, KnownWordsConfig
from clipcli.photos.preprocess import PreprocessConfig

FORMAT = "clipcli-lite"
TOKENS, SCALES = "token_embedding.weight", "token_embedding.scale"
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0  # beyond, one class is all or all are alike


def read(
    tensors: dict[str, Tensor], metadata: Mapping[str, str], path: Path
) -> tuple[dict[str, Tensor], ClipConfig, PreprocessConfig]:
    """Tensors with the token table in float32 [n_tokens, width], and what the metadata says."""
    try:
        config = json.loads(metadata["config"])
        seen = config["preprocess"]
        px, crop_share = int(seen["px"]), float(seen["crop"])
        temperature = float(config["vision"]["temperature"])
        if not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
            raise ValueError(f"temperature is {temperature}")
        preprocess = PreprocessConfig(
            px, triple(seen["mean"]), triple(seen["std"]), "bicubic", crop_share
        )
        text, embed_dim = deduce_text(tensors, Unseen(text=Tower(activation="gelu")))
        clip = ClipConfig(
            embed_dim,
            EfficientNetLiteConfig(px, temperature),
            text,
            evidence=KnownWordsConfig(
                len(tensors["evidence.hidden.weight"]), len(tensors["evidence.learned"])
            ),
        )
        table = tensors[TOKENS].float() * tensors[SCALES].float().unsqueeze(1)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError, ShapeError) as error:
        raise CheckpointError(
            f"{path}: {type(error).__name__}: {error}; expected a file of the embedded model"
        ) from error
    others = {name: tensor for name, tensor in tensors.items() if name != SCALES}
    return others | {TOKENS: table}, clip, preprocess
