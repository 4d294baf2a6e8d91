"""A photograph's file to the pixels that a model takes. Every way to fail is a PhotoError."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from clipcli.errors import UsageError
from clipcli.photos.open_picture import (
    DEFAULT_MAX_MEGAPIXELS,
    open_photo,
    open_picture,
    scale_while_decoding,
)
from clipcli.photos.preprocess import PreprocessConfig, fit_square, pixel_array, resized_size
from clipcli.records import Fit

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

WIDE_RATIO = 2.0  # beyond this a central square is less than half of the picture


@dataclass(frozen=True)
class DecodeOptions:
    """How to bring a photograph into a square.

    `reference`: exactly the published preprocessing, without the EXIF turn, the scaling of
    16-bit grey and the white behind transparency. `exact`: JPEGs are decoded in full, which
    `reference` implies.
    """

    fit: Fit = "crop"
    reference: bool = False
    exact: bool = False
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        """Raises UsageError for a limit that is no number, which would be none."""
        if not self.max_megapixels >= 0:
            raise UsageError(f"max_megapixels is {self.max_megapixels}; expected 0 or more")

    @property
    def name(self) -> str:
        """What of this changes an embedding. It stands in caches and files, and never changes."""
        if self.reference:
            return "reference"
        return f"{self.fit} exact" if self.exact else self.fit


@dataclass(frozen=True)
class Decoded:
    """uint8 [px, px, 3]; `middle_only` as in `records.Embedded`."""

    pixels: NDArray[np.uint8]
    middle_only: bool


def decode(path: str, config: PreprocessConfig, options: DecodeOptions) -> Decoded:
    """Read one photograph. Raises PhotoError, without the path, where that cannot be done."""
    with open_photo(path) as file:
        return decode_file(file, path, config, options)


def decode_file(
    file: BufferedReader, path: str, config: PreprocessConfig, options: DecodeOptions
) -> Decoded:
    """The same for a file that is open already."""
    fit = "crop" if options.reference else options.fit
    with open_picture(file, path, options.max_megapixels) as picture:
        is_wide = max(picture.size) > WIDE_RATIO * min(picture.size)
        if not (options.exact or options.reference):
            width, height = resized_size(picture.size, config, fit)
            scale_while_decoding(picture, width * config.draft_scale, height * config.draft_scale)
        picture.load()
        if options.reference:
            square = fit_square(picture, config).convert("RGB")
        else:
            square = fit_square(upright_rgb(picture), config, fit)
        return Decoded(pixel_array(square), is_wide and fit == "crop")


def upright_rgb(picture: Picture) -> Picture:
    """The picture as a person sees it: turned as its EXIF says, 8 bits, on white."""
    # EXIF may be damaged, which raises many kinds of errors, while the picture is whole
    with suppress(Exception):
        ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(picture))).convert("RGB")
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, "white")
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _eight_bits(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey of 16 or more bits, or floats, scaled to 0..255 instead of clipped.

    Integers fill 16 bits, as Pillow reads them from PNG, PGM and TIFF; floats are in 0..1,
    0..255 or 0..65535, the smallest of these that holds them all. Values beyond are divided by
    their own maximum.
    """
    values = np.nan_to_num(grey.astype(np.float64))
    peak = float(values.max(initial=0.0))
    full_scales = (1.0, 255.0, 65535.0) if grey.dtype.kind == "f" else (65535.0,)
    full_scale = next((scale for scale in full_scales if peak <= scale), peak)
    return np.clip(np.rint(values * (255 / full_scale)), 0, 255).astype(np.uint8)
