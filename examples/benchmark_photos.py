"""Photographs for the benchmark, made from the examples: run by benchmark.py.

    python examples/benchmark_photos.py large FOLDER 400

large: mosaics of 4000 x 3000 with grain, 3 to 6 MB; small: crops of 400 x 300; tiny: patches of
64 x 64, for runs that only have to find their files unchanged. A photograph follows from its
number, so FOLDER is filled up to the count that is asked for and kept.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SOURCES = sorted((Path(__file__).parent / "photos").glob("*.jpg"))
WIDTH, HEIGHT, TILE = 4000, 3000, 250  # px; a tile fits into the smallest source
GRAIN = 5.0  # standard deviation of the brightness, in 8-bit steps; sets the size of a file
QUALITY = 90


@cache
def sources() -> list[NDArray[np.uint8]]:
    """The example photographs, uint8 [height, width, 3] each."""
    return [np.array(Image.open(path).convert("RGB")) for path in SOURCES]


@cache
def grain() -> NDArray[np.int16]:
    """Noise of brightness, int16 [HEIGHT + 500, WIDTH + 500]: each mosaic takes another window,
    since drawing 12 million numbers anew costs more than encoding the JPEG."""
    noise = np.random.default_rng(0).standard_normal((HEIGHT + 500, WIDTH + 500), np.float32)
    return np.rint(GRAIN * noise).astype(np.int16)


def mosaic(index: int) -> bytes:
    """A JPEG of 12 megapixels: parts of the photographs at their own resolution, some mirrored,
    each in its own light, under one layer of grain."""
    rng = np.random.default_rng(index)
    canvas = np.empty((HEIGHT, WIDTH, 3), np.int16)
    for top in range(0, HEIGHT, TILE):
        for left in range(0, WIDTH, TILE):
            source = sources()[rng.integers(len(SOURCES))]
            y, x = (rng.integers(length - TILE + 1) for length in source.shape[:2])
            tile = source[y : y + TILE, x : x + TILE][:, :: rng.choice((-1, 1))]
            light = rng.uniform(0.7, 1.2) * rng.uniform(0.9, 1.1, 3)  # of each channel
            canvas[top : top + TILE, left : left + TILE] = tile * light
    y, x = rng.integers(500, size=2)
    canvas += grain()[y : y + HEIGHT, x : x + WIDTH, None]
    return jpeg(Image.fromarray(canvas.clip(0, 255).astype(np.uint8)))


def crop(index: int) -> bytes:
    """A JPEG of 400 x 300 from one photograph, no two alike."""
    rng = np.random.default_rng(index)
    source = sources()[index % len(SOURCES)]
    width = int(rng.integers(300, source.shape[1] + 1))
    height = min(source.shape[0], width * 3 // 4)
    left = int(rng.integers(source.shape[1] - width + 1))
    top = int(rng.integers(source.shape[0] - height + 1))
    part = Image.fromarray(source[top : top + height, left : left + width])
    return jpeg(part.resize((400, 300)))


def patch(index: int) -> bytes:
    """A JPEG of 64 x 64 in a light of its own."""
    rng = np.random.default_rng(index)
    source = sources()[index % len(SOURCES)]
    y, x = (rng.integers(length - 64 + 1) for length in source.shape[:2])
    lit = source[y : y + 64, x : x + 64] * rng.uniform(0.5, 1, 3)  # of each channel
    return jpeg(Image.fromarray(lit.astype(np.uint8)))


def jpeg(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


KINDS = {"large": mosaic, "small": crop, "tiny": patch}


def photo_path(folder: Path, index: int) -> Path:
    """At most 1,000 in a folder."""
    return folder / f"{index // 1000:03}" / f"{index % 1000:03}.jpg"


def make_photo(kind: str, folder: Path, index: int) -> None:
    path = photo_path(folder, index)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(KINDS[kind](index))
        os.replace(part, path)


def main() -> None:
    kind, folder, n_photos = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    with ProcessPoolExecutor() as pool:
        indices = range(n_photos)
        made = pool.map(make_photo, [kind] * n_photos, [folder] * n_photos, indices, chunksize=16)
        list(made)  # raises what a worker raised
    paths = [photo_path(folder, index) for index in indices]
    (folder / f"{n_photos}.txt").write_text("".join(f"{path}\n" for path in paths))


if __name__ == "__main__":
    main()
