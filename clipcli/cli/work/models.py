"""A checkpoint to what it is."""

from __future__ import annotations

from pathlib import Path

from clipcli.cli.work import progress
from clipcli.errors import one_line
from clipcli.models.checkpoint import checkpoint
from clipcli.models.locate import files_of, kind_of
from clipcli.network.config import (
    EfficientNetLiteConfig,
    ResNetConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.records import Activation


def described(path: Path, activation: Activation | None) -> str:
    """Lines about the checkpoint, as `models show` prints them. Raises CheckpointError."""
    weights, *configs = files_of(path)
    with progress.of_opening(str(path)):
        model = checkpoint.load(path, activation)
    config = model.network.config
    text, px = config.text, config.vision.px
    n_parameters = sum(parameter.numel() for parameter in model.network.parameters())
    kind = "a PyTorch archive" if kind_of(weights) == "archive" else "safetensors"
    beside = "".join(f", with {config.name}" for config in configs)
    return (
        f"{one_line(str(path))}: a CLIP, {_family(config.vision)}\n"
        f"pictures    {px} x {px} pixels\n"
        f"texts       {text.context_length} tokens of {text.vocab_size:,};"
        f" {_transformer(text.transformer)}\n"
        f"embedding   {config.embed_dim} numbers\n"
        f"parameters  {n_parameters:,}\n"
        f"size        {weights.stat().st_size / 1e6:,.1f} MB\n"
        f"format      {kind}{beside}\n"
        f"fingerprint {model.fingerprint()}\n"
    )


def _family(vision: VisionTransformerConfig | ResNetConfig | EfficientNetLiteConfig) -> str:
    match vision:
        case VisionTransformerConfig():
            size = f"{vision.patch_px} pixels; {_transformer(vision.transformer)}"
            return f"a vision transformer over patches of {size}"
        case ResNetConfig():
            blocks = "-".join(map(str, vision.layers))
            return f"a ResNet of {blocks} blocks, width {vision.width}"
        case EfficientNetLiteConfig():
            return "an EfficientNet-Lite"


def _transformer(config: TransformerConfig) -> str:
    shape = f"{config.layers} layers, width {config.width}, {config.heads} heads"
    return f"{shape}, {config.activation}"
