"""Camera raw files: the preview or the developed picture, turned, and damaged ones in one line."""

from __future__ import annotations

import os
import random
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import ORIENTATIONS, noise, soft, stored_lying
from PIL import Image
from program import run
from raw_files import dng, jpeg, save_dng

from clipcli.errors import PhotoError
from clipcli.photos.decode import DecodeOptions, decode
from clipcli.photos.open_picture import decoded, open_photo, open_picture
from clipcli.photos.preprocess import PreprocessConfig

pytest.importorskip("rawpy", reason='needs: pip install "clipcli[raw]"')

PX = 64
BLUE = (0, 0, 255)


def scene(width: int = 160, height: int = 96) -> NDArray[np.uint8]:
    """Which no turn leaves as it is."""
    pixels = np.asarray(soft(width, height)) // 4 + 60
    pixels[: height // 2, : width // 2] = (220, 40, 40)
    return pixels


def pixels(path: Path, options: DecodeOptions | None = None) -> NDArray[np.int64]:
    seen = decode(str(path), PreprocessConfig(PX), options or DecodeOptions("squash")).pixels
    return seen.astype(np.int64)


def difference(path: Path, upright: NDArray[np.uint8]) -> float:
    """Of what is seen of a raw file from the scene, in levels of 255 on average."""
    expected = Image.fromarray(upright).resize((PX, PX), Image.Resampling.BICUBIC)
    return float(np.abs(pixels(path) - np.asarray(expected)).mean())


def reason(path: Path) -> str:
    with pytest.raises(PhotoError) as caught:
        pixels(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_preview_is_turned_as_it_says_or_as_the_raw_file_says(
    tmp_path: Path, orientation: int
) -> None:
    upright = scene()
    lying = stored_lying(upright, orientation)
    previews = {
        "says nothing": jpeg(lying),
        "says how it lies": jpeg(lying, orientation),
        "turned by the camera, which says so": jpeg(upright, 1),
    }
    if orientation >= 5:  # a picture of this shape can only be upright already, or lie
        previews["turned by the camera"] = jpeg(upright)
        previews["says 1 of every preview"] = jpeg(lying, 1)
    for kind, preview in previews.items():
        path = save_dng(tmp_path / "a.dng", lying, orientation, preview)
        assert difference(path, upright) < 2, kind


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_raw_file_without_a_preview_is_developed_and_turned(
    tmp_path: Path, orientation: int
) -> None:
    upright = scene()
    path = save_dng(tmp_path / "a.dng", stored_lying(upright, orientation), orientation)
    assert difference(path, upright) < 25  # LibRaw makes it brighter; turned wrongly it is 45


def test_preview_is_preferred_unless_it_is_cut_off_or_a_thumbnail(tmp_path: Path) -> None:
    upright = scene()
    blue = np.full_like(upright, BLUE)
    whole = save_dng(tmp_path / "whole.dng", upright, 1, jpeg(blue))
    assert pixels(whole).mean(axis=(0, 1)) == pytest.approx(BLUE, abs=2)
    for kind, preview in {
        "cut off": jpeg(blue)[:-2] + bytes(2),
        "no JPEG": b"\xff\xd8" + bytes(len(jpeg(blue)) - 4) + b"\xff\xd9",
        "a thumbnail": jpeg(blue[::2, ::2]),
    }.items():
        path = tmp_path / "other.dng"
        path.write_bytes(dng(upright, 1, jpeg(blue)).replace(jpeg(blue), preview))
        if kind == "a thumbnail":
            save_dng(path, upright, 1, preview)
        assert difference(path, upright) < 25, kind


def test_large_raw_file_is_developed_at_half_its_size(tmp_path: Path) -> None:
    path = save_dng(tmp_path / "a.dng", scene(1100, 1300))
    with open_photo(str(path)) as file, open_picture(file, str(path)) as picture:
        assert picture.size == (550, 650)
        with decoded(picture, file):
            assert picture.size == (550, 650)
            assert picture.im.size == (550, 650)


def test_reference_turns_no_raw_file(tmp_path: Path) -> None:
    reference = DecodeOptions(reference=True)
    for preview in (jpeg(scene()), None):
        lying = pixels(save_dng(tmp_path / "6.dng", scene(), 6, preview), reference)
        assert (lying == pixels(save_dng(tmp_path / "1.dng", scene(), 1, preview), reference)).all()


def test_file_whose_name_is_no_utf_8_is_developed(tmp_path: Path) -> None:
    path = save_dng(tmp_path / os.fsdecode(b"\xff.dng"), scene())
    assert difference(path, scene()) < 25


def test_jpeg_called_raw_is_read_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.cr2"
    path.write_bytes(jpeg(scene()))
    assert difference(path, scene()) < 2


def test_thumbnail_of_a_raw_file_is_never_taken_for_the_photograph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_dng(tmp_path / "a.nef", scene(), 1, jpeg(scene()))
    monkeypatch.setitem(sys.modules, "rawpy", None)  # Python's way to say: not installed
    said = reason(path)
    assert said.startswith("no picture: begins with b'II*")
    assert said.endswith('need the package rawpy; install it with: pip install "clipcli[raw]"')


def test_raw_file_beyond_the_limit_is_refused_with_the_number_that_reads_it(
    tmp_path: Path,
) -> None:
    data = dng(np.zeros((2, 2, 3), np.uint8))
    for tag, side in ((256, 16_000), (257, 12_000)):
        entry = struct.pack("<HHI", tag, 4, 1)
        data = data.replace(entry + struct.pack("<I", 2), entry + struct.pack("<I", side))
    path = tmp_path / "a.dng"
    path.write_bytes(data)
    os.truncate(path, 400_000_000)  # as large as its pixels, which nobody reads
    said = reason(path)
    assert said.startswith("8000 x 6000 is 48 megapixels, which as RAW takes 1.3 GB")
    assert said.endswith("pass --max-megapixels 325 to read it")


def test_twenty_damaged_raw_files_fail_with_one_line_each(tmp_path: Path) -> None:
    whole = dng(scene(), 6)
    with_preview = dng(scene(), 6, jpeg(scene()))
    chance = random.Random(0)
    damaged = [whole[: int(share * len(whole))] for share in (0.005, 0.02, 0.2, 0.5, 0.8, 0.99)]
    damaged += [with_preview[:n] for n in (9, 100, 300, 1500, 3000)]
    for _ in range(4):  # of the tags
        flipped = bytearray(whole)
        for place in chance.sample(range(8, 200), 60):
            flipped[place] ^= 0xFF
        damaged.append(bytes(flipped))
    damaged += [b"", bytes(5000), noise(9, 9).tobytes(), b"Dear diary,\n" * 9, jpeg(scene())[:2000]]
    assert len(damaged) == 20
    for n, data in enumerate(damaged):
        (tmp_path / f"{n:02}.{'dng nef cr2 arw'.split()[n % 4]}").write_bytes(data)
    save_dng(tmp_path / "whole.dng", scene())
    done = run("embed", tmp_path, "--model", "lite", "--no-cache", "--format", "jsonl")
    assert done.code == 3
    failed = {Path(one["path"]).stem: one["error"] for one in done.objects if "error" in one}
    assert len(failed) == 20
    assert all(error.isprintable() for error in failed.values())
    lines = done.stderr.splitlines()
    assert len(lines) == 21
    assert all(str(tmp_path) in line for line in lines[:20])
