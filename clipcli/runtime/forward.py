"""A CLIP's two halves as functions, each in the form that suits its device and precision."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipcli.network.clip import CLIP, to_precision
from clipcli.network.resnet import ModifiedResNet
from clipcli.network.vision_transformer import VisionTransformer
from clipcli.photos.preprocess import PreprocessConfig, normalise
from clipcli.runtime import int8_linear, onednn_linear
from clipcli.runtime.cpu_transformer import FastText, FastVisionTransformer

# pixels uint8 [n, px, px, 3], or token ids int64 [n, length] -> unit float32 [n, embed_dim],
# all on the device of the tower
Tower = Callable[[Tensor], Tensor]


def image_tower(
    visual: nn.Module,
    preprocess: PreprocessConfig,
    dtype: torch.dtype,
    device: torch.device,
    *,
    compiled: bool = False,
) -> Tower:
    """An image encoder that is in float32, and is changed in place or no longer needed.

    compiled: by torch.compile, for batches that all have the same size.
    """
    if isinstance(visual, VisionTransformer) and not compiled and _is_packed(dtype, device):
        tower = FastVisionTransformer(visual, preprocess, dtype)
        visual.to("meta")  # its weights live on in the tower
        return _unit_length(tower)
    to_precision(visual, dtype)
    visual.to(device)
    if isinstance(visual, ModifiedResNet) and device.type != "mps":
        # pixels come so, and convolutions are then 1.6 times as fast in bfloat16, 1.3 in float32
        visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    encode: Callable[[Tensor], Tensor] = visual
    if compiled:
        encode = torch.compile(visual, dynamic=False)
    return _unit_length(lambda pixels: encode(normalise(pixels, preprocess).to(dtype)))


def int8_image_tower(
    visual: VisionTransformer, preprocess: PreprocessConfig, dtype: torch.dtype
) -> Tower:
    """On the CPU, the large products in int8; `visual` is in float32, and left as it is."""
    return _unit_length(FastVisionTransformer(visual, preprocess, dtype, int8=True))


def has_int8_products() -> bool:
    """Whether this PyTorch has what `int8_image_tower` is made of."""
    return int8_linear.is_available() and onednn_linear.is_available()


def text_tower(model: CLIP, dtype: torch.dtype, device: torch.device) -> Tower:
    """The text encoder of a model in float32, which is changed in place.

    Where its weights are laid out anew, only the table of tokens is left in the model.
    """
    if _is_packed(dtype, device):
        tower = FastText(model)
        model.transformer.to("meta")
        return _unit_length(tower)
    for name, part in model.named_children():
        if name not in ("visual", "evidence"):
            to_precision(part, dtype)
            part.to(device)
    for name in ("positional_embedding", "text_projection"):
        parameter = model.get_parameter(name)
        parameter.data = parameter.data.to(device, dtype)
    return _unit_length(model.encode_text)


def _is_packed(dtype: torch.dtype, device: torch.device) -> bool:
    """float32 stays in the plain layers, whose outputs are the reference's."""
    return device.type == "cpu" and dtype == torch.bfloat16 and onednn_linear.is_available()


def _unit_length(encode: Callable[[Tensor], Tensor]) -> Tower:
    return lambda inputs: F.normalize(encode(inputs).float(), dim=-1)
