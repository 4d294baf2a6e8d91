"""A CLIP's image and text encoder as functions, each in the fastest form for its device and
precision."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.clip import CLIP, to_precision
from clipcli.network.resnet import ModifiedResNet
from clipcli.network.vision_transformer import VisionTransformer
from clipcli.photos.preprocess import PreprocessConfig, normalise
from clipcli.runtime import onednn_linear
from clipcli.runtime.cpu_transformer import FastText, FastVisionTransformer

# pixels uint8 [n, px, px, 3], or token ids int64 [n, length] -> unit float32 [n, embed_dim],
# all on the encoder's device
Forward = Callable[[Tensor], Tensor]


def image_forward(
    visual: nn.Module,
    preprocess: PreprocessConfig,
    dtype: torch.dtype,
    device: torch.device,
    *,
    compiled: bool = False,
) -> Forward:
    """An image encoder in any precision, which is changed in place or no longer needed.

    compiled: by torch.compile, for batches that all have the same size.
    """
    if isinstance(visual, VisionTransformer) and not compiled and _uses_onednn(dtype, device):
        fast = FastVisionTransformer(visual, preprocess, dtype, in_place=True)
        return _unit_length(fast)
    to_precision(visual, dtype)
    visual.to(device)
    if isinstance(visual, ModifiedResNet) and device.type != "mps":
        # pixels come so, and convolutions are then 1.6 times as fast in bfloat16, 1.3 in float32
        visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    encode: Callable[[Tensor], Tensor] = visual
    if compiled:
        encode = torch.compile(visual, dynamic=False)
    return _unit_length(lambda pixels: encode(normalise(pixels, preprocess).to(dtype)))


def int8_image_forward(
    visual: VisionTransformer, preprocess: PreprocessConfig, dtype: torch.dtype
) -> Forward:
    """On the CPU, with the blocks' products in int8; `visual` is left as it is."""
    return _unit_length(FastVisionTransformer(visual, preprocess, dtype, int8=True))


def text_forward(model: CLIP, dtype: torch.dtype, device: torch.device) -> Forward:
    """The text encoder of a model in any precision, which is changed in place.

    Where its weights are laid out anew, only the table of tokens is left in the model.
    """
    if _uses_onednn(dtype, device):
        fast = FastText(model, in_place=True)
        return _unit_length(fast)
    for name, part in model.named_children():
        if name not in ("visual", "evidence"):
            to_precision(part, dtype)
            part.to(device)
    for parameter in (
        model.positional_embedding,
        model.text_projection,
        model.text_projection_bias,
    ):
        if parameter is not None:
            parameter.data = parameter.data.to(device, dtype)
    return _unit_length(model.encode_text)


def _uses_onednn(dtype: torch.dtype, device: torch.device) -> bool:
    """Float32 does not: it stays in the plain layers, whose outputs equal the reference's."""
    return device.type == "cpu" and dtype == torch.bfloat16 and onednn_linear.is_available()


def _unit_length(encode: Callable[[Tensor], Tensor]) -> Forward:
    return lambda inputs: F.normalize(encode(inputs).float(), dim=-1)
