"""A checkpoint to what it is."""

from __future__ import annotations

from pathlib import Path

from clipcli.cli.work import progress
from clipcli.errors import one_line
from clipcli.models.checkpoint import checkpoint
from clipcli.models.model import Model
from clipcli.models.on_disk.locate import files_of, kind_of
from clipcli.models.score import Score
from clipcli.models.siglip_tokenizer import TOKENIZER_FILE
from clipcli.network.config import (
    ClipConfig,
    EfficientNetLiteConfig,
    ResNetConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.photos.preprocess import ResizeRule
from clipcli.records import Activation

RESIZES: dict[ResizeRule, str] = {
    "shortest": "the short side to this, then the middle",
    "squash": "both sides to this, squashed",
    "longest": "the long side to this, on black",
}


def described(path: Path, activation: Activation | None) -> str:
    """Lines about the checkpoint, as `models show` prints them. Raises CheckpointError."""
    weights, *configs = files_of(path)
    with progress.of_opening(str(path)):
        model = checkpoint.load(path, activation)
    config = model.network.config
    text, px, seen = config.text, config.vision.px, model.preprocess
    n_parameters = sum(parameter.numel() for parameter in model.network.parameters())
    kind = "a PyTorch archive" if kind_of(weights) == "archive" else "safetensors"
    beside = f", with {', '.join(config.name for config in configs)}" if configs else ""
    return (
        f"{one_line(str(path))}: {_family(config)}, {_images(config.vision)}\n"
        f"pictures    {px} x {px} pixels\n"
        f"resize      {RESIZES[seen.rule]}; {seen.resample}\n"
        f"texts       {text.context_length} tokens of {text.vocab_size:,};"
        f" {_transformer(text.transformer)}\n"
        f"tokenizer   {_tokenizer(model)}\n"
        f"scores      {_scores(model.score)}\n"
        f"embedding   {config.embed_dim} numbers\n"
        f"parameters  {n_parameters:,}\n"
        f"size        {weights.stat().st_size / 1e6:,.1f} MB\n"
        f"format      {kind}{beside}\n"
        f"fingerprint {model.fingerprint()}\n"
    )


def _family(config: ClipConfig) -> str:
    if config.sigmoid:
        return "a SigLIP"
    is_rotary = isinstance(config.vision, VisionTransformerConfig) and config.vision.rotary
    return "a Perception Encoder" if is_rotary else "a CLIP"


def _images(vision: VisionTransformerConfig | ResNetConfig | EfficientNetLiteConfig) -> str:
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
    heads = "1 head" if config.heads == 1 else f"{config.heads} heads"
    shape = f"{config.layers} layers, width {config.width}, {heads}"
    return f"{shape}, {config.activation}"


def _tokenizer(model: Model) -> str:
    if model.tokenizer == "clip":
        return "CLIP's"
    missing = "" if model.tokenizer_sha256 else ", which is not there: only pictures can be encoded"
    return f"SigLIP's, {TOKENIZER_FILE}{missing}"


def _scores(score: Score) -> str:
    bias = "" if score.bias is None else f" {score.bias:+.4g}"
    return f"{score.kind} of {score.scale:.4g} times the cosine{bias}"
