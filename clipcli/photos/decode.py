"""A photograph's file to the pixels that a model takes. Every way to fail is a PhotoError."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clipcli.errors import PhotoError, one_line
from clipcli.photos.find import unreadable_suffix
from clipcli.photos.preprocess import (
    PreprocessConfig,
    fit_square,
    pixel_array,
    resize_and_crop,
    resized_size,
)
from clipcli.records import Fit

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

# An explicit list: some of Pillow's formats start other programs (EPS starts Ghostscript) or
# are stubs. JPEG brings MPO with it. TGA comes last: it has no mark of its own, and ICO passes
# for it.
FORMATS = (
    "JPEG PNG GIF WEBP TIFF BMP DIB PPM JPEG2000 AVIF ICO PCX SGI DDS PSD QOI HEIF TGA".split()
)
DEFAULT_MAX_MEGAPIXELS = 250.0
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

    def describe(self) -> str:
        """What of this changes an embedding, as the options that ask for it."""
        if self.reference:
            return "--reference"
        return f"--fit {self.fit} --exact" if self.exact else f"--fit {self.fit}"


@dataclass(frozen=True)
class Decoded:
    """uint8 [px, px, 3]; `middle_only` as in `records.Embedded`."""

    pixels: NDArray[np.uint8]
    middle_only: bool


def decode(path: str, config: PreprocessConfig, options: DecodeOptions) -> Decoded:
    """Read one photograph. Raises PhotoError, without the path, for any file that is none."""
    with open_photo(path) as file:
        return decode_file(file, path, config, options)


def decode_file(
    file: BufferedReader, path: str, config: PreprocessConfig, options: DecodeOptions
) -> Decoded:
    """The same for a file that is open at its beginning."""
    with _pillow_errors(path, file, options):
        with Image.open(file, formats=readable_formats()) as picture:
            _check_size(picture, options.max_megapixels)
            is_wide = max(picture.size) > WIDE_RATIO * min(picture.size)
            if not (options.exact or options.reference):
                _scale_while_decoding(picture, config, options.fit)
            picture.load()
            if options.reference:
                square = resize_and_crop(picture, config).convert("RGB")
                return Decoded(pixel_array(square), is_wide)
            upright = upright_rgb(picture)
        square = fit_square(upright, config, options.fit)
        return Decoded(pixel_array(square), options.fit == "crop" and is_wide)


def _scale_while_decoding(picture: Picture, config: PreprocessConfig, fit: Fit) -> None:
    """Let the JPEG decoder leave out what the resize would: it halves, quarters or takes eighths,
    but leaves `config.draft_scale` times the size that the picture is resized to."""
    if picture.format in ("JPEG", "MPO"):
        width, height = resized_size(picture.size, config, fit)
        wanted = math.ceil(width * config.draft_scale), math.ceil(height * config.draft_scale)
        picture.draft(None, wanted)


@lru_cache(maxsize=1)
def readable_formats() -> list[str]:
    """Those of `FORMATS` that this installation of Pillow can open."""
    try:
        import pillow_heif  # the extra "heif"

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def upright_rgb(picture: Picture) -> Picture:
    """The picture as a person sees it: turned as its EXIF says, 8 bits, on white."""
    # damaged EXIF, which fails in any of many ways, says nothing about the picture
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
    0..255 or 0..65535, whichever is the smallest that holds them. What exceeds these is scaled
    by its own maximum.
    """
    values = np.nan_to_num(grey.astype(np.float64))
    peak = float(values.max(initial=0.0))
    full_scales = (1.0, 255.0, 65535.0) if grey.dtype.kind == "f" else (65535.0,)
    full_scale = next((scale for scale in full_scales if peak <= scale), peak)
    return np.clip(np.rint(values * (255 / full_scale)), 0, 255).astype(np.uint8)


def open_photo(path: str) -> BufferedReader:
    """Open one photograph's file. Raises PhotoError, without the path, if that cannot be done."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            raise PhotoError("not a regular file")
        return Path(path).open("rb")
    except OSError as error:
        raise PhotoError(error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in the name
        raise PhotoError(str(error)) from error


def _check_size(picture: Picture, max_megapixels: float) -> None:
    megapixels = picture.width * picture.height / 1e6
    if megapixels > max_megapixels:
        size = f"{picture.width} x {picture.height} is {megapixels:,.0f} megapixels"
        raise _too_large(size, megapixels, max_megapixels)


def _too_large(size: str, megapixels: float, max_megapixels: float) -> PhotoError:
    return PhotoError(
        f"{size}, the limit is {max_megapixels:,.0f};"
        f" pass --max-megapixels {megapixels + 1:.0f} to read it"
    )


@contextmanager
def _pillow_errors(path: str, file: BufferedReader, options: DecodeOptions) -> Iterator[None]:
    """Whatever Pillow raises on a bad file, which can be anything, as one PhotoError."""
    try:
        yield
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:  # far too large: Pillow refuses to open it
        megapixels = int(re.findall(r"\d+", str(error))[0]) / 1e6
        size = f"{megapixels:,.0f} megapixels"
        raise _too_large(size, megapixels, options.max_megapixels) from error
    except UnidentifiedImageError as error:
        file.seek(0)
        start = file.read(16)
        if not start:
            raise PhotoError("no picture: the file is empty") from error
        advice = unreadable_suffix(path) or f"expected one of {', '.join(readable_formats())}"
        raise PhotoError(f"no picture: begins with {start!r}; {advice}") from error
    except Exception as error:
        message = one_line(str(error) or type(error).__name__)
        raise PhotoError(f"damaged picture: {message}") from error
