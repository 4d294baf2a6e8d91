"""Every number of an architecture, without a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from clipcli.records import Activation


@dataclass(frozen=True)
class TransformerConfig:
    """The blocks of the image or the text encoder. `mlp_width` is 4 * width as published."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation = "quickgelu"


@dataclass(frozen=True)
class VisionTransformerConfig:
    """An image encoder that cuts pictures of px * px into patches of patch_px * patch_px."""

    px: int
    patch_px: int
    transformer: TransformerConfig

    @property
    def layers(self) -> int:
        return self.transformer.layers

    @property
    def width(self) -> int:
        return self.transformer.width

    @property
    def head_width(self) -> int:
        return self.width // self.transformer.heads


@dataclass(frozen=True)
class ResNetConfig:
    """A modified ResNet: blocks in each of four stages; `width` channels after the stem."""

    px: int
    layers: tuple[int, int, int, int]
    width: int
    heads: int

    @property
    def head_width(self) -> int:
        """Of the attention pool, over 32 * width channels."""
        return 32 * self.width // self.heads


@dataclass(frozen=True)
class EfficientNetLiteConfig:
    """EfficientNet-Lite2 with its classifier; `temperature` divides its logits."""

    px: int
    temperature: float
    n_classes: int = 1000


@dataclass(frozen=True)
class KnownWordsConfig:
    """What a small model knows: a hidden layer of `width`, and a table of `n_learned` words."""

    width: int
    n_learned: int


@dataclass(frozen=True)
class TextConfig:
    """The text encoder over `context_length` tokens of a vocabulary of `vocab_size`."""

    context_length: int
    vocab_size: int
    transformer: TransformerConfig


@dataclass(frozen=True)
class ClipConfig:
    """The image and the text encoder, which meet in `embed_dim` dimensions."""

    embed_dim: int
    vision: VisionTransformerConfig | ResNetConfig | EfficientNetLiteConfig
    text: TextConfig
    evidence: KnownWordsConfig | None = None
