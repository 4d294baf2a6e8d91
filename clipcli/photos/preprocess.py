"""A picture to what the image encoder takes: resized, cut to a square, normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from PIL import Image

from clipcli.records import Fit

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# Published CLIPs see 448 pixels, their successors 1,024 at most; one for 4,800 takes 5.6 GB for a
# single photograph
MAX_PX = 1024
# The darkest and the brightest pixel lie 1 / std apart. Published: 0.26 to 1, and 1 / 255 for a
# model that counts from 0 to 255
MIN_STD, MAX_STD = 0.001, 10.0
MIN_CROP_SHARE = 0.1  # below, a hundredth of the picture's middle would speak for all of it
MAX_DRAFT_SCALE = 16.0

Resample = Literal["bicubic", "bilinear"]
# the short side to px, then its middle; both sides to px; the long side to px, on black
ResizeRule = Literal["shortest", "squash", "longest"]
Box = tuple[float, float, float, float]  # left, top, right, bottom

# A picture longer than this many times its short side is not resized as a whole before it is cut:
# 1 x 60,000 would become 224 x 13,440,000. Its pixels are within two of 255 levels of those of the
# whole, and within 32 where all is noise; all others are the published ones to the bit.
LONG_RATIO = 16

_PIL_RESAMPLE = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


class Resizable(Protocol):
    """What is needed of a picture here: a part of Pillow's `Image`."""

    @property
    def size(self) -> tuple[int, int]: ...

    def resize(self, size: tuple[int, int], resample: int, box: Box | None = None) -> Picture: ...


@dataclass(frozen=True)
class PreprocessConfig:
    """What a model was trained to see. It belongs to the model and travels with it.

    px: side of the square input in pixels; mean and std: of each channel, for values in 0..1;
    crop_share: side of the central square as a share of the picture's short side; rule: how a
    picture becomes a square.
    draft_scale: JPEGs may be scaled down while they are decoded, to this many times the size
    that they are then resized to.
    """

    px: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resample: Resample = "bicubic"
    crop_share: float = 1.0
    draft_scale: float = 2.0
    rule: ResizeRule = "shortest"

    def __post_init__(self) -> None:
        """Raises ValueError for what no model was trained with; NaN lies in none of the ranges."""
        for name, values, least, most in (
            ("px", (self.px,), 1, MAX_PX),
            ("mean", self.mean, 0, 1),
            ("std", self.std, MIN_STD, MAX_STD),
            ("crop_share", (self.crop_share,), MIN_CROP_SHARE, 1),
            ("draft_scale", (self.draft_scale,), 1, MAX_DRAFT_SCALE),
        ):
            for value in values:
                if not least <= value <= most:
                    raise ValueError(f"{name} is {value}; expected {least:,} to {most:,}")


def fit_square(picture: Resizable, config: PreprocessConfig, fit: Fit = "crop") -> Picture:
    """A picture of any shape as the square of px * px that a model sees; "pad" needs RGB.

    "crop" is the rule that the model was trained with.
    """
    if fit == "pad":
        return _pad(picture, config)
    if fit == "squash" or config.rule == "squash":
        return resize_whole(picture, (config.px, config.px), config)
    if config.rule == "longest":
        return _pad(picture, config, black=True)
    crop = _resize_then_crop if config.crop_share == 1 else _resize_middle
    return crop(picture, config)


def is_long(size: tuple[int, int]) -> bool:
    return max(size) > LONG_RATIO * min(size)


def resize_whole(picture: Resizable, size: tuple[int, int], config: PreprocessConfig) -> Picture:
    """All of a picture at this size; that it is bounded is the caller's care."""
    resample = _PIL_RESAMPLE[config.resample]
    width, height = picture.size
    if height > LONG_RATIO * width:  # Pillow resizes rows first, and this one has too many
        picture = picture.resize((width, size[1]), resample)
    return picture.resize(size, resample)


def resized_size(
    size: tuple[int, int], config: PreprocessConfig, fit: Fit = "crop"
) -> tuple[float, float]:
    """Width and height to which `fit_square` resizes a picture of `size`, before any cut."""
    if fit == "squash" or (fit == "crop" and config.rule == "squash"):
        return config.px, config.px
    is_padded = fit == "pad" or config.rule == "longest"
    side = max(size) if is_padded else min(size) * config.crop_share
    return size[0] * config.px / side, size[1] * config.px / side


def _resize_then_crop(picture: Resizable, config: PreprocessConfig) -> Picture:
    """The published rule: short side to px, then the central square.

    Sizes and offsets are rounded as the published code does, so pixels are equal to the bit.
    """
    px = config.px
    short, long = sorted(picture.size)
    long_px = int(px * long / short)
    size = (px, long_px) if picture.size[0] <= picture.size[1] else (long_px, px)
    left, top = (round((side - px) / 2) for side in size)
    resample = _PIL_RESAMPLE[config.resample]
    if is_long(picture.size):
        across, down = (stored / side for stored, side in zip(picture.size, size, strict=True))
        box = (left * across, top * down, (left + px) * across, (top + px) * down)
        return picture.resize((px, px), resample, box)
    return picture.resize(size, resample).crop((left, top, left + px, top + px))


def _resize_middle(picture: Resizable, config: PreprocessConfig) -> Picture:
    """The embedded model's rule: the central square of `crop_share`, resized once."""
    px = config.px
    side = min(picture.size) * config.crop_share
    x, y = ((length - side) / 2 for length in picture.size)
    return picture.resize((px, px), _PIL_RESAMPLE[config.resample], box=(x, y, x + side, y + side))


def _pad(picture: Resizable, config: PreprocessConfig, black: bool = False) -> Picture:
    """All of an RGB picture: long side to px, on the mean colour, or on black."""
    px = config.px
    scale = px / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    # the mean colour becomes zero when it is normalised: the border adds nothing
    border = (0, 0, 0) if black else tuple(round(255 * mean) for mean in config.mean)
    square = Image.new("RGB", (px, px), border)
    resized = resize_whole(picture, (width, height), config)
    square.paste(resized, ((px - width) // 2, (px - height) // 2))
    return square


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

        square = fit_square(picture, self.config).convert("RGB")
        return normalise(torch.from_numpy(pixel_array(square))[None], self.config)[0]


def image_transform(n_px: int) -> ImageTransform:
    """The reference's transform for a published model with pictures of n_px * n_px."""
    return ImageTransform(PreprocessConfig(n_px))
