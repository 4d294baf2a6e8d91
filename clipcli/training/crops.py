"""Photographs to random squares. "A random square crop from resized images is the only data
augmentation used during training" (paper, 2.3); mirroring is ours, and off unless asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipcli.photos.open_picture import (
    decoded,
    open_photo,
    open_picture,
    scale_while_decoding,
)
from clipcli.photos.preprocess import LONG_RATIO, PreprocessConfig, pixel_array
from clipcli.photos.upright import upright

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESIZED_SHARE = 8 / 7  # short side of the resized picture: 256 where the model sees 224


@dataclass
class Pictures:
    """Photographs by number. For any thread.

    Resized ones are kept in memory while `free_bytes` are left; the others are read anew each
    time. What comes out is the same either way.
    """

    paths: Sequence[str]
    config: PreprocessConfig
    flip: bool
    free_bytes: int
    _kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def square(self, number: int, chance: np.random.Generator) -> NDArray[np.uint8]:
        """A random square of a photograph, uint8 [px, px, 3]. Raises PhotoError."""
        picture = self._resized(number)
        px = self.config.px
        top, left = (int(chance.integers(side - px + 1)) for side in picture.shape[:2])
        square = picture[top : top + px, left : left + px]
        return square[:, ::-1] if self.flip and chance.random() < 0.5 else square

    def _resized(self, number: int) -> NDArray[np.uint8]:
        kept = self._kept.get(number)
        if kept is not None:
            return kept
        picture = read_resized(self.paths[number], self.config)
        with self._lock:
            if number not in self._kept and picture.nbytes <= self.free_bytes:
                self.free_bytes -= picture.nbytes
                self._kept[number] = picture
        return picture


def read_resized(path: str, config: PreprocessConfig) -> NDArray[np.uint8]:
    """A photograph, upright, its short side 8/7 of what the model sees: uint8 [height, width, 3].

    Of one that is longer than LONG_RATIO times its short side, the middle.
    Raises PhotoError, without the path.
    """
    short_px = math.ceil(config.px * RESIZED_SHARE)
    with open_photo(path) as file, open_picture(file, path) as picture:
        wanted = config.draft_scale * short_px / min(picture.size)
        scale_while_decoding(picture, picture.width * wanted, picture.height * wanted)
        with decoded(picture, file):
            seen = upright(picture)
            short = min(seen.size)
            width, height = (min(side, LONG_RATIO * short) for side in seen.size)
            left, top = ((seen.size[0] - width) / 2, (seen.size[1] - height) / 2)
            size_px = [max(short_px, round(side * short_px / short)) for side in (width, height)]
            resample = Image.Resampling[config.resample.upper()]
            box = (left, top, left + width, top + height)
            return pixel_array(seen.resize((size_px[0], size_px[1]), resample, box))
