"""Photographs to random squares. "A random square crop from resized images is the only data
augmentation used during training" (paper, 2.3); mirroring is ours, and off unless asked for."""

from __future__ import annotations

import math
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipcli.errors import PhotoError, one_line
from clipcli.photos.decode import open_photo, readable_formats, upright_rgb
from clipcli.photos.preprocess import PreprocessConfig, pixel_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESIZED_SHARE = 8 / 7  # short side of the resized picture: 256 where the model sees 224


class Pictures:
    """Photographs by number. For any thread.

    Resized ones are kept in memory until they fill `memory_bytes`; the others are read anew each
    time. What comes out is the same either way.
    """

    def __init__(
        self, paths: Sequence[str], config: PreprocessConfig, flip: bool, memory_bytes: int
    ) -> None:
        self._paths = paths
        self._config = config
        self._flip = flip
        self._free_bytes = memory_bytes
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._lock = Lock()

    def square(self, number: int, chance: np.random.Generator) -> NDArray[np.uint8]:
        """A random square of a photograph, uint8 [px, px, 3]. Raises PhotoError."""
        picture = self._resized(number)
        px = self._config.px
        top, left = (int(chance.integers(side - px + 1)) for side in picture.shape[:2])
        square = picture[top : top + px, left : left + px]
        return square[:, ::-1] if self._flip and chance.random() < 0.5 else square

    def _resized(self, number: int) -> NDArray[np.uint8]:
        kept = self._kept.get(number)
        if kept is not None:
            return kept
        picture = read_resized(self._paths[number], self._config)
        with self._lock:
            if number not in self._kept and picture.nbytes <= self._free_bytes:
                self._free_bytes -= picture.nbytes
                self._kept[number] = picture
        return picture


def read_resized(path: str, config: PreprocessConfig) -> NDArray[np.uint8]:
    """A photograph, upright, its short side 8/7 of what the model sees: uint8 [height, width, 3].

    Raises PhotoError, without the path.
    """
    short_px = math.ceil(config.px * RESIZED_SHARE)
    try:
        with (
            open_photo(path) as file,
            Image.open(file, formats=readable_formats()) as picture,
        ):
            if picture.format in ("JPEG", "MPO"):
                wanted = config.draft_scale * short_px / min(picture.size)
                width, height = picture.size
                picture.draft(None, (math.ceil(width * wanted), math.ceil(height * wanted)))
            picture.load()
            upright = upright_rgb(picture)
        scale = short_px / min(upright.size)
        width, height = (max(short_px, round(side * scale)) for side in upright.size)
        resample = Image.Resampling[config.resample.upper()]
        return pixel_array(upright.resize((width, height), resample))
    except PhotoError:
        raise
    except Exception as error:  # on a bad file Pillow may raise anything
        message = one_line(str(error) or type(error).__name__)
        raise PhotoError(f"no picture, or a damaged one: {message}") from error
