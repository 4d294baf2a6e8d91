"""A decoded picture as a person sees it: turned as its EXIF says, 8 bits, on white.

It is made in strips, each turned, converted and resized along its rows or columns by itself, so
that a large picture is never there twice. Pillow too resizes one after the other, with 8 bits in
between, so the pixels are equal to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import PIL
from PIL import ExifTags, Image

from clipcli.photos.preprocess import Box, Resizable, is_long

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

STRIP_PIXELS = 750_000  # a JPEG of 12 megapixels, scaled for 224, is one strip
_ROWS_ALWAYS_FIRST = int(PIL.__version__.split(".")[0]) < 13

_Turn = Image.Transpose
_TURNS = {  # EXIF 2.32, 4.6.4
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
_SIDEWAYS = {_Turn.TRANSPOSE, _Turn.ROTATE_270, _Turn.TRANSVERSE, _Turn.ROTATE_90}
_LEFT_TO_RIGHT = {_Turn.FLIP_LEFT_RIGHT, _Turn.ROTATE_180, _Turn.ROTATE_270, _Turn.TRANSVERSE}
_UPSIDE_DOWN = {_Turn.FLIP_TOP_BOTTOM, _Turn.ROTATE_180, _Turn.ROTATE_90, _Turn.TRANSVERSE}


def upright(picture: Picture) -> Resizable:
    """The picture itself where it is upright RGB already, else in strips."""
    turn = None
    # EXIF may be damaged, which raises many kinds of errors, while the picture is whole
    with suppress(Exception):
        turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None and _is_rgb(picture) else _Strips(picture, turn)


def _is_rgb(picture: Picture) -> bool:
    return picture.mode == "RGB" and not picture.has_transparency_data


class _Strips:
    """`size`: of the upright picture."""

    def __init__(self, picture: Picture, turn: Image.Transpose | None) -> None:
        self._stored = picture
        self._turn = turn
        self.size = picture.size[::-1] if turn in _SIDEWAYS else picture.size
        self._full_scale = _full_scale(picture)

    def resize(self, size: tuple[int, int], resample: int, box: Box | None = None) -> Picture:
        """RGB, as Pillow's function of this name makes it."""
        width, height = self.size
        left, top, right, bottom = box = box or (0, 0, width, height)
        if is_long(self.size) and _is_rgb(self._stored):  # turned when it is small
            lying = size[::-1] if self._turn in _SIDEWAYS else size
            small = self._stored.resize(lying, resample, self._stored_box(box))
            return small if self._turn is None else small.transpose(self._turn)
        if width * height <= STRIP_PIXELS or is_long(self.size):
            return self._whole().resize(size, resample, box)
        if _rows_come_first(self.size, size):
            between = Image.new("RGB", (size[0], height))
            for first, last in _ranges(height, max(width, size[0])):
                n = last - first
                strip = self._part((0, first, width, last))
                strip = strip.resize((size[0], n), resample, (left, 0, right, n))
                between.paste(strip, (0, first))
            return between.resize(size, resample, (0, top, size[0], bottom))
        between = Image.new("RGB", (width, size[1]))
        for first, last in _ranges(width, height):
            n = last - first
            strip = self._part((first, 0, last, height))
            between.paste(strip.resize((n, size[1]), resample, (0, top, n, bottom)), (first, 0))
        return between.resize(size, resample, (left, 0, right, size[1]))

    def _whole(self) -> Picture:
        width, height = self.size
        if width * height <= STRIP_PIXELS:
            return self._part((0, 0, width, height))
        whole = Image.new("RGB", self.size)
        for first, last in _ranges(height, width):
            whole.paste(self._part((0, first, width, last)), (0, first))
        return whole

    def _part(self, box: Box) -> Picture:
        """A part of the upright picture, RGB."""
        part = _cut(self._stored, self._stored_box(box))
        if self._turn is not None:
            part = part.transpose(self._turn)
        return _rgb_on_white(part, self._full_scale)

    def _stored_box(self, box: Box) -> Box:
        """Where a part of the upright picture is stored."""
        left, top, right, bottom = box
        if self._turn in _LEFT_TO_RIGHT:
            left, right = self.size[0] - right, self.size[0] - left
        if self._turn in _UPSIDE_DOWN:
            top, bottom = self.size[1] - bottom, self.size[1] - top
        is_sideways = self._turn in _SIDEWAYS
        return (top, left, bottom, right) if is_sideways else (left, top, right, bottom)


def _rows_come_first(size: tuple[int, int], resized: tuple[int, int]) -> bool:
    """As Pillow decides: before version 13 always, since then unless the height shrinks by more
    than twice as many pixels as the width."""
    shrink_x, shrink_y = (before - after for before, after in zip(size, resized, strict=True))
    return _ROWS_ALWAYS_FIRST or not (shrink_y > 0 and shrink_y > 2 * shrink_x)


def _ranges(n_lines: int, n_pixels: int) -> Iterator[tuple[int, int]]:
    """First line and end of each strip, whose lines have so many pixels."""
    step = max(1, STRIP_PIXELS // n_pixels)
    for first in range(0, n_lines, step):
        yield first, min(first + step, n_lines)


def _cut(picture: Picture, box: Box) -> Picture:
    """`Image.crop`, which would apply Pillow's global limit, without that."""
    left, top, right, bottom = box
    if box == (0, 0, *picture.size):
        return picture
    size = (int(right - left), int(bottom - top))
    return picture.resize(size, Image.Resampling.NEAREST, box)


def _rgb_on_white(picture: Picture, full_scale: float) -> Picture:
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(picture, full_scale)).convert("RGB")
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, "white")
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return picture if _is_rgb(picture) else picture.convert("RGB")


def _eight_bits(grey: Picture, full_scale: float) -> NDArray[np.uint8]:
    """Grey of 16 or more bits, or floats, scaled to 0..255 instead of clipped."""
    values = _finite(grey)
    values *= 255 / full_scale
    np.rint(values, out=values)
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def _full_scale(picture: Picture) -> float:
    """What becomes 255 of grey with more than 8 bits.

    Integers fill 16 bits, as Pillow reads them from PNG, PGM and TIFF; floats are in 0..1,
    0..255 or 0..65535, the smallest of these that holds them all. Values beyond are divided by
    their own maximum.
    """
    if picture.mode not in ("I", "F"):
        return 65535.0
    width, height = picture.size
    strips = (_cut(picture, (0, a, width, b)) for a, b in _ranges(height, width))
    peak = max((float(_finite(strip).max(initial=0.0)) for strip in strips), default=0.0)
    full_scales = (1.0, 255.0, 65535.0) if picture.mode == "F" else (65535.0,)
    return next((scale for scale in full_scales if peak <= scale), peak)


def _finite(grey: Picture) -> NDArray[np.float64]:
    return np.nan_to_num(np.asarray(grey).astype(np.float64), copy=False)
