"""Develops one camera raw file: a program of its own, which `raw.py` starts.

Its arguments are the file and "half" or "full"; it writes a PPM of 8 bits as the sensor lay, or
ends with 1 and the reason.
"""

from __future__ import annotations

import sys

import rawpy


def main(path: str, size: str) -> int:
    out = sys.stdout.buffer
    try:
        with rawpy.RawPy() as raw:
            raw.open_file(path)
            raw.unpack()
            pixels = raw.postprocess(use_camera_wb=True, half_size=size == "half", user_flip=0)
    except rawpy.LibRawError as error:
        out.write(reason(error).encode())
        return 1
    height, width, n_bands = pixels.shape
    out.write(f"{'P5' if n_bands == 1 else 'P6'} {width} {height} 255\n".encode())
    out.write(pixels.data)
    return 0


def reason(error: Exception) -> str:
    """LibRaw's own words, which rawpy leaves as bytes, but for an "Input/output error"."""
    if isinstance(error, rawpy.LibRawIOError):
        return "the file ends too early"
    said = error.args[0] if error.args else type(error).__name__
    return said.decode("ascii", "replace") if isinstance(said, bytes) else str(said)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
