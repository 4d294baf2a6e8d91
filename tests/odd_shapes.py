"""Pictures of odd shapes, sizes and claims, most of them sparse or a few bytes long."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

SIDE = 15_500  # 240 megapixels
N_BLOCK = 1 << 20
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's number of the colour type


def png(
    width: int, height: int, colour: int = 2, bits: int = 8, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A whole PNG of zeros, made of one block of zeros that is repeated."""
    n_bytes = (1 + (width * bits * PNG_CHANNELS[colour] + 7) // 8) * height
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    if n_bytes < N_BLOCK:
        data = zlib.compress(bytes(n_bytes))
    else:
        compressor = zlib.compressobj(1)
        first, again = (
            compressor.compress(bytes(N_BLOCK)) + compressor.flush(zlib.Z_FULL_FLUSH)
            for _ in range(2)
        )
        n_blocks, n_rest = divmod(n_bytes, N_BLOCK)
        last = zlib.compressobj(1, zlib.DEFLATED, -15)
        data = first + again * (n_blocks - 1) + last.compress(bytes(n_rest)) + last.flush()
        data += struct.pack(">I", (n_bytes % 65521) << 16 | 1)  # Adler-32 of zeros
    image = chunk(b"IDAT", data)
    return b"\x89PNG\r\n\x1a\n" + header + before + image + after + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def sparse(path: Path, start: bytes, n_zeros: int, end: bytes = b"") -> None:
    """A file of many zeros that takes no room on the disk."""
    with path.open("wb") as file:
        file.write(start)
        file.seek(n_zeros, os.SEEK_CUR)
        file.write(end)
        file.truncate(len(start) + n_zeros + len(end))


def tiff(path: Path, size: tuple[int, int], samples: int, bits: int, **more: int) -> None:
    """An uncompressed TIFF of zeros in one strip; more: tags by their numbers, as `t258`."""
    width, height = size
    kinds = {1: 1, 3: 2, 4: 5}  # photometric: grey, RGB, CMYK
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: kinds[samples], 273: 0}
    tags |= {277: samples, 278: height, 279: width * height * samples * bits // 8 & 0xFFFFFFFF}
    tags |= {int(name[1:]): value for name, value in more.items()}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in sorted(tags.items()):
        entries += struct.pack("<HHII", tag, 4, 1, value)
    directory = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    sparse(path, directory, width * height * samples * bits // 8)


def encoded(format: str, size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    stored = io.BytesIO()
    Image.new(mode, size).save(stored, format, **options)
    return stored.getvalue()


def patched(data: bytes, place: int, kind: str, *values: int) -> bytes:
    return data[:place] + struct.pack(kind, *values) + data[place + struct.calcsize(kind) :]


def icon(inside: bytes) -> bytes:
    entry = bytes([16, 16, 0, 0, 1, 0, 24, 0]) + struct.pack("<II", len(inside), 22)
    return b"\0\0\1\0\1\0" + entry + inside


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A claim without pixels: a frame that is to be cleared."""
    start = b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0)
    control = b"!\xf9\x04\x08\0\0\0\0"
    return start + control + b"," + struct.pack("<4HB", 0, 0, *frame, 0) + b"\x08\0;"


def claims() -> Iterator[tuple[str, bytes]]:
    """Pictures that say they are larger than what follows, and some that are hard to hold."""
    progressive = encoded("JPEG", (64, 64), progressive=True, subsampling=0)
    start = progressive.index(b"\xff\xc2")
    yield "progressive claim.jpg", patched(progressive, start + 5, ">HH", SIDE, SIDE)
    baseline = encoded("JPEG", (64, 64), subsampling=0)
    start = baseline.index(b"\xff\xc0")
    yield "claim.jpg", patched(baseline, start + 5, ">HH", SIDE, SIDE)
    scan = baseline.index(b"\xff\xda")
    one = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"  # the first of three scans
    in_scans = patched(baseline, start + 5, ">HH", SIDE, SIDE)[:scan] + one + bytes(100)
    yield "three scans.jpg", in_scans
    lossless = encoded("WEBP", (64, 64), lossless=True)
    yield "claim.webp", patched(lossless, 21, "<I", 14_999 | 14_999 << 14)
    codestream = encoded("JPEG2000", (64, 64), no_jp2=True)
    yield "claim.j2k", patched(codestream, 8, ">8I", SIDE, SIDE, 0, 0, SIDE, SIDE, 0, 0)
    yield "claim.qoi", patched(encoded("QOI", (64, 64)), 4, ">II", SIDE, SIDE)
    yield "claim.dds", patched(encoded("DDS", (64, 64)), 12, "<II", SIDE, SIDE)
    yield "claim.psd", b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, SIDE, SIDE, 8, 3) + bytes(14)
    yield "claim.tga", patched(encoded("TGA", (64, 64)), 12, "<HH", SIDE, SIDE)
    yield "claim.png", png(SIDE, SIDE)[:200]
    yield "frame.gif", gif((10, 10), (65_000, 65_000))
    yield "screen.gif", gif((SIDE, SIDE), (10, 10))
    bitmap = encoded("BMP", (64, 64))[14:]
    yield "bitmap.ico", icon(patched(bitmap, 4, "<ii", 15_000, 20_000) + bytes(512))
    yield "picture.ico", icon(png(8_000, 8_000, colour=6))
    yield "plain.ppm", b"P3 9000 9000 255 " + b"0 " * 100
    yield "odd scale.ppm", b"P6 9000 9000 200 " + bytes(100)


def thin() -> Iterator[tuple[str, bytes]]:
    for width, height in [(1, 60_000), (2, 65_000), (10, 60_000), (60_000, 1), (60_000, 3)]:
        for colour in (2, 6):
            yield f"thin {width} x {height} {colour}.png", png(width, height, colour)
    yield "thin 1 x 10 million.png", png(1, 10_000_000, colour=0)
    yield "240 million x 1 thin.png", png(240_000_000, 1, colour=0)


def write(folder: Path) -> None:
    for name, data in [*thin(), *claims()]:
        (folder / name).write_bytes(data)
    transparent = chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", b"\x80")
    (folder / "rgba.png").write_bytes(png(SIDE, SIDE, colour=6))
    (folder / "palette.png").write_bytes(png(9_000, 9_000, colour=3, before=transparent))
    (folder / "one bit.png").write_bytes(png(SIDE, SIDE, colour=0, bits=1))
    (folder / "grey and alpha.png").write_bytes(png(6_000, 6_000, colour=4))
    tiff(folder / "rgb.tif", (15_811, 15_811), 3, 8)  # just 250 megapixels
    tiff(folder / "grey of 16 bits.tif", (8_000, 8_000), 1, 16)
    tiff(folder / "cmyk.tif", (9_000, 9_000), 4, 8)
    tiff(folder / "float.tif", (5_000, 4_000), 1, 32, t339=3)
    tiff(folder / "integer.tif", (4_000, 4_000), 1, 32)
    tiff(folder / "turned.tif", (SIDE, SIDE), 3, 8, t274=6)
    tiff(folder / "long.tif", (100_000, 2_490), 3, 8)
    tiff(folder / "tall.tif", (1, 8_000_000), 3, 8)
    sparse(folder / "grey.ppm", b"P5 9000 9000 255\n", 9_000**2)
    sparse(folder / "rgb.psd", dict(claims())["claim.psd"], 3 * SIDE * SIDE)
    bitmap = patched(encoded("BMP", (8, 8), "L"), 18, "<ii", 8_000, 8_000)
    sparse(folder / "grey.bmp", bitmap, 8_000**2)
    # what is beside the picture
    small = encoded("WEBP", (64, 64))
    sparse(folder / "long file.webp", patched(small, 4, "<I", 2_000_000_000), 2_000_000_000)
    n_zeros = 2_000_000_000
    profile = struct.pack(">I", n_zeros + 10) + b"iCCP" + b"x" * 10
    after_header = png(8, 8)[:33]
    sparse(folder / "profile.png", after_header + profile, n_zeros, bytes(4) + png(8, 8)[33:])
    text = struct.pack(">I", n_zeros + 2) + b"junk" + b"x\0"
    sparse(folder / "afterwards.png", png(8, 8)[:-12] + text, n_zeros, bytes(4))
    for name, format in [("a.jp2", "JPEG2000"), ("a.avif", "AVIF"), ("a.webp", "WEBP")]:
        (folder / name).write_bytes(encoded(format, (1_500, 1_000)))
