"""A picture to what the image encoder takes: resized, cut to a square, normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from clipcli.records import Fit

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Resample = Literal["bicubic", "bilinear"]
_PIL_RESAMPLE = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


@dataclass(frozen=True)
class PreprocessConfig:
    """What a model was trained to see. It belongs to the model and travels with it.

    px: side of the square input in pixels; mean and std: of each channel, for values in 0..1;
    crop_share: side of the central square as a share of the picture's short side.
    draft_scale: JPEGs may be scaled down while they are decoded, to this many times the size
    that they are then resized to.
    """

    px: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resample: Resample = "bicubic"
    crop_share: float = 1.0
    draft_scale: float = 2.0


def resize_and_crop(picture: Picture, config: PreprocessConfig) -> Picture:
    """The published resize in the picture's own mode: short side to px, central square.

    Sizes and offsets are rounded as the published code does, so pixels are equal to the bit.
    """
    px = config.px
    if config.crop_share != 1:  # the embedded model's: one resize of the square alone
        side = min(picture.size) * config.crop_share
        x, y = ((length - side) / 2 for length in picture.size)
        return picture.resize(
            (px, px), _PIL_RESAMPLE[config.resample], box=(x, y, x + side, y + side)
        )
    short, long = sorted(picture.size)
    long_px = int(px * long / short)
    size = (px, long_px) if picture.width <= picture.height else (long_px, px)
    resized = picture.resize(size, _PIL_RESAMPLE[config.resample])
    left, top = (round((side - px) / 2) for side in size)
    return resized.crop((left, top, left + px, top + px))


def fit_square(picture: Picture, config: PreprocessConfig, fit: Fit) -> Picture:
    """An RGB picture as a square of px * px: its middle, all of it on a border, or squashed."""
    px = config.px
    if fit == "crop":
        return resize_and_crop(picture, config)
    resample = _PIL_RESAMPLE[config.resample]
    if fit == "squash":
        return picture.resize((px, px), resample)
    scale = px / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    # the mean colour is zero after normalisation: a border that says nothing
    square = Image.new("RGB", (px, px), tuple(round(255 * mean) for mean in config.mean))
    square.paste(picture.resize((width, height), resample), ((px - width) // 2, (px - height) // 2))
    return square


def resized_size(size: tuple[int, int], config: PreprocessConfig, fit: Fit) -> tuple[float, float]:
    """Width and height that a picture of this size is resized to, before anything is cut off."""
    if fit == "squash":
        return config.px, config.px
    side = max(size) if fit == "pad" else min(size) * config.crop_share
    return size[0] * config.px / side, size[1] * config.px / side


def pixel_array(picture: Picture) -> NDArray[np.uint8]:
    """An RGB picture as uint8 [height, width, 3]."""
    return np.array(picture, dtype=np.uint8)  # a copy: PIL's own buffer is read-only


def normalise(pixels: torch.Tensor, config: PreprocessConfig) -> torch.Tensor:
    """uint8 [n, px, px, 3], on any device -> float32 [n, 3, px, px] there."""
    import torch  # not needed to read or resize pictures, and seconds to import

    mean = torch.tensor(config.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(config.std, device=pixels.device).view(3, 1, 1)
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


@dataclass(frozen=True)
class ImageTransform:
    """A model's published transform as a picklable callable.

    PIL image of any mode -> float32 [3, px, px]. No EXIF turn, as in the reference.
    """

    config: PreprocessConfig

    def __call__(self, picture: Picture) -> torch.Tensor:
        import torch

        square = resize_and_crop(picture, self.config).convert("RGB")
        return normalise(torch.from_numpy(pixel_array(square))[None], self.config)[0]


def image_transform(n_px: int) -> ImageTransform:
    """The reference's transform for a published model with pictures of n_px * n_px."""
    return ImageTransform(PreprocessConfig(n_px))
