"""What a picture takes in memory while it is decoded, known before it is.

The figures were measured with Pillow 13.0: the peak of a process that decodes 16 megapixels.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from clipcli.errors import PhotoError
from clipcli.photos.preprocess import is_long

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

DEFAULT_MAX_MEGAPIXELS = 250.0
ROUNDING_BYTES = 10_000_000  # so that an RGB picture of just the limit is within it
BYTES_OF_RGB = 4  # a pixel, as Pillow stores it
_BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}

# bytes a pixel that a decoder holds besides the picture, by Pillow's name of the decoder or format
_BESIDES = {
    "WEBP": 12.0,  # two canvases of RGBA, and their copy
    "HEIF": 4.8,
    "GIF": 1.0,
    "RAW": 23.0,  # of which four are one of half the width and height, in a process of its own
    "qoi": 4.0,
    "dds_rgb": 4.0,
    "SGI16": 4.0,
    "ppm": 36.0,  # of an odd scale, or numbers as text
    "ppm_plain": 36.0,
}
_BESIDES_A_BAND = {
    "JPEG2000": 6.0,  # 32 bits, and a copy of up to 16
    "AVIF": 3.4,  # up to 16 bits, and two copies
}
_BESIDES_DEEP_HEIF = 12.0  # more than 8 bits, or colours that are not halved
BYTES_OF_SIDE = 48  # a pixel of the long side: rows that a decoder holds, weights of the resize
_ORIENTATION, _ROWS_IN_STRIP, _TILE_WIDTH, _TILE_LENGTH = 274, 278, 322, 323  # of TIFF 6.0
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _PHOTOMETRIC, _COMPRESSION = 258, 277, 262, 259
_YCBCR = 6
_JPEG_OR_WEBP = (6, 7, 34892, 50001)


def decoding_bytes(picture: ImageFile, held_bytes: int, in_strips: bool) -> int:
    """The most that decoding takes, for a picture that is open and scaled but not loaded.

    held_bytes: what Pillow has read of the file to open it, which it keeps and may copy.
    in_strips: it is converted as `upright` does; otherwise RGBA is copied to be resized.
    """
    n_pixels = picture.width * picture.height
    stored = _BYTES_OF_MODE.get(picture.mode, 4)
    per_pixel = stored + _besides(picture)
    is_rgb = picture.mode == "RGB" and not picture.has_transparency_data
    is_premultiplied = not in_strips and picture.mode in ("RGBA", "LA")
    if is_premultiplied or (is_long(picture.size) and not is_rgb):
        per_pixel += BYTES_OF_RGB
    total = n_pixels * per_pixel + BYTES_OF_SIDE * max(picture.size) + 2 * held_bytes
    if picture.format in ("JPEG", "MPO"):
        total += _coefficient_bytes(picture)
    if picture.format == "TIFF":
        total += _besides_tiff(picture, n_pixels * stored)
    if _decoder(picture) == "sgi_rle":  # which reads the file whole
        total += _file_bytes(picture)
    return int(total)


def _besides(picture: ImageFile) -> float:
    """Bytes a pixel that the decoder holds besides the picture."""
    format = picture.format or ""
    if format in _BESIDES_A_BAND:
        return _BESIDES_A_BAND[format] * len(picture.getbands())
    is_deep = picture.info.get("bit_depth", 8) > 8 or picture.info.get("chroma", 420) != 420
    if format == "HEIF" and is_deep:
        return _BESIDES_DEEP_HEIF
    return _BESIDES.get(_decoder(picture), _BESIDES.get(format, 0.0))


def _decoder(picture: ImageFile) -> str:
    return picture.tile[0][0] if picture.tile else ""


def _coefficient_bytes(picture: ImageFile) -> int:
    """Of a JPEG in several scans, all of whose coefficients are held, whatever it is scaled to."""
    layers: list[tuple[int, int, int, int]] = picture.layer  # type: ignore[attr-defined]
    # of an MPO the place of the header is not known here
    is_in_scans = "progressive" in picture.info or picture.format == "MPO"
    if not is_in_scans and not _is_first_scan_partial(picture, len(layers)):
        return 0
    scale = picture.decoderconfig[0] if picture.decoderconfig else 1
    n_pixels = picture.width * picture.height * scale**2
    n_blocks = sum(across * down for _, across, down, _ in layers)
    most = max(layer[1] for layer in layers) * max(layer[2] for layer in layers)
    return 2 * n_pixels * n_blocks // max(most, 1)


def _is_first_scan_partial(picture: ImageFile, n_components: int) -> bool:
    """Whether the scan's header, which Pillow has just read, has fewer components than there are:
    FF DA, its length of 6 + 2 n, n components."""
    assert picture.fp is not None
    end = picture.fp.tell()
    for n in range(1, n_components):
        length = 6 + 2 * n
        picture.fp.seek(end - length - 2)
        if picture.fp.read(4) == bytes([0xFF, 0xDA, 0, length]):
            return True
    return False


def _besides_tiff(picture: ImageFile, stored_bytes: int) -> int:
    """Pillow turns a TIFF in a copy; libtiff maps the file, and holds a strip or tile."""
    tags: Any = picture.tag_v2  # type: ignore[attr-defined]
    turned = stored_bytes if tags.get(_ORIENTATION, 1) != 1 else 0
    if _decoder(picture) != "libtiff":
        return turned
    if _TILE_WIDTH in tags:
        n_pixels = tags[_TILE_WIDTH] * tags.get(_TILE_LENGTH, 1)
    else:
        n_pixels = picture.width * min(tags.get(_ROWS_IN_STRIP, picture.height), picture.height)
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,))) * tags.get(_SAMPLES_PER_PIXEL, 1)
    per_pixel = bits / 8
    if tags.get(_PHOTOMETRIC) == _YCBCR:
        per_pixel += BYTES_OF_RGB
    if tags.get(_COMPRESSION) in _JPEG_OR_WEBP:
        per_pixel += 8
    return turned + int(n_pixels * per_pixel) + _file_bytes(picture)


def _file_bytes(picture: ImageFile) -> int:
    assert picture.fp is not None
    return os.fstat(picture.fp.fileno()).st_size


def check_size(size: tuple[int, int], max_megapixels: float) -> None:
    """Raises PhotoError for a picture of more than the limit."""
    width, height = size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise PhotoError(
            f"{width} x {height} is {megapixels:,.0f} megapixels, the limit is"
            f" {max_megapixels:,.0f}; pass --max-megapixels {megapixels + 1:.0f} to read it"
        )


def check_bytes(
    size: tuple[int, int], format: str | None, n_bytes: int, max_megapixels: float
) -> None:
    """Raises PhotoError for a picture that takes more memory than one of the limit as RGB.

    No less than by default is allowed: who lowers the limit wants no large pictures, and small
    ones of every format.
    """
    limit_bytes = int(BYTES_OF_RGB * 1e6 * max(max_megapixels, DEFAULT_MAX_MEGAPIXELS))
    if n_bytes > limit_bytes + ROUNDING_BYTES:
        width, height = size
        raise PhotoError(
            f"{width} x {height} is {width * height / 1e6:,.0f} megapixels, which as {format} takes"
            f" {n_bytes / 1e9:,.1f} GB, the limit is {limit_bytes / 1e9:,.1f} GB; pass"
            f" --max-megapixels {math.ceil(n_bytes / BYTES_OF_RGB / 1e6)} to read it"
        )
