"""A network's image encoder on its devices, and in int8 only where that changes little."""

from __future__ import annotations

import copy
import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clipcli.network.vision_transformer import VisionTransformer
from clipcli.photos.preprocess import PreprocessConfig
from clipcli.records import Precision
from clipcli.runtime import int8_linear, onednn_linear
from clipcli.runtime.device_pool import DeviceEncoder, DevicePool
from clipcli.runtime.devices import choose_precision, devices_of, dtype_of
from clipcli.runtime.forward import Forward, image_forward, int8_image_forward

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.99
# of a core: 41 photographs for a model of 224 pixels, 2 for one of 1,024, where a whole batch would
# take 3 GB
_PIXELS_AT_ONCE = 1 << 21


def open_image_encoder(
    visual: nn.Module,
    preprocess: PreprocessConfig,
    device: torch.device,
    precision: Precision,
    *,
    compiled: bool = False,
    is_tried: bool = False,
) -> tuple[DevicePool, Precision]:
    """The image encoder, and its precision: another one where int8 does not suit the model.

    visual: in float32 on the CPU, and not to be used afterwards. is_tried: an earlier run has
    found that int8 suits this model.
    """
    n_cores, n_at_once = torch.get_num_threads(), max(1, _PIXELS_AT_ONCE // preprocess.px**2)
    if precision == "int8":
        forward = _int8_forward(visual, preprocess, device, is_tried)
        if forward is not None:
            visual.to("meta")  # its weights are in `forward` now
            return DevicePool.of_cores(forward, n_cores, n_at_once), "int8"
        precision = choose_precision("auto", device)
    devices = devices_of(device)
    dtype = dtype_of(precision)
    if device.type == "cpu" and not compiled:
        forward = image_forward(visual, preprocess, dtype, device)
        return DevicePool.of_cores(forward, n_cores, n_at_once), precision
    copies = [visual, *(copy.deepcopy(visual) for _ in devices[1:])]
    encoders = [
        DeviceEncoder(
            image_forward(one, preprocess, dtype, place, compiled=compiled), place, compiled
        )
        for one, place in zip(copies, devices, strict=True)
    ]
    return DevicePool(encoders), precision


def _int8_forward(
    visual: nn.Module, preprocess: PreprocessConfig, device: torch.device, is_tried: bool
) -> Forward | None:
    """The image encoder in int8, or None and a note why not."""
    if not isinstance(visual, VisionTransformer):
        logger.info(
            "int8 is for vision transformers, and this model is none: --precision auto instead"
        )
        return None
    if not (int8_linear.is_available() and onednn_linear.is_available()):
        logger.info("this PyTorch has no int8 products: --precision auto instead")
        return None
    forward = int8_image_forward(visual, preprocess, dtype_of("int8"))
    if not is_tried:
        exact = image_forward(visual, preprocess, torch.float32, device)
        cosine = lowest_cosine(exact, forward, preprocess.px)
        if not cosine >= LEAST_COSINE:  # true for NaN, too
            logger.info(
                f"int8 changes this model's embeddings too much (a cosine of {cosine:.3f} to"
                f" float32, {LEAST_COSINE} is the least): --precision auto instead"
            )
            return None
    return forward


def lowest_cosine(exact: Forward, tried: Forward, px: int) -> float:
    """The lowest cosine between two encoders' embeddings, on the CPU, of six synthetic pictures."""
    pixels = torch.from_numpy(fixed_pictures(px))
    with torch.inference_mode():
        return float((exact(pixels) * tried(pixels)).sum(dim=1).min())


def fixed_pictures(px: int) -> NDArray[np.uint8]:
    """uint8 [6, px, px, 3]: gradients, shapes on them, waves, grain; dark, light and colourful.

    Photographs are smooth with edges; a model has never seen anything like noise alone.
    """
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:px, 0:px] / px
    ramps = np.stack([x, y, 1 - x], axis=-1)
    waves = np.stack([np.sin(2 * np.pi * (2 + c) * (x + c * y / 3)) for c in range(3)], axis=-1)
    disc = (np.hypot(x - 0.4, y - 0.6) < 0.25)[..., None]
    bars = ((x * 8).astype(int) % 2 == 0)[..., None]
    grain = random.normal(size=(px, px, 3))
    pictures = [
        ramps,
        np.where(disc, [0.9, 0.2, 0.1], 0.3 + 0.4 * ramps),
        0.5 + 0.4 * waves,
        np.where(bars, 0.15, 0.1 + 0.1 * ramps) + 0.02 * grain,
        np.where(disc, 0.95, 0.7 + 0.2 * ramps) + 0.05 * grain,
        0.5 + 0.25 * grain,
    ]
    return np.clip(np.round(255 * np.stack(pictures)), 0, 255).astype(np.uint8)
