"""Photographs of several things at once, made of labelled ones: two of them side by side.

A photograph of one subject does not show how a label's cosine falls beside a second subject.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions, default_workers
from clipcli.photos.decode import decode
from clipcli.photos.preprocess import PreprocessConfig

Pixels = NDArray[np.uint8]


def choose_pairs(
    labels: NDArray[np.int64], folds: NDArray[np.int64], n_each: int
) -> NDArray[np.int64]:
    """Pairs of photographs of two labels: int64 [n_pairs, 2], the same ones every time.

    labels and folds: int64 [n_photos]. Both are of one fold, so that a fold that is held out is
    unseen in pairs too. Each photograph is in about `n_each` pairs, or in fewer where its fold
    holds few photographs of other labels.
    """
    random = np.random.default_rng(0)
    chosen: dict[tuple[int, int], None] = {}
    for fold in np.unique(folds):
        photos = np.flatnonzero(folds == fold)
        for _ in range(math.ceil(n_each / 2)):
            ring = random.permutation(photos)  # each beside the next: twice in the ring
            for left, right in zip(ring.tolist(), np.roll(ring, -1).tolist(), strict=True):
                if labels[left] != labels[right] and (right, left) not in chosen:
                    chosen[left, right] = None
    return np.array(list(chosen), dtype=np.int64).reshape(-1, 2)


def embed_pairs(
    paths: Sequence[str],
    pairs: NDArray[np.int64],
    embedder: Embedder,
    options: RunOptions = RunOptions(),
) -> NDArray[np.float32]:
    """Embeddings of the pairs, unit float32 [n_pairs, d]; `pairs` [n_pairs, 2] are of `paths`.

    Raises PhotoError if one of the photographs cannot be read.
    """
    config = embedder.spec.preprocess

    def half(path: str) -> Pixels:
        square = Image.fromarray(decode(path, config, options.decode).pixels)
        small = square.resize((config.px // 2, config.px // 2), Image.Resampling.BICUBIC)
        return np.array(small)

    rows = np.unique(pairs)
    with ThreadPoolExecutor(options.workers or default_workers()) as pool:
        read = pool.map(half, [paths[row] for row in rows])
        halves = dict(zip(rows.tolist(), read, strict=True))
    encoder = embedder.encoder()
    batch_size = options.batch_size or encoder.default_batch_size
    embeddings = [np.empty((0, embedder.spec.embed_dim), dtype=np.float32)]
    for start in range(0, len(pairs), batch_size):
        pictures = [
            side_by_side(halves[left], halves[right], config)
            for left, right in pairs[start : start + batch_size].tolist()
        ]
        embeddings.append(encoder.encode_pixels(np.stack(pictures)))
    return np.concatenate(embeddings)


def side_by_side(left: Pixels, right: Pixels, config: PreprocessConfig) -> Pixels:
    """Two squares uint8 [px // 2, px // 2, 3] in one [px, px, 3], drawn whole as `--fit pad`
    draws what is twice as wide as tall: on the mean colour."""
    side = len(left)
    mean = [round(255 * channel) for channel in config.mean]
    square = np.full((config.px, config.px, 3), mean, dtype=np.uint8)
    top = (config.px - side) // 2
    square[top : top + side, :side] = left
    square[top : top + side, side : 2 * side] = right
    return square
