"""A photograph's file to pixels: as a person sees it, or one line that says why not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import (
    DROP_RIGHTS,
    ORIENTATIONS,
    noise,
    python,
    save,
    save_bomb,
    save_frames,
    save_postscript,
    save_truncated_jpeg,
    save_turned,
    soft,
    stored_lying,
)
from PIL import Image
from places import ROOT

from clipcli.errors import PhotoError
from clipcli.photos.decode import DecodeOptions, decode
from clipcli.photos.formats import readable_formats
from clipcli.photos.preprocess import PreprocessConfig, fit_square
from clipcli.photos.upright import upright
from clipcli.records import Fit

PX = 16  # the short side of most pictures here, so that nothing is resized
REFERENCE = DecodeOptions(reference=True)


def pixels(path: Path, options: DecodeOptions | None = None) -> NDArray[np.uint8]:
    return decode(str(path), PreprocessConfig(PX), options or DecodeOptions()).pixels


def colour(path: Path, options: DecodeOptions | None = None) -> tuple[int, int, int]:
    """The one colour of a picture."""
    decoded = pixels(path, options)
    assert (decoded == decoded[0, 0]).all()
    red, green, blue = decoded[0, 0].tolist()
    return red, green, blue


def reason(path: Path, options: DecodeOptions | None = None) -> str:
    """Why a file cannot be read, in one line."""
    with pytest.raises(PhotoError) as caught:
        pixels(path, options)
    message = str(caught.value)
    assert message.isprintable()
    return message


# --- as a person sees it


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_photograph_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    upright = np.asarray(noise(24, PX))
    path = save_turned(tmp_path / "photo.png", upright, orientation)
    assert (pixels(path) == upright[:, 4:20]).all()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turned_jpeg_equals_the_upright_one(tmp_path: Path, orientation: int) -> None:
    upright = np.asarray(soft(160, 80))
    turned = save_turned(tmp_path / "turned.jpg", upright, orientation)
    plain = save(tmp_path / "plain.jpg", Image.fromarray(upright))
    difference = pixels(turned).astype(int) - pixels(plain)
    assert np.abs(difference).mean() < 2  # JPEG loses other digits in a turned picture


@pytest.mark.parametrize("suffix", ["heic", "avif"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_heic_and_avif_are_turned_by_their_own_boxes(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    if {"heic": "HEIF", "avif": "AVIF"}[suffix] not in readable_formats():
        pytest.skip(f"this Pillow cannot read {suffix}")
    upright = np.asarray(soft(160, 80))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(stored_lying(upright, orientation)).save(path, exif=exif.tobytes())
    seen = pixels(path, DecodeOptions("squash")).astype(int)
    expected = Image.fromarray(upright).resize((PX, PX), Image.Resampling.BICUBIC)
    assert np.abs(seen - np.asarray(expected)).mean() < 5  # turned wrongly it is 30


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_reference_does_not_turn(tmp_path: Path, orientation: int) -> None:
    upright = np.asarray(noise(24, PX))
    path = save_turned(tmp_path / "photo.png", upright, orientation)
    stored = stored_lying(upright, orientation)
    middle = stored[:, 4:20] if stored.shape[0] == PX else stored[4:20]
    assert (pixels(path, REFERENCE) == middle).all()


def test_damaged_exif_says_nothing_about_the_picture(tmp_path: Path) -> None:
    picture = noise(PX, PX)
    path = tmp_path / "photo.png"
    picture.save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert (pixels(path) == np.asarray(picture)).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_grey_of_16_bits_is_scaled_and_not_white(tmp_path: Path, suffix: str) -> None:
    ramp = np.arange(PX * PX, dtype=np.uint16).reshape(PX, PX)
    path = save(tmp_path / f"grey.{suffix}", Image.fromarray(ramp * np.uint16(257)))
    assert (pixels(path) == ramp[..., None]).all()
    assert pixels(path).mean() == 127.5


def test_reference_clips_grey_of_16_bits_as_published(tmp_path: Path) -> None:
    grey = np.full((PX, PX), 100 * 257, dtype=np.uint16)
    path = save(tmp_path / "grey.png", Image.fromarray(grey))
    assert colour(path) == (100, 100, 100)
    assert colour(path, REFERENCE) == (255, 255, 255)


@pytest.mark.parametrize(("value", "full_scale"), [(0.4, 1.0), (102.0, 255.0), (26214.0, 65535.0)])
def test_floats_are_scaled_from_the_range_that_holds_them(
    tmp_path: Path, value: float, full_scale: float
) -> None:
    grey = np.full((PX, PX), value, dtype=np.float32)
    grey[0, 0] = full_scale
    grey[0, 1:3] = np.nan, -1
    decoded = pixels(save(tmp_path / "float.tif", Image.fromarray(grey)))
    assert decoded[0, :4].tolist() == [[255] * 3, [0] * 3, [0] * 3, [102] * 3]
    assert (decoded[1:] == 102).all()


@pytest.mark.parametrize(
    ("mode", "stored", "seen"),
    [
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),  # 255 * (1 - 51 / 255)
        ("LA", (40, 255), (40, 40, 40)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (0, 51), (204, 204, 204)),
    ],
)
def test_transparency_is_put_on_white(
    tmp_path: Path, mode: str, stored: tuple[int, ...], seen: tuple[int, int, int]
) -> None:
    assert colour(save(tmp_path / "a.png", Image.new(mode, (PX, PX), stored))) == seen


def palette_picture() -> Image.Image:
    """Left half black, right half red."""
    picture = Image.new("P", (PX, PX), 0)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.paste(1, (PX // 2, 0, PX, PX))
    return picture


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_transparent_colour_of_a_palette_is_put_on_white(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    palette_picture().save(path, transparency=0)
    decoded = pixels(path)
    assert (decoded[:, : PX // 2] == 255).all()
    assert (decoded[:, PX // 2 :] == (255, 0, 0)).all()


def test_palette_with_half_transparent_colours_is_put_on_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    palette_picture().save(path, transparency=bytes([51, 255]))
    decoded = pixels(path)
    assert (decoded[:, : PX // 2] == 204).all()
    assert (decoded[:, PX // 2 :] == (255, 0, 0)).all()


@pytest.mark.parametrize(("name", "tolerance"), [("a.tif", 0), ("a.jpg", 2)])
def test_cmyk_is_read_as_ink(tmp_path: Path, name: str, tolerance: int) -> None:
    path = save(tmp_path / name, Image.new("CMYK", (PX, PX), (0, 255, 255, 0)))
    assert np.abs(pixels(path).astype(int) - (255, 0, 0)).max() <= tolerance


@pytest.mark.parametrize(
    ("format", "options"),
    [
        *(("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("MPO", {"quality": 100})),
        *(("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("AVIF", {"quality": 100})),
        ("HEIF", {"quality": -1}),
    ],
)
def test_first_page_or_frame_is_taken(
    tmp_path: Path, format: str, options: dict[str, object]
) -> None:
    if format not in ("MPO", *readable_formats()):
        pytest.skip(f"this Pillow cannot read {format}")
    path = save_frames(tmp_path / "a", format, ["white", "black", "blue"], **options)
    with Image.open(path) as picture:
        assert picture.n_frames == 3
    assert colour(path) == (255, 255, 255)


@pytest.mark.parametrize("bitmap_format", ["png", "bmp"])
def test_icon_is_not_taken_for_a_tga(tmp_path: Path, bitmap_format: str) -> None:
    icon = Image.new("RGBA", (PX, PX), (10, 20, 30, 255))
    path = tmp_path / "a.ico"
    icon.save(path, sizes=[(PX, PX)], bitmap_format=bitmap_format)
    assert colour(path) == (10, 20, 30)


# --- the square


@pytest.mark.parametrize(
    ("size", "fit", "expected"),
    [
        ((33, 16), "crop", True),
        ((16, 33), "crop", True),
        ((32, 16), "crop", False),
        ((16, 32), "crop", False),
        ((24, 16), "crop", False),
        ((64, 16), "pad", False),
        ((64, 16), "squash", False),
    ],
)
def test_picture_longer_than_two_to_one_is_judged_by_its_middle(
    tmp_path: Path, size: tuple[int, int], fit: Fit, expected: bool
) -> None:
    path = str(save(tmp_path / "a.png", noise(*size)))
    assert decode(path, PreprocessConfig(PX), DecodeOptions(fit)).middle_only is expected


def test_reference_also_says_that_it_took_the_middle(tmp_path: Path) -> None:
    path = str(save(tmp_path / "a.png", noise(33, 16)))
    assert decode(path, PreprocessConfig(PX), REFERENCE).middle_only


def test_picture_of_one_pixel_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    assert colour(path) == (1, 2, 3)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_thread_thin_picture_is_read(tmp_path: Path, fit: Fit) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (5000, 1), (1, 2, 3)))
    assert pixels(path, DecodeOptions(fit)).shape == (PX, PX, 3)


# --- what is no whole picture


def test_truncated_jpeg_fails(tmp_path: Path) -> None:
    path = save_truncated_jpeg(tmp_path / "half.jpg")
    assert reason(path).startswith("damaged picture: image file is truncated")
    assert reason(path, REFERENCE) == reason(path)


KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "raw tiff": ("TIFF", {}),
    "lzw tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "deflate tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "jpeg tiff": ("TIFF", {"compression": "jpeg"}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
    "jpeg 2000": ("JPEG2000", {}),
    "lossy jpeg 2000": ("JPEG2000", {"irreversible": True, "quality_layers": [20]}),
    "avif": ("AVIF", {}),
    "tga": ("TGA", {}),
    "run-length tga": ("TGA", {"compression": "tga_rle"}),
    "ico": ("ICO", {"sizes": [(160, 120)]}),
    "bitmap ico": ("ICO", {"sizes": [(160, 120)], "bitmap_format": "bmp"}),
    "pcx": ("PCX", {}),
    "sgi": ("SGI", {}),
    "dds": ("DDS", {}),
    "dxt1 dds": ("DDS", {"pixel_format": "DXT1"}),
    "qoi": ("QOI", {}),
    "heif": ("HEIF", {}),
}

# whose plugins check Pillow's own limit when they open a file
PLUGIN_CHECKS = {"webp", "lossless webp", "ico", "bitmap ico"}


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_picture_fails_in_every_format(tmp_path: Path, kind: str) -> None:
    format, options = KINDS[kind]
    if format not in readable_formats():
        pytest.skip(f"this Pillow cannot read {format}")
    whole = tmp_path / "whole"
    soft(160, 120).save(whole, format, **options)
    size_bytes = whole.stat().st_size
    assert pixels(whole).shape == (PX, PX, 3)
    for kept in (0.99, 0.9, 0.5, 0.1):
        part = tmp_path / f"{kept}"
        part.write_bytes(whole.read_bytes()[: int(kept * size_bytes)])
        assert reason(part)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.jpg", b"", "no picture: the file is empty"),
        ("text.jpg", b"Dear diary,\n", r"no picture: begins with b'Dear diary,\n'; expected one"),
        ("zeros.jpg", bytes(5000), r"no picture: begins with b'\x00\x00\x00"),
        ("page.pdf", b"%PDF-1.7\n", r"no picture: begins with b'%PDF-1.7\n'"),
        ("x.wmf", b"\xd7\xcd\xc6\x9a" + bytes(40), r"no picture: begins with b'\xd7\xcd\xc6\x9a"),
        ("x.NEF", b"raw", "damaged picture: the file ends too early"),
    ],
)
def test_what_is_no_picture_says_how_it_begins(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert reason(path).startswith(expected)


def test_readable_formats_hold_no_stub_and_nothing_that_starts_a_program() -> None:
    assert not {"EPS", "PDF", "WMF", "BUFR", "GRIB", "HDF5", "FPX", "MIC"} & {*readable_formats()}
    assert {"JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000"} <= {*readable_formats()}


def test_postscript_named_jpg_starts_no_ghostscript(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    ghostscript = tools / "gs"
    ghostscript.write_text("#!/bin/sh\ntouch started\nexit 1\n")
    ghostscript.chmod(0o755)
    save_postscript(tmp_path / "photo.jpg")
    on_path = f"{tools}{os.pathsep}{os.environ['PATH']}"

    ours = (
        "from clipcli.photos.decode import *; from clipcli.errors import PhotoError\n"
        "for reference in (False, True):\n"
        "    try: decode('photo.jpg', PreprocessConfig(16), DecodeOptions(reference=reference))\n"
        "    except PhotoError as error: print(error)\n"
    )
    lines = python(ours, tmp_path, PATH=on_path).splitlines()
    assert [line.split(";")[0] for line in lines] == [
        "no picture: begins with b'%!PS-Adobe-3.0 E'"
    ] * 2
    assert not (tmp_path / "started").exists()

    # the trap works: Pillow by itself walks into it
    python("from PIL import Image; Image.open('photo.jpg').load()", tmp_path, PATH=on_path)
    assert (tmp_path / "started").exists()


def test_bomb_is_refused_at_once_and_without_memory(tmp_path: Path) -> None:
    bomb = save_bomb(tmp_path / "bomb.png")
    assert bomb.stat().st_size < 5e6
    code = (
        "import resource, time; from clipcli.photos.decode import *\n"
        "from clipcli.errors import PhotoError; from clipcli.photos.formats import *\n"
        "readable_formats()\n"
        "def kb(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before_kb, start = kb(), time.perf_counter()\n"
        "try: decode('bomb.png', PreprocessConfig(16), DecodeOptions())\n"
        "except PhotoError as error: print(error)\n"
        "print(kb() - before_kb, time.perf_counter() - start)\n"
    )
    message, cost = python(code, tmp_path).splitlines()
    assert message == (
        "50000 x 50000 is 2,500 megapixels, the limit is 250; pass --max-megapixels 2501 to read it"
    )
    grown_kb, duration_s = map(float, cost.split())
    assert grown_kb < 20_000
    assert duration_s < 1


def test_picture_over_the_limit_names_sizes_and_the_option(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (2000, 1000)))
    assert reason(path, DecodeOptions(max_megapixels=1)) == (
        "2000 x 1000 is 2 megapixels, the limit is 1; pass --max-megapixels 3 to read it"
    )
    assert colour(path, DecodeOptions(max_megapixels=2)) == (0, 0, 0)


@pytest.mark.parametrize("hosts_limit", [None, 10])
def test_bomb_inside_an_icon_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts_limit: int | None
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", hosts_limit)
    bomb = save_bomb(tmp_path / "bomb.png", 20_000).read_bytes()
    header = b"\0\0\1\0\1\0" + bytes([16, 16, 0, 0, 1, 0, 32, 0])
    path = tmp_path / "bomb.ico"
    path.write_bytes(header + len(bomb).to_bytes(4, "little") + (22).to_bytes(4, "little") + bomb)
    assert reason(path) == (
        "20000 x 20000 is 400 megapixels, the limit is 250; pass --max-megapixels 401 to read it"
    )


# --- Pillow's own limit, which belongs to the host


def test_200_megapixels_within_our_limit_are_read_whatever_the_hosts_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    path = save_bomb(tmp_path / "large.png", 14_500)  # 210 megapixels
    assert colour(path, DecodeOptions(reference=True, max_megapixels=211)) == (0, 0, 0)
    assert "is 210 megapixels" in reason(path, DecodeOptions(max_megapixels=210))
    assert Image.MAX_IMAGE_PIXELS == 1_000_000


@pytest.mark.parametrize("kind", sorted({*KINDS} - PLUGIN_CHECKS))
def test_every_other_format_is_read_whatever_the_hosts_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    format, options = KINDS[kind]
    if format not in readable_formats():
        pytest.skip(f"this Pillow cannot read {format}")
    path = tmp_path / "picture"
    soft(160, 120).save(path, format, **options)
    expected = pixels(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert (pixels(path) == expected).all()


@pytest.mark.parametrize("mode", ["P", "L", "CMYK"])
def test_turned_tiff_of_any_mode_is_read_whatever_the_hosts_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "picture.tif"
    soft(160, 120).convert(mode).save(path, exif=exif)
    with path.open("rb") as file, Image.open(file) as picture:
        picture.load()
        expected = fit_square(upright(picture), PreprocessConfig(PX))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert (pixels(path) == np.asarray(expected)).all()


@pytest.mark.parametrize("hosts_limit", [1000, 15_000])  # Pillow raises, or only warns
def test_what_pillow_refuses_by_itself_says_whose_limit_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts_limit: int
) -> None:
    path = tmp_path / "a.ico"
    soft(160, 120).save(path, "ICO", sizes=[(160, 120)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", hosts_limit)
    assert reason(path) == (
        "too large for Pillow's own limit; raise PIL.Image.MAX_IMAGE_PIXELS, or export it as PNG"
    )


# --- what is no readable file


def test_pipe_and_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    start = time.monotonic()
    assert reason(tmp_path / "pipe.jpg") == "not a regular file"
    assert reason(Path("/dev/zero")) == "not a regular file"
    assert reason(tmp_path) == "not a regular file"
    assert time.monotonic() - start < 1


def test_vanished_file_fails(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    path.unlink()
    assert reason(path) == "No such file or directory"


def test_link_to_itself_fails(tmp_path: Path) -> None:
    os.symlink("a.png", tmp_path / "a.png")
    assert reason(tmp_path / "a.png") == "Too many levels of symbolic links"


def test_nul_in_a_name_fails() -> None:
    assert reason(Path("a\0b.jpg")) == "embedded null byte"


def test_file_that_may_not_be_read_fails(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    save(tmp_path / "a.png").chmod(0)
    code = "import os; from clipcli.photos.decode import *\n"
    code += "from clipcli.photos.formats import *\nreadable_formats()\n" + DROP_RIGHTS
    code += (
        "try: decode('a.png', PreprocessConfig(16), DecodeOptions())\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    assert python(code, tmp_path) == "PhotoError Permission denied\n"


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"two\nlines.png", b" ", b"-o.png"])
def test_any_name_is_read(tmp_path: Path, name: bytes) -> None:
    assert pixels(save(tmp_path / os.fsdecode(name), format="PNG")).shape == (PX, PX, 3)


def outcome(path: Path) -> str:
    try:
        pixels(path)
    except PhotoError as error:
        return str(error)
    return "read"


def damage_header(data: bytearray) -> None:
    data[8:40] = b"\n" * 32


def damage_middle(data: bytearray) -> None:
    middle = len(data) // 2
    data[middle : middle + 20] = bytes(20)


@pytest.mark.parametrize("damage", [damage_header, damage_middle])
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_picture_is_read_or_fails_in_one_line(
    tmp_path: Path, kind: str, damage: Callable[[bytearray], None]
) -> None:
    format, options = KINDS[kind]
    if format not in readable_formats():
        pytest.skip(f"this Pillow cannot read {format}")
    path = tmp_path / "damaged"
    soft(160, 120).save(path, format, **options)
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    assert outcome(path).isprintable()


def test_an_unfinished_download_that_ends_in_zeros_fails(tmp_path: Path) -> None:
    whole = (ROOT / "examples/photos/rocket.jpg").read_bytes()
    path = tmp_path / "download.jpg"
    path.write_bytes(whole[:60_000] + bytes(len(whole) - 60_000))
    with pytest.raises(PhotoError, match="truncated"):
        decode(str(path), PreprocessConfig(64), DecodeOptions())
