"""The architecture of a CLIP, deduced from its tensors' shapes under OpenAI's names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from clipcli.errors import CheckpointError
from clipcli.network.config import (
    AttentionPoolConfig,
    ClipConfig,
    Projection,
    ResNetConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.photos.preprocess import MAX_PX
from clipcli.records import Activation

# 1,022 pixels in patches of 14, beyond every published CLIP. A batch of pictures takes memory for
# each of them, whatever the weights, which are in the file, take
MAX_PATCHES = 73**2
HEAD_WIDTH = 64  # shapes do not tell the number of heads; the published models have these

# stored beside the weights in published archives; the shapes say the same
PUBLISHED_INTEGERS = ("input_resolution", "context_length", "vocab_size")


class ShapeError(Exception):
    """The shapes do not make a CLIP; the message says which and why."""


@dataclass(frozen=True)
class Tower:
    """What shapes do not tell of a transformer; without heads, they are HEAD_WIDTH wide."""

    heads: int | None = None
    activation: Activation = "quickgelu"
    eps: float = 1e-5


@dataclass(frozen=True)
class Unseen:
    """What shapes do not tell of a model, with the published models' values.

    px: where patches do not fill the picture; pool: of the attention pool.
    """

    vision: Tower = Tower()
    text: Tower = Tower()
    pool: Tower = Tower()
    px: int | None = None
    rotary: bool = False
    causal: bool = True
    text_pool: Literal["end", "last"] = "end"
    end_token: int | None = None


PUBLISHED = Unseen()


def deduce(tensors: Mapping[str, Tensor], unseen: Unseen = PUBLISHED) -> ClipConfig:
    """The architecture of these tensors.

    Raises ShapeError where a tensor is missing or its shape contradicts another's.
    """
    text, embed_dim = deduce_text(tensors, unseen)
    if "visual.proj" in tensors or "visual.pool.probe" in tensors:
        vision: VisionTransformerConfig | ResNetConfig = _vision_transformer(tensors, unseen)
    elif "visual.attnpool.positional_embedding" in tensors:
        vision = _resnet(tensors, unseen.vision.heads)
    else:
        raise ShapeError(
            "neither visual.proj (a vision transformer) nor visual.attnpool (a modified ResNet)"
            f" among its {len(tensors)} tensors"
        )
    return ClipConfig(embed_dim, vision, text, sigmoid=_is_siglip(tensors, unseen))


def deduce_text(tensors: Mapping[str, Tensor], unseen: Unseen) -> tuple[TextConfig, int]:
    """The text encoder of these tensors, and the dimensions of an embedding."""
    width, embed_dim = _shape(tensors, "text_projection", 2)
    vocab_size, _ = _shape(tensors, "token_embedding.weight", 2)
    context_length, _ = _shape(tensors, "positional_embedding", 2)
    config = TextConfig(
        context_length,
        vocab_size,
        _transformer(tensors, "transformer", width, unseen.text),
        causal=unseen.causal,
        pool=unseen.text_pool,
        end_token=unseen.end_token,
        projection="linear" if _is_siglip(tensors, unseen) else "matrix",
    )
    return config, embed_dim


def check_integers(tensors: Mapping[str, Tensor], path: Path) -> None:
    """The integers of a published archive must say what the shapes say."""
    said = {name: tensors[name] for name in PUBLISHED_INTEGERS if name in tensors}
    for name, tensor in said.items():
        if tensor.numel() != 1 or tensor.is_floating_point() or tensor.is_complex():
            raise CheckpointError(f"{path}: {name} is no integer; expected a published archive")
    for name, key in (
        ("context_length", "positional_embedding"),
        ("vocab_size", "token_embedding.weight"),
    ):
        if name in said and key in tensors and int(said[name]) != tensors[key].shape[0]:
            raise CheckpointError(
                f"{path}: {name} says {int(said[name])}, but {key} is"
                f" {list(tensors[key].shape)}; expected a published archive, unchanged"
            )
    if "input_resolution" in said:
        try:
            px = deduce(tensors).vision.px
        except ShapeError:
            return  # `deduce` reports it with its own reason
        if int(said["input_resolution"]) != px:
            raise CheckpointError(
                f"{path}: input_resolution says {int(said['input_resolution'])}, but the shapes"
                f" make {px}; expected a published archive, unchanged"
            )


def _vision_transformer(tensors: Mapping[str, Tensor], unseen: Unseen) -> VisionTransformerConfig:
    width, _, patch_px, _ = _shape(tensors, "visual.conv1.weight", 4)
    is_siglip = _is_siglip(tensors, unseen)
    has_class_token = not is_siglip
    n_positions, _ = _shape(tensors, "visual.positional_embedding", 2)
    grid = _grid(n_positions, n_others=int(has_class_token))
    if grid**2 > MAX_PATCHES:
        raise ShapeError(
            f"{grid**2:,} patches of {patch_px} pixels, where {MAX_PATCHES:,} are most"
        )
    px = _px(grid, patch_px)
    if unseen.px is not None and px <= unseen.px < px + patch_px:
        px = unseen.px
    projection: Projection = "linear" if unseen.rotary else "matrix"
    return VisionTransformerConfig(
        px=px,
        patch_px=patch_px,
        transformer=_transformer(tensors, "visual.transformer", width, unseen.vision),
        patch_bias=is_siglip,
        class_token=has_class_token,
        norm_first=not is_siglip,
        rotary=unseen.rotary,
        pool=_attention_pool(tensors, width, unseen.pool),
        projection="none" if is_siglip else projection,
    )


def _is_siglip(tensors: Mapping[str, Tensor], unseen: Unseen) -> bool:
    """Of the two families with an attention pool, the one without rotary positions. What else a
    family has is not looked up, so that nothing can be missing unnoticed."""
    return "visual.pool.probe" in tensors and not unseen.rotary


def _attention_pool(
    tensors: Mapping[str, Tensor], width: int, unseen: Tower
) -> AttentionPoolConfig | None:
    if "visual.pool.probe" not in tensors:
        return None
    mlp_width, _ = _shape(tensors, "visual.pool.mlp.c_fc.weight", 2)
    return AttentionPoolConfig(
        _heads(width, unseen.heads, "visual.pool"), mlp_width, unseen.activation
    )


def _resnet(tensors: Mapping[str, Tensor], heads: int | None) -> ResNetConfig:
    width, in_width, _, _ = _shape(tensors, "visual.layer1.0.conv1.weight", 4)
    if width != in_width:
        raise ShapeError(f"visual.layer1.0.conv1.weight is {width} * {in_width}, no square")
    n_positions, _ = _shape(tensors, "visual.attnpool.positional_embedding", 2)
    grid = _grid(n_positions, n_others=1)
    one, two, three, four = (_count(tensors, f"visual.layer{stage}") for stage in (1, 2, 3, 4))
    return ResNetConfig(
        px=_px(grid, 32),
        layers=(one, two, three, four),
        width=width,
        heads=_heads(width * 32, heads, "visual.attnpool"),
    )


def _transformer(
    tensors: Mapping[str, Tensor], prefix: str, width: int, unseen: Tower
) -> TransformerConfig:
    return TransformerConfig(
        width=width,
        layers=_count(tensors, f"{prefix}.resblocks"),
        heads=_heads(width, unseen.heads, prefix),
        mlp_width=_shape(tensors, f"{prefix}.resblocks.0.mlp.c_fc.weight", 2)[0],
        activation=unseen.activation,
        eps=unseen.eps,
    )


def _heads(width: int, heads: int | None, prefix: str) -> int:
    if heads is None and width % HEAD_WIDTH:
        raise ShapeError(
            f"{prefix} is {width} wide, no multiple of the {HEAD_WIDTH} that published heads have;"
            " without a config file beside it the number of heads is not known"
        )
    heads = width // HEAD_WIDTH if heads is None else heads
    if width % heads:
        raise ShapeError(f"{prefix} is {width} wide, which {heads} heads do not divide")
    return heads


def _shape(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in tensors:
        raise ShapeError(f"no tensor {name} among its {len(tensors)} tensors")
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise ShapeError(f"{name} is {list(shape)}, where {dimensions} dimensions are needed")
    return shape


def _grid(n_positions: int, n_others: int) -> int:
    grid = math.isqrt(max(n_positions - n_others, 0))
    if grid == 0 or grid**2 + n_others != n_positions:
        raise ShapeError(f"{n_positions} picture positions are no square{' and one' * n_others}")
    return grid


def _px(grid: int, step_px: int) -> int:
    px = grid * step_px
    if px > MAX_PX:
        raise ShapeError(f"pictures of {px:,} pixels a side, where {MAX_PX:,} are most")
    return px


def _count(names: Iterable[str], prefix: str) -> int:
    """How many numbered parts `prefix.0`, `prefix.1`, ... there are, without a gap."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d{1,3})\.")  # no CLIP has a thousand
    numbers = {int(match[1]) for name in names if (match := pattern.match(name))}
    if not numbers or numbers != set(range(len(numbers))):
        raise ShapeError(f"{prefix} has parts {sorted(numbers)[:8]}, expected 0, 1, 2 and so on")
    return len(numbers)
