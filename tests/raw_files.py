"""Camera raw files made by hand: DNGs with a plane of Bayer pixels, and a JPEG preview or none.

The camera's colours are linear sRGB under its white, so the developed scene is the scene.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SRATIONAL = 1, 2, 3, 4, 5, 10
_CODES = {_BYTE: "B", _ASCII: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "I", _SRATIONAL: "i"}
_PREVIEW, _JPEG, _UNCOMPRESSED, _YCBCR, _BAYER = 1, 7, 1, 6, 32803
_XYZ_TO_SRGB = (3.2405, -1.5371, -0.4985, -0.9693, 1.8760, 0.0416, 0.0556, -0.2040, 1.0573)
_DAYLIGHT = 21

Tag = tuple[int, int, list[int]]  # number, type, values; of rationals numerator and denominator


def jpeg(pixels: NDArray[np.uint8], orientation: int | None = None) -> bytes:
    """A preview of uint8 [h, w, 3] as it is given, which says how it lies, or nothing of that."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=95, subsampling=0, exif=exif)
    start, jfif, rest = np.split(np.frombuffer(written.getvalue(), np.uint8), [2, 20])
    return (start if orientation else np.append(start, jfif)).tobytes() + rest.tobytes()


def bayer(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """What a sensor sees of uint8 [h, w, 3]: linear, red and green over green and blue."""
    linear = (65535 * (pixels / 255.0) ** 2.2).astype(np.uint16)
    plane = linear[..., 1].copy()
    plane[::2, ::2] = linear[::2, ::2, 0]
    plane[1::2, 1::2] = linear[1::2, 1::2, 2]
    return plane


def save_dng(
    path: Path, pixels: NDArray[np.uint8], orientation: int = 1, preview: bytes | None = None
) -> Path:
    """A DNG of the scene uint8 [h, w, 3] as the sensor saw it; the preview comes first in it."""
    path.write_bytes(dng(pixels, orientation, preview))
    return path


def dng(pixels: NDArray[np.uint8], orientation: int = 1, preview: bytes | None = None) -> bytes:
    """The bytes of such a file; width and height must be even."""
    height, width = pixels.shape[:2]
    plane = bayer(pixels).tobytes()
    camera: list[Tag] = [
        (271, _ASCII, [*b"Maker\0"]),
        (272, _ASCII, [*b"Camera\0"]),
        (274, _SHORT, [orientation]),
        (50706, _BYTE, [1, 4, 0, 0]),  # DNGVersion
        (50708, _ASCII, [*b"Maker Camera\0"]),  # UniqueCameraModel
        (50721, _SRATIONAL, [n for x in _XYZ_TO_SRGB for n in (round(x * 10_000), 10_000)]),
        (50728, _RATIONAL, [1, 1] * 3),  # AsShotNeutral
        (50778, _SHORT, [_DAYLIGHT]),
    ]
    raw: list[Tag] = [
        *_strip(width, height, _UNCOMPRESSED, _BAYER, [16], len(plane)),
        (33421, _SHORT, [2, 2]),  # CFARepeatPatternDim
        (33422, _BYTE, [0, 1, 1, 2]),  # CFAPattern
        (50717, _LONG, [65535]),  # WhiteLevel
    ]
    if preview is None:
        return _tiff([[(254, _LONG, [0]), *camera, *raw]], [plane])
    with Image.open(io.BytesIO(preview)) as picture:
        size = picture.size
    small = _strip(*size, _JPEG, _YCBCR, [8] * 3, len(preview))
    first = [(254, _LONG, [_PREVIEW]), *camera, *small, (330, _LONG, [0])]
    return _tiff([first, [(254, _LONG, [0]), *raw]], [preview, plane])


def _strip(
    width: int, height: int, compression: int, photometric: int, bits: list[int], n_bytes: int
) -> list[Tag]:
    return [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, bits),
        (259, _SHORT, [compression]),
        (262, _SHORT, [photometric]),
        (273, _LONG, [0]),  # where the strip is: filled in below
        (277, _SHORT, [len(bits)]),
        (278, _LONG, [height]),
        (279, _LONG, [n_bytes]),
    ]


def _tiff(directories: list[list[Tag]], strips: list[bytes]) -> bytes:
    """Little-endian: the directories, of which the second is below the first, then the strips."""
    sizes = [len(_directory(tags, 0)) for tags in directories]
    starts = [8 + sum(sizes[:n]) for n in range(len(sizes))]
    place = 8 + sum(sizes)
    written = struct.pack("<2sHI", b"II", 42, 8)
    for tags, start, strip in zip(directories, starts, strips, strict=True):
        filled = {273: [place], 330: [starts[-1]]}
        placed = [(tag, kind, filled.get(tag, values)) for tag, kind, values in tags]
        written += _directory(placed, start)
        place += len(strip)
    return written + b"".join(strips)


def _directory(tags: list[Tag], start: int) -> bytes:
    """TIFF 6.0, section 2: entries in order, and behind them the values longer than 4 bytes."""
    place = start + 2 + 12 * len(tags) + 4
    entries, behind = b"", b""
    for tag, kind, values in sorted(tags):
        packed = struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
        count = len(values) // (2 if kind in (_RATIONAL, _SRATIONAL) else 1)
        if len(packed) > 4:
            value = struct.pack("<I", place + len(behind))
            behind += packed + b"\0" * (len(packed) % 2)
        else:
            value = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, count) + value
    return struct.pack("<H", len(tags)) + entries + bytes(4) + behind
