"""The nearest embeddings, against a plain sort."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipcli.search import BLOCK_ROWS, Best, cosines, nearest


def units(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def search(
    query: NDArray[np.float32],
    embeddings: NDArray[np.generic],
    top_k: int,
    min_similarity: float = -1.0,
    left_out: Collection[int] = (),
) -> list[tuple[int, float]]:
    """Row numbers and similarities."""
    best = Best(top_k, min_similarity)
    paths = [str(row) for row in range(len(embeddings))]
    nearest(query, paths, embeddings, best, lambda path: int(path) in left_out)
    return [(int(path), similarity) for path, similarity in best.kept]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("top_k", [1, 10, 500])
def test_nearest_are_those_of_a_plain_sort(dtype: type[np.generic], top_k: int) -> None:
    embeddings, query = units(300, 16).astype(dtype), units(16, seed=1)
    similarities = (embeddings.astype(np.float64) @ query).astype(np.float32)
    order = np.argsort(-similarities, kind="stable")[:top_k]
    expected = [(int(row), float(similarities[row])) for row in order]
    assert search(query, embeddings, top_k) == expected


def test_equal_ones_stay_in_their_order_across_blocks() -> None:
    n_rows = 2 * BLOCK_ROWS + 10
    # many ties: every component is -1, 0 or 1
    embeddings = np.random.default_rng(0).integers(-1, 2, (n_rows, 2)).astype(np.float16)
    query = np.array([0.6, 0.8], dtype=np.float32)
    expected = np.argsort(-cosines(embeddings, query), kind="stable")[:50_000]
    assert [row for row, _ in search(query, embeddings, 50_000)] == expected.tolist()
    # the one best row, at the very end
    embeddings[-1] = 2
    assert [row for row, _ in search(query, embeddings, 2)] == [n_rows - 1, expected[0]]


def test_mapped_file_is_searched(tmp_path: Path) -> None:
    embeddings = units(100, 8)
    np.save(tmp_path / "e.npy", embeddings)
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    assert search(embeddings[42], mapped, 3) == search(embeddings[42], embeddings, 3)
    assert search(embeddings[42], mapped, 1) == [(42, 1.0)]


def test_least_similarity_is_itself_let_in() -> None:
    embeddings = np.array([[1, 0], [0.5, 0], [0.25, 0], [-1, 0]], dtype=np.float32)
    query = np.array([1, 0], dtype=np.float32)
    assert search(query, embeddings, 10, 0.5) == [(0, 1.0), (1, 0.5)]
    assert search(query, embeddings, 1, 0.5) == [(0, 1.0)]
    assert search(query, embeddings, 10, 1.5) == []
    assert len(search(query, embeddings, 10)) == 4


def test_what_is_left_out_makes_room_for_the_next() -> None:
    embeddings, query = units(300, 16), units(16, seed=1)
    order = [row for row, _ in search(query, embeddings, 5)]
    kept = [row for row, _ in search(query, embeddings, 3, left_out={order[0], order[2]})]
    assert kept == [order[1], order[3], order[4]]


def test_no_rows_have_no_nearest() -> None:
    assert search(units(4), np.empty((0, 4), np.float32), 3) == []


def test_best_keep_the_order_in_which_equal_ones_came() -> None:
    best = Best(3, 0.0)
    for path, similarity in (("a", 0.5), ("b", 0.9), ("c", 0.5), ("d", 0.5), ("e", 0.9)):
        best.add(path, similarity)
    assert best.kept == [("b", 0.9), ("e", 0.9), ("a", 0.5)]
    assert not best.takes(0.5)
    assert best.takes(0.51)
