"""Formats for which Pillow takes memory while it opens a file: how much, before it does."""

from __future__ import annotations

import os
import struct

from clipcli.photos.memory import BYTES_OF_RGB, BYTES_OF_SIDE, check_bytes, check_size
from clipcli.photos.photo_file import PhotoFile

_BITMAP_BYTES = 16  # a pixel of a bitmap in an ICO, and of its mask
_WEBP_BYTES = 16  # two canvases of RGBA, and their copy
_GIF_BYTES = 2  # the picture, and what it is cleared to


def opening_bytes(format: str, file: PhotoFile, max_megapixels: float) -> int:
    """What opening and decoding take of one of these formats, and 0 for another.

    Raises PhotoError for what is too large.
    """
    if format == "ICO":
        size, bytes_a_pixel = _size_in_icon(file)
    elif format == "GIF":
        size, bytes_a_pixel = _size_of_gif(file), _GIF_BYTES
    elif format == "WEBP":
        size, bytes_a_pixel = _size_of_webp(file), _WEBP_BYTES
    else:
        return 0
    check_size(size, max_megapixels)
    n_bytes = size[0] * size[1] * bytes_a_pixel + BYTES_OF_SIDE * max(size)
    if format == "WEBP":
        n_bytes += 2 * os.fstat(file.fileno()).st_size  # read whole, and copied
    check_bytes(size, format, n_bytes, max_megapixels)
    return n_bytes


def _size_in_icon(file: PhotoFile) -> tuple[tuple[int, int], int]:
    """Pillow decodes an icon while it opens it, and the picture inside can be of any size."""
    from PIL.BmpImagePlugin import DibImageFile
    from PIL.IcoImagePlugin import IcoFile  # loaded by now, as are the others
    from PIL.PngImagePlugin import PngImageFile

    file.seek(0)
    start = IcoFile(file).entry[0].offset
    file.seek(start)
    try:
        return PngImageFile(file).size, BYTES_OF_RGB
    except SyntaxError:  # no PNG but a bitmap, with its mask below it
        file.seek(start)
        width, height = DibImageFile(file).size
        return (width, height // 2), _BITMAP_BYTES


def _size_of_gif(file: PhotoFile) -> tuple[int, int]:
    """Pillow fills the place of a first frame that is to be cleared. GIF89a, 18 to 23."""
    file.seek(6)
    width, height, flags = struct.unpack("<HHBxx", file.read(7))
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, os.SEEK_CUR)
    while (kind := file.read(1)) not in (b"", b";"):
        if kind == b",":
            left, top, across, down = struct.unpack("<4H", file.read(8))
            return max(width, left + across), max(height, top + down)
        if kind == b"!":
            file.read(1)
            while (length := file.read(1)) not in (b"", b"\0"):
                file.seek(length[0], os.SEEK_CUR)
    return width, height


def _size_of_webp(file: PhotoFile) -> tuple[int, int]:
    """The decoder clears two canvases. RFC 9649, 2.5 to 2.7."""
    file.seek(12)
    kind, start = file.read(4), file.read(14)
    if kind == b"VP8X":
        width, height = (int.from_bytes(start[place : place + 3], "little") for place in (8, 11))
        return width + 1, height + 1
    if kind == b"VP8L":
        bits = int.from_bytes(start[5:9], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", start[10:14])
    return width & 0x3FFF, height & 0x3FFF
