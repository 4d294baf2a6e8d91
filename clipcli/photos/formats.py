"""All that is known about kinds of picture files: their suffixes, Pillow's names, what to advise.

A new kind of file takes a Pillow plugin, in a file of its own and registered in `readable_formats`
as HEIF is, and its suffixes and its name in the lists here. Camera raw files are told by their
suffix, since most begin as a TIFF does, and are read by `raw.py`.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec

import clipcli

READABLE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .tif .tiff .bmp .dib .ppm .pgm .pbm .pnm"
    " .jp2 .j2k .j2c .jpc .jpx .jpf .avif .avifs .tga .icb .vda .vst .ico .pcx .sgi .rgb .rgba .bw"
    " .dds .psd .qoi".split()
)
HEIF_SUFFIXES = frozenset(".heic .heics .heif .heifs .hif".split())
RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef"
    " .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)
PAIRED_SUFFIXES = HEIF_SUFFIXES | frozenset(".jpg .jpeg .jpe .jfif".split())  # beside a raw file
OTHER_PICTURE_SUFFIXES = frozenset([".jxl"])
PICTURE_SUFFIXES = READABLE_SUFFIXES | HEIF_SUFFIXES | RAW_SUFFIXES | OTHER_PICTURE_SUFFIXES

# Pillow's names, in the order in which they are tried. It is a list of our own because some of
# Pillow's formats start other programs (EPS starts Ghostscript) and some only read headers. MPO
# files are opened as JPEG. TGA comes last: it has no signature, and an ICO looks like one.
FORMATS = (
    "JPEG PNG GIF WEBP TIFF BMP DIB PPM JPEG2000 AVIF ICO PCX SGI DDS PSD QOI HEIF TGA".split()
)


def is_picture(name: str) -> bool:
    """Whether the suffix is one of a picture, readable here or not."""
    return _suffix(name) in PICTURE_SUFFIXES


def is_raw(name: str) -> bool:
    """Whether the suffix is one of a camera's raw files."""
    return _suffix(name) in RAW_SUFFIXES


def is_paired(name: str) -> bool:
    """Whether it may be what a camera made of a raw file of the same stem."""
    return _suffix(name) in PAIRED_SUFFIXES


def can_read_raw() -> bool:
    """Whether the extra "raw" is installed."""
    return find_spec("rawpy") is not None


def why_unreadable(path: str) -> str | None:
    """Why this installation cannot read a picture of this suffix, and what to do; else None."""
    suffix = _suffix(path)
    if suffix in HEIF_SUFFIXES and find_spec("pillow_heif") is None:
        advice = 'install it with: pip install "clipcli[heif]"'
        return f"HEIF pictures need the package pillow-heif; {advice}"
    if suffix in RAW_SUFFIXES and not can_read_raw():
        advice = 'install it with: pip install "clipcli[raw]"'
        return f"camera raw files ({suffix}) need the package rawpy; {advice}"
    if suffix in OTHER_PICTURE_SUFFIXES:
        return f"{suffix} pictures cannot be read; export them as JPEG or PNG"
    return None


@lru_cache(maxsize=1)
def readable_formats() -> list[str]:
    """Those of `FORMATS` that this installation of Pillow can open."""
    from PIL import Image  # not needed to list files

    try:
        import pillow_heif  # the extra "heif"

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@lru_cache(maxsize=1)
def reader_versions() -> str:
    """What reads pictures here: another version may read what this one cannot."""
    import PIL

    optional = [f"{name} {_version(name)}" for name in ("pillow-heif", "rawpy")]
    return ", ".join([f"clipcli {clipcli.__version__}", f"pillow {PIL.__version__}", *optional])


def _version(package: str) -> str:
    from importlib import metadata  # takes 30 ms, and nothing else here needs it

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
