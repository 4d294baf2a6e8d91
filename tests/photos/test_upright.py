"""A picture made in strips is to the bit what it is when it is made as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import ORIENTATIONS
from PIL import Image
from PIL.Image import Image as Picture

from clipcli.photos import upright as strips
from clipcli.photos.preprocess import PreprocessConfig, fit_square
from clipcli.photos.upright import upright
from clipcli.records import Fit

FITS: tuple[Fit, ...] = ("crop", "pad", "squash")
CONFIGS = [
    PreprocessConfig(24),
    PreprocessConfig(17, crop_share=0.875),
    PreprocessConfig(31, resample="bilinear"),
    PreprocessConfig(180),
]
CHANCE = np.random.default_rng(0)


def pictures(width: int, height: int) -> dict[str, Picture]:
    """Noise of every kind that is converted."""
    rgba = Image.fromarray(CHANCE.integers(0, 256, (height, width, 4), dtype=np.uint8))
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    made = {mode: rgba.convert(mode) for mode in ("RGB", "RGBA", "L", "LA", "1", "CMYK", "YCbCr")}
    made["P"] = rgb.quantize(40)
    for name, picture, transparency in [
        ("P, one transparent", rgb.quantize(40), 3),
        ("P, half transparent", rgb.quantize(40), bytes(range(0, 240, 6))),
        ("RGB, one transparent", rgb.copy(), (1, 2, 3)),
        ("L, one transparent", grey, 7),
    ]:
        picture.info["transparency"] = transparency
        made[name] = picture
    made["I;16"] = Image.fromarray(CHANCE.integers(0, 65536, (height, width), dtype=np.uint16))
    made["I"] = Image.fromarray(CHANCE.integers(0, 200_000, (height, width), dtype=np.int32))
    floats = CHANCE.normal(0, 300, (height, width)).astype(np.float32)
    floats[0, 0], floats[-1, -1] = np.nan, -np.inf
    made["F"] = Image.fromarray(floats)
    return made


def squares(picture: Picture) -> list[NDArray[np.uint8]]:
    seen = upright(picture)
    return [np.asarray(fit_square(seen, config, fit)) for config in CONFIGS for fit in FITS]


@pytest.mark.parametrize("size", [(150, 97), (97, 150), (40, 300)])
def test_strips_equal_the_whole(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    for name, picture in pictures(*size).items():
        for orientation in ORIENTATIONS:
            picture.getexif()[0x0112] = orientation
            monkeypatch.setattr(strips, "STRIP_PIXELS", 1 << 30)
            expected = squares(picture)
            monkeypatch.setattr(strips, "STRIP_PIXELS", 1000)
            for found, one in zip(squares(picture), expected, strict=True):
                np.testing.assert_array_equal(found, one, f"{name}, orientation {orientation}")


def test_upright_rgb_is_not_copied() -> None:
    picture = Image.new("RGB", (20, 10))
    assert upright(picture) is picture


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_long_picture_is_turned_too(orientation: int) -> None:
    """The same colours at the same ends, whether it is turned before it is resized or after."""
    lying = Image.new("RGB", (600, 20), "red")
    lying.paste("blue", (300, 0, 600, 10))
    with_alpha = lying.convert("RGBA")  # this one is turned as a whole
    found = []
    for picture in (lying, with_alpha):
        picture.getexif()[0x0112] = orientation
        found.append(np.asarray(fit_square(upright(picture), PreprocessConfig(40), "squash")))
    assert np.abs(found[0].astype(int) - found[1]).max() <= 1


def test_damaged_exif_leaves_a_picture_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (8, 4)).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    with Image.open(path) as picture:
        assert upright(picture).size == (8, 4)
