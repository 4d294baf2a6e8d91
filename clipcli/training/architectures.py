"""Architectures by name, to be trained from scratch: the published ones and a few small ones."""

from __future__ import annotations

from clipcli.models.tokenizer import CONTEXT_LENGTH
from clipcli.network.config import (
    ClipConfig,
    ResNetConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)

VOCAB_SIZE = 49_408
HEAD_WIDTH = 64  # as published; a checkpoint's shapes do not tell the number of heads


def _transformer(width: int, layers: int) -> TransformerConfig:
    return TransformerConfig(width, layers, heads=width // HEAD_WIDTH, mlp_width=4 * width)


def _resnet(px: int, layers: tuple[int, int, int, int], width: int) -> ResNetConfig:
    return ResNetConfig(px, layers, width, heads=width * 32 // HEAD_WIDTH)


def _vit(px: int, patch_px: int, width: int, layers: int) -> VisionTransformerConfig:
    return VisionTransformerConfig(px, patch_px, _transformer(width, layers))


def _text(width: int, layers: int = 12) -> TextConfig:
    return TextConfig(CONTEXT_LENGTH, VOCAB_SIZE, _transformer(width, layers))


# tables 19 and 20 of the paper
PUBLISHED = {
    "RN50": ClipConfig(1024, _resnet(224, (3, 4, 6, 3), 64), _text(512)),
    "RN101": ClipConfig(512, _resnet(224, (3, 4, 23, 3), 64), _text(512)),
    "RN50x4": ClipConfig(640, _resnet(288, (4, 6, 10, 6), 80), _text(640)),
    "RN50x16": ClipConfig(768, _resnet(384, (6, 8, 18, 8), 96), _text(768)),
    "RN50x64": ClipConfig(1024, _resnet(448, (3, 15, 36, 10), 128), _text(1024)),
    "ViT-B/32": ClipConfig(512, _vit(224, 32, 768, 12), _text(512)),
    "ViT-B/16": ClipConfig(512, _vit(224, 16, 768, 12), _text(512)),
    "ViT-L/14": ClipConfig(768, _vit(224, 14, 1024, 24), _text(768)),
    "ViT-L/14@336px": ClipConfig(768, _vit(336, 14, 1024, 24), _text(768)),
}
# for thousands of photographs rather than millions, on a CPU or one card
SMALL = {
    "tiny": ClipConfig(128, _resnet(64, (1, 1, 1, 1), 32), _text(64, layers=2)),
    "tiny-vit": ClipConfig(128, _vit(64, 8, 192, 6), _text(64, layers=2)),
    "small": ClipConfig(256, _resnet(128, (2, 2, 2, 2), 48), _text(256, layers=4)),
    "small-vit": ClipConfig(256, _vit(128, 16, 384, 8), _text(256, layers=4)),
}
