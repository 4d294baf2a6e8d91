"""Every number of an architecture, without a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipcli.records import Activation

# from the width of the tokens to the embedding's; "none" where they are the same
Projection = Literal["matrix", "linear", "none"]


@dataclass(frozen=True)
class TransformerConfig:
    """The blocks of the image or the text encoder. `mlp_width` is 4 * width as published.

    eps: what all its norms add to the variance.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation = "quickgelu"
    eps: float = 1e-5


@dataclass(frozen=True)
class AttentionPoolConfig:
    """One learned query over all tokens, then a hidden layer of mlp_width."""

    heads: int
    mlp_width: int
    activation: Activation


@dataclass(frozen=True)
class VisionTransformerConfig:
    """An image encoder that cuts pictures of px * px into patches of patch_px * patch_px.

    |                            | CLIP | SigLIP | Perception Encoder |
    | patch_bias                 |      | yes    |                    |
    | class_token, norm_first    | yes  |        | yes                |
    | rotary: also by rotation   |      |        | yes                |
    | pool: attention, of heads  |      | yes    | yes                |
    | projection                 | yes  |        | with a bias        |
    """

    px: int
    patch_px: int
    transformer: TransformerConfig
    patch_bias: bool = False
    class_token: bool = True
    norm_first: bool = True
    rotary: bool = False
    pool: AttentionPoolConfig | None = None  # else the class token is the picture
    projection: Projection = "matrix"

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
    """The text encoder over `context_length` tokens of a vocabulary of `vocab_size`.

    causal: a token sees only what stands before it. pool: the text is what stands at its first
    end token, by default the highest one, or at its last place.
    """

    context_length: int
    vocab_size: int
    transformer: TransformerConfig
    causal: bool = True
    pool: Literal["end", "last"] = "end"
    end_token: int | None = None
    projection: Projection = "matrix"


@dataclass(frozen=True)
class ClipConfig:
    """The image and the text encoder, which meet in `embed_dim` dimensions."""

    embed_dim: int
    vision: VisionTransformerConfig | ResNetConfig | EfficientNetLiteConfig
    text: TextConfig
    evidence: KnownWordsConfig | None = None
    sigmoid: bool = False  # scores are independent, with a learned bias (SigLIP)
