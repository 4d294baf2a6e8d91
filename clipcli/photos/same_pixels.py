"""Whether two files hold the same picture, whatever they say about it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from clipcli.errors import PhotoError, one_line
from clipcli.photos.memory import DEFAULT_MAX_MEGAPIXELS
from clipcli.photos.open_picture import decoded, open_photo, open_picture

ROWS_AT_ONCE = 256
PIECE_BYTES = 1 << 20
MAX_DIRECTORIES = 10_000  # of a TIFF: its pages and the pictures in them
# where a TIFF says that its pixels are: strips, tiles, an old JPEG
_PLACES = ((273, 279), (324, 325), (513, 514))
_SUB_DIRECTORIES = 330


def same_pixels(path: str, other: str) -> bool:
    """Whether all frames of two pictures are equal, pixel by pixel.

    Of TIFF and DNG the stored bytes are compared instead, of all pages and previews: not everything
    in a DNG can be decoded. Raises PhotoError for what is damaged, OSError for what cannot be read.
    """
    with ThreadPoolExecutor(2) as pool:
        pixels, others = pool.map(_pixels_of, (path, other))
    return pixels == others


def _pixels_of(path: str) -> list[bytes]:
    """A digest of each picture in a file."""
    with open(path, "rb") as file:
        if file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            try:
                return [*_stored(file)]
            except PhotoError:
                raise
            except Exception as error:  # of a damaged file, which can be anything
                raise PhotoError(f"damaged TIFF: {one_line(str(error))}") from error
    # what is read here was read before, within the run's own limit
    with open_photo(path) as file, open_picture(file, path, DEFAULT_MAX_MEGAPIXELS) as picture:
        digests = []
        with decoded(picture, file, DEFAULT_MAX_MEGAPIXELS, in_strips=False):
            for frame in range(getattr(picture, "n_frames", 1)):
                picture.seek(frame)
                colours = picture.getpalette(None), picture.info.get("transparency")
                digest = hashlib.blake2b(f"{picture.mode} {picture.size} {colours}".encode())
                width, height = picture.size
                for top in range(0, height, ROWS_AT_ONCE):
                    rows = picture.crop((0, top, width, min(top + ROWS_AT_ONCE, height)))
                    digest.update(rows.tobytes())
                digests.append(digest.digest())
        return digests


def _stored(file: BinaryIO) -> Iterator[bytes]:
    """A digest of the stored pixels of each directory of a TIFF."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    file.seek(0)
    header = file.read(16)
    is_big = header[2:4] in (b"+\0", b"\0+")
    first = ImageFileDirectory_v2(header if is_big else header[:8]).next
    waiting, seen = [first], set[int]()
    while waiting:
        offset = waiting.pop()
        if not offset or offset in seen:
            continue
        seen.add(offset)
        if len(seen) > MAX_DIRECTORIES:
            raise PhotoError(f"more than {MAX_DIRECTORIES:,} pictures in it")
        directory = ImageFileDirectory_v2(header if is_big else header[:8])
        file.seek(offset)
        directory.load(file)
        yield _digest(file, directory)
        waiting += [directory.next, *reversed(_numbers(directory.get(_SUB_DIRECTORIES)))]


def _digest(file: BinaryIO, directory: Mapping[int, Any]) -> bytes:
    digest = hashlib.blake2b()
    for offsets, counts in _PLACES:
        places = zip(
            _numbers(directory.get(offsets)), _numbers(directory.get(counts)), strict=False
        )
        for offset, n_bytes in places:
            file.seek(offset)
            left = min(n_bytes, os.fstat(file.fileno()).st_size)
            while left and (piece := file.read(min(left, PIECE_BYTES))):
                digest.update(piece)
                left -= len(piece)
    return digest.digest()


def _numbers(value: Any) -> list[int]:
    if value is None:
        return []
    return [int(one) for one in value] if isinstance(value, tuple) else [int(value)]
