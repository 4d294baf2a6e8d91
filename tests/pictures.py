"""Small pictures of awkward kinds, written to real files."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Image as Picture
from places import ROOT

ORIENTATIONS = range(1, 9)

# before a test's own lines: nothing that needs a right may be imported after this
DROP_RIGHTS = """
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


def noise(width: int, height: int, seed: int = 0) -> Picture:
    """An RGB picture in which no pixel is like its neighbour."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def soft(width: int, height: int, seed: int = 0) -> Picture:
    """An RGB picture that compresses like a photograph."""
    return noise(width // 10, height // 10, seed).resize((width, height), Image.Resampling.BICUBIC)


def save(path: Path, picture: Picture | None = None, format: str | None = None) -> Path:
    (picture or noise(24, 16)).save(path, format)
    return path


def stored_lying(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """How a camera stores `upright` [h, w, 3] under an EXIF orientation.

    EXIF 2.32, 4.6.4: which side of the scene the first row and the first column are.
    """
    turned = upright.transpose(1, 0, 2)
    return {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: turned,  # left, top
        6: turned[::-1],  # right, top
        7: turned[::-1, ::-1],  # right, bottom
        8: turned[:, ::-1],  # left, bottom
    }[orientation]


def save_turned(path: Path, upright: NDArray[np.uint8], orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored_lying(upright, orientation)).save(path, exif=exif)
    return path


def save_frames(path: Path, format: str, colours: Iterable[str], **options: object) -> Path:
    """An animation, or the several pictures of an MPO, of one colour each."""
    first, *others = [Image.new("RGB", (16, 16), colour) for colour in colours]
    first.save(path, format, save_all=True, append_images=others, **options)
    return path


def save_truncated_jpeg(path: Path) -> Path:
    soft(160, 120).save(path, "JPEG")
    os.truncate(path, path.stat().st_size // 2)
    return path


def save_postscript(path: Path) -> Path:
    """An EPS that Pillow hands to Ghostscript, when it is let."""
    path.write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
        "0 0 10 10 rectfill\nshowpage\n%%EOF\n"
    )
    return path


def save_bomb(path: Path, side: int = 50_000) -> Path:
    """A whole black PNG of side * side pixels, in a small file."""
    row = bytes(1 + (side + 7) // 8)
    compressor = zlib.compressobj(1)
    rows_at_once = 500
    data = b"".join(compressor.compress(row * rows_at_once) for _ in range(side // rows_at_once))
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data + compressor.flush()), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    )
    return path


def python(code: str, folder: Path, **environment: str) -> str:
    """What a child process prints that runs `code` in `folder`; stderr comes with it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.stdout.decode()
