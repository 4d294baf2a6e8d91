"""No picture within the limit takes more than 1 GB, whatever its shape, format and claims.

`odd_shapes` makes the pictures. They are read in two child processes without torch.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import odd_shapes
import pytest
from pictures import noise, python, soft
from PIL import Image
from program import command

from clipcli.photos import preprocess
from clipcli.photos.preprocess import PreprocessConfig, fit_square
from clipcli.records import Fit

GB = 1 << 30
LIMIT_S = 20  # for each

READ_ALL = """
import resource, sys, time, warnings
from pathlib import Path
from PIL import Image
from clipcli.errors import PhotoError
from clipcli.photos.decode import DecodeOptions, PreprocessConfig, decode

warnings.simplefilter("ignore")  # Pillow's, of icons and of sizes
Image.MAX_IMAGE_PIXELS = None  # as in the command
OPTIONS = {
    "crop": DecodeOptions(), "pad": DecodeOptions("pad"), "squash": DecodeOptions("squash"),
    "exact": DecodeOptions(exact=True), "reference": DecodeOptions(reference=True),
}

def peak_bytes():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def read(path, name):
    start = time.monotonic()
    try:
        shape = decode(str(path), PreprocessConfig(224), OPTIONS[name]).pixels.shape
        result = "read" if shape == (224, 224, 3) else shape
    except PhotoError as error:
        result = str(error)
    duration_s = round(time.monotonic() - start)
    print(f"{path.name}\\t{name}\\t{peak_bytes() - before}\\t{duration_s}\\t{result}", flush=True)

decode(sys.argv[2], PreprocessConfig(224), DecodeOptions())
before = peak_bytes()
resource.setrlimit(resource.RLIMIT_DATA, (2_500_000_000, 2_500_000_000))
for path in sorted(Path(sys.argv[1]).iterdir())[int(sys.argv[3]) :: 2]:
    thin_too = ["pad", "squash", "exact", "reference"] if "thin" in path.name else []
    for name in ["crop", *thin_too]:
        read(path, name)
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    odd_shapes.write(folder)
    return folder


def test_no_picture_within_the_limit_takes_more_than_a_gigabyte(
    odd: Path, example_photos: Path
) -> None:
    child = [sys.executable, "-c", READ_ALL, str(odd), str(example_photos / "cat.jpg")]
    running = [
        subprocess.Popen(
            [*child, half], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for half in "01"
    ]
    rows = []
    for process in running:
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
        rows += [line.split("\t") for line in printed.splitlines()]
    results = {(name, how): result for name, how, _, _, result in rows}
    assert {name for name, _ in results} == {path.name for path in odd.iterdir()}
    assert len({name for name, _ in results}) > 40
    for name, how, grown_bytes, duration_s, result in rows:
        assert int(grown_bytes) < GB, f"{name} {how}"
        assert int(duration_s) < LIMIT_S, f"{name} {how}"
        assert result.isprintable(), f"{name} {how}"

    refused = {name for (name, _), result in results.items() if result != "read"}
    assert {name for name in refused if "claim" not in name} == {
        "240 million x 1 thin.png",
        "afterwards.png",
        "bitmap.ico",
        "frame.gif",
        "long file.webp",
        "odd scale.ppm",
        "plain.ppm",
        "profile.png",
        "screen.gif",
        "three scans.jpg",
        "turned.tif",
    }
    assert results["claim.webp", "crop"] == (
        "15000 x 15000 is 225 megapixels, which as WEBP takes 3.6 GB, the limit is 1.0 GB;"
        " pass --max-megapixels 901 to read it"
    )
    assert results["long file.webp", "crop"] == (
        "64 x 64 is 0 megapixels, which as WEBP takes 4.0 GB, the limit is 1.0 GB;"
        " pass --max-megapixels 1001 to read it"
    )
    assert results["profile.png", "crop"] == (
        "the file holds more besides the picture than the limit of 500 MB; export it again"
        " without that"
    )
    assert "15500 x 15500 is 240 megapixels" in results["progressive claim.jpg", "crop"]


def test_command_reads_large_pictures_in_turn_and_keeps_libtiff_quiet(
    odd: Path, example_photos: Path, tmp_path: Path
) -> None:
    """Three that would take 2.7 GB together, and two of which libtiff and Pillow would tell."""

    def peak_bytes(*paths: Path) -> int:
        run = command("embed", *paths, "--model", "lite", "--no-cache", "--workers", "3", "-q")
        with (tmp_path / "stderr").open("wb") as stderr:
            process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=stderr)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return 1024 * used.ru_maxrss

    tiff, by_libtiff, by_pillow = (tmp_path / f"{n}.tif" for n in range(3))
    soft(160, 120).save(tiff, compression="tiff_lzw")
    data = tiff.read_bytes()
    for path, tag, count, value in [(by_libtiff, 278, 2, 120), (by_pillow, 277, 1, 255)]:
        start = data.index(struct.pack("<HHI", tag, 3, 1))
        path.write_bytes(odd_shapes.patched(data, start + 4, "<IH", count, value))

    large = [odd / "rgb.tif", odd / "rgb.psd", odd / "long.tif", odd / "thin 1 x 60000 6.png"]
    large_bytes = peak_bytes(by_libtiff, by_pillow, *large)
    said = (tmp_path / "stderr").read_text().splitlines()
    assert [line.split(": ")[1] for line in said] == [str(by_libtiff), str(by_pillow)]
    assert large_bytes - peak_bytes(example_photos) < GB  # as many, and small ones


@pytest.mark.parametrize("kind", ["soft", "noise"])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(100, 1700), (1700, 100), (20, 4000), (4000, 20), (3, 80)])
def test_long_pictures_are_nearly_what_they_would_be_if_resized_whole(
    monkeypatch: pytest.MonkeyPatch, kind: str, fit: Fit, size: tuple[int, int]
) -> None:
    picture = soft(10 * size[0], 10 * size[1]).resize(size) if kind == "soft" else noise(*size)
    config = PreprocessConfig(64)
    found = np.asarray(fit_square(picture, config, fit)).astype(int)
    monkeypatch.setattr(preprocess, "LONG_RATIO", 10_000)
    expected = np.asarray(fit_square(picture, config, fit))
    assert np.abs(found - expected).max() <= (2 if kind == "soft" else 32)


def test_picture_of_320_bytes_is_read_in_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(odd_shapes.png(1, 60_000))
    assert path.stat().st_size < 400
    code = (
        "import resource; from clipcli.photos.decode import *\n"
        "resource.setrlimit(resource.RLIMIT_AS, (600_000_000, 600_000_000))\n"
        "print(decode('a.png', PreprocessConfig(224), DecodeOptions()).pixels.shape)\n"
    )
    assert python(code, tmp_path, OPENBLAS_NUM_THREADS="1") == "(224, 224, 3)\n"


def test_transform_bounds_a_long_picture_too() -> None:
    import torch

    from clipcli.photos.preprocess import image_transform

    tensor = image_transform(224)(Image.new("RGB", (1, 60_000), "white"))
    assert tensor.shape == (3, 224, 224)
    assert torch.isfinite(tensor).all()
