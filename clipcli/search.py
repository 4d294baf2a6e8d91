"""The nearest of many embeddings, exact: block by block, only the best are kept."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 65_536  # 256 MB at 512 dimensions, in the float64 that sums are made in


class Best:
    """The `top_k` best of what it is shown, at or above `min_similarity`; equal ones stay in the
    order in which they came."""

    def __init__(self, top_k: int, min_similarity: float) -> None:
        self.top_k = top_k
        self.min_similarity = min_similarity
        self.kept: list[tuple[str, float]] = []

    def takes(self, similarity: float) -> bool:
        """Whether something of this similarity would be kept."""
        if len(self.kept) == self.top_k:
            return similarity > self.kept[-1][1]
        return similarity >= self.min_similarity

    def add(self, path: str, similarity: float) -> None:
        if self.takes(similarity):
            insort(self.kept, (path, similarity), key=lambda kept: -kept[1])
            del self.kept[self.top_k :]


def cosines(embeddings: NDArray[np.generic], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit embeddings [n, d] with a unit query [d] -> float32 [n], summed in float64."""
    return (embeddings.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)


def nearest(
    query: NDArray[np.float32],
    paths: list[str],
    embeddings: NDArray[np.generic],
    best: Best,
    is_left_out: Callable[[str], bool],
) -> None:
    """Show `best` the rows nearest to the query.

    query: float32 [d]; embeddings: float16 or float32 [n, d], both unit length; a mapped file
    is read block by block. `is_left_out` is asked only of paths that would be kept.
    """
    for start in range(0, len(paths), BLOCK_ROWS):
        similarities = cosines(embeddings[start : start + BLOCK_ROWS], query)
        for row in np.argsort(-similarities, kind="stable"):
            similarity = float(similarities[row])
            if not best.takes(similarity):
                break
            if not is_left_out(paths[start + row]):
                best.add(paths[start + row], similarity)
