"""The nearest of many embeddings, exact: all cores look in float32, float64 settles the rest.

A float32 product of unit vectors is off by a known bound at most. Rows that are worse than the
best by more than that need no second look; the others get one, so the answer is that of a plain
sort of float64 cosines.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from heapq import heappush, heapreplace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.files.embedding_file import LONGEST

BLOCK_ROWS = 8192  # one task of a thread: 16 MB at 512 dimensions
SECOND_LOOK_ROWS = 1024  # 4 MB in float64 at 512 dimensions
CACHED_VALUES = 1 << 18  # 1 MB of float32, which stays in a core's own cache

_SIGN_AND_VALUE = np.array(0x8FFFE000, dtype=np.uint32).view(np.int32)
_INFINITE, _MINUS_INFINITE = 0x7C00, 0xFC00  # the bits of float16, NaN's being larger


@dataclass
class Best:
    """The `top_k` best of what it is shown, at or above `min_similarity`; equal ones stay in the
    order in which they came."""

    top_k: int
    min_similarity: float
    _n_added: int = field(default=0, init=False)
    # similarity, minus the place in the order, path; the worst first, of equals the later
    _heap: list[tuple[float, int, str]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Raises UsageError for a similarity that is no number."""
        if math.isnan(self.min_similarity):
            raise UsageError("a min_similarity of nan; expected a cosine")

    @property
    def kept(self) -> list[tuple[str, float]]:
        """Paths and similarities, best first."""
        return [(path, similarity) for similarity, _, path in sorted(self._heap, reverse=True)]

    @property
    def least(self) -> float:
        """What is below this would not be kept."""
        return self._heap[0][0] if len(self._heap) == self.top_k else self.min_similarity

    def offer(
        self,
        paths: Iterable[str],
        similarities: NDArray[np.float32],
        is_left_out: Callable[[str], bool],
    ) -> None:
        """Show it many, in their order. `is_left_out` is asked only of paths that would be kept.

        similarities: float32 [n], one for each path.
        """
        for path, similarity in zip(paths, similarities.tolist(), strict=True):
            least, is_full = self.least, len(self._heap) == self.top_k
            is_better = similarity > least or (similarity == least and not is_full)
            if not is_better or is_left_out(path):
                continue
            self._n_added += 1
            entry = (similarity, -self._n_added, path)
            if is_full:
                heapreplace(self._heap, entry)
            else:
                heappush(self._heap, entry)


def cosines(embeddings: NDArray[np.generic], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit embeddings [n, d] with a unit query [d] -> float32 [n], summed in float64.

    A row's cosine is the same to the bit whatever rows are beside it.
    """
    products = _products(embeddings.astype(np.float64), query.astype(np.float64))
    return products.astype(np.float32)


def nearest(
    query: NDArray[np.float32],
    paths: Sequence[str],
    embeddings: NDArray[np.generic],
    best: Best,
    is_left_out: Callable[[str], bool],
    refuse: Callable[[int], object] = lambda row: None,
) -> None:
    """Show `best` the rows nearest to the query.

    query: float32 [d]; embeddings: float16 or float32 [n, d], both unit length; a mapped file
    is read once, in blocks. `is_left_out` is asked only of paths that would be kept. refuse: is
    called with a row that is no unit vector since its numbers are not finite or its cosine is
    beyond 1, and is expected to raise.
    """
    embeddings = embeddings.view(np.ndarray)  # slices of a numpy.memmap are slow to make
    # d products and d sums, each off by 2**-24 at most of a whole that is 1, whatever their
    # order; eight times that leaves room for rounded lengths and for rounding `least` itself
    error = 8 * len(query) * 2.0**-24
    starts = range(0, len(embeddings), BLOCK_ROWS)

    def look(start: int) -> NDArray[np.float32]:
        return _rough_cosines(embeddings[start : start + BLOCK_ROWS], query)

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for start, rough in zip(starts, pool.map(look, starts), strict=True):
            is_cosine = np.abs(rough) < LONGEST
            if not is_cosine.all():
                refuse(start + int(is_cosine.argmin()))
            for first in range(0, len(rough), SECOND_LOOK_ROWS):
                some = rough[first : first + SECOND_LOOK_ROWS]
                rows = start + first + np.flatnonzero(some >= best.least - error)
                similarities = cosines(embeddings[rows], query)
                likely = similarities >= best.least
                near = [paths[row] for row in rows[likely].tolist()]
                best.offer(near, similarities[likely], is_left_out)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the blocks to come


def _rough_cosines(
    embeddings: NDArray[np.generic], query: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The same summed in float32: [n, d] with [d] -> [n]. NaN for rows that are not finite."""
    if embeddings.dtype != np.float16:
        return _products(embeddings, query)
    # NumPy converts float16 one by one. Six times faster, and as exact: the bits moved to where
    # float32 has them are the number times 2**-112, for its exponent counts from 127, not 15
    query = query * np.float32(2.0**112)
    n_rows, width = embeddings.shape
    step = max(1, CACHED_VALUES // max(1, width))
    bits = np.empty((min(step, n_rows), width), dtype=np.int32)
    rough = np.empty(n_rows, dtype=np.float32)
    for start in range(0, n_rows, step):
        some = embeddings[start : start + step].view(np.int16)
        moved = bits[: len(some)]
        np.copyto(moved, some)  # int16 -> int32 repeats the sign in the upper half
        np.left_shift(moved, 13, out=moved)
        np.bitwise_and(moved, _SIGN_AND_VALUE, out=moved)
        rough[start : start + step] = _products(moved.view(np.float32), query)
        # what is not finite has become a number; two looks at bits cost a thirtieth of the search
        if (
            some.max(initial=0) >= _INFINITE
            or some.view(np.uint16).max(initial=0) >= _MINUS_INFINITE
        ):
            is_finite = np.isfinite(some.view(np.float16)).all(axis=1)
            rough[start : start + step][~is_finite] = np.nan
    return rough


def _products(embeddings: NDArray[Any], query: NDArray[Any]) -> NDArray[Any]:
    """[n, d] with [d] -> [n], each row's sum by itself."""
    # not `@`: BLAS brings threads of its own, which wait for a core by spinning on it
    products: NDArray[Any] = np.einsum("ij,j->i", embeddings, query)
    return products
