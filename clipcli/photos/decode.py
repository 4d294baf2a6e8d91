"""A photograph's file to the pixels that a model takes. Every way to fail is a PhotoError."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipcli.errors import UsageError
from clipcli.photos.memory import DEFAULT_MAX_MEGAPIXELS
from clipcli.photos.open_picture import (
    decoded,
    open_photo,
    open_picture,
    scale_while_decoding,
)
from clipcli.photos.photo_file import PhotoFile
from clipcli.photos.preprocess import PreprocessConfig, fit_square, pixel_array, resized_size
from clipcli.photos.upright import upright
from clipcli.records import Fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    file: PhotoFile, path: str, config: PreprocessConfig, options: DecodeOptions
) -> Decoded:
    """The same for a file that is open already."""
    fit = "crop" if options.reference else options.fit
    with open_picture(file, path, options.max_megapixels) as picture:
        is_wide = max(picture.size) > WIDE_RATIO * min(picture.size)
        if not (options.exact or options.reference):
            width, height = resized_size(picture.size, config, fit)
            scale_while_decoding(picture, width * config.draft_scale, height * config.draft_scale)
        with decoded(picture, file, options.max_megapixels, in_strips=not options.reference):
            seen = picture if options.reference else upright(picture)
            square = fit_square(seen, config, fit).convert("RGB")
            return Decoded(
                pixel_array(square), is_wide and fit == "crop" and config.rule == "shortest"
            )
