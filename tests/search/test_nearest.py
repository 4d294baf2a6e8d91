"""The nearest embeddings, against a plain sort of float64 cosines."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipcli.search.nearest import BLOCK_ROWS, Best, _rough_cosines, cosines, nearest


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


def crowded(n_rows: int, width: int, dtype: type[np.generic], seed: int) -> NDArray[np.generic]:
    """Rows among which are many exact ties, and many that float32 sums cannot tell apart."""
    chance = np.random.default_rng(seed)
    embeddings = units(50, width, seed=seed).astype(dtype)[chance.integers(0, 50, n_rows)]
    for row in np.flatnonzero(chance.random(n_rows) < 0.5):  # the next number up or down
        beside = (row, chance.integers(width))
        embeddings[beside] = np.nextafter(embeddings[beside], dtype(chance.choice([-1, 1])))
    return embeddings


def plain_sort(
    query: NDArray[np.float32],
    embeddings: NDArray[np.generic],
    top_k: int,
    min_similarity: float,
    left_out: Collection[int],
) -> list[tuple[int, float]]:
    similarities = (embeddings.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    order = [int(row) for row in np.argsort(-similarities, kind="stable") if row not in left_out]
    found = [(row, float(similarities[row])) for row in order]
    return [(row, value) for row, value in found if value >= min_similarity][:top_k]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("block_rows", [37, 1000, 8192])
def test_nearest_are_exact_where_float32_cannot_tell(
    dtype: type[np.generic], block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcli.search.nearest.BLOCK_ROWS", block_rows)
    monkeypatch.setattr("clipcli.search.nearest.SECOND_LOOK_ROWS", 64)
    monkeypatch.setattr("clipcli.search.nearest.CACHED_VALUES", 1000)
    for seed, width in enumerate((3, 17, 64, 512)):
        embeddings = crowded(3000, width, dtype, seed)
        query = embeddings[seed].astype(np.float32)
        query /= np.linalg.norm(query)
        whole = plain_sort(query, embeddings, 3000, -1.0, ())
        left_out = {row for row, _ in whole[:40:2]}
        middle = whole[200][1]
        for top_k in (1, 10, 300):
            for asked in ((-1.0, set()), (-1.0, left_out), (middle, left_out), (whole[0][1], ())):
                expected = plain_sort(query, embeddings, top_k, *asked)
                assert search(query, embeddings, top_k, *asked) == expected


def test_float16_is_looked_at_without_loss() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    query = np.array([1.0], dtype=np.float32)
    assert (_rough_cosines(every[:, None], query) == every.astype(np.float32)).all()


def test_foreign_byte_order_is_searched() -> None:
    for dtype in ("float16", "float32"):
        embeddings, query = units(300, 16).astype(dtype), units(16, seed=1)
        swapped = embeddings.astype(embeddings.dtype.newbyteorder())
        assert search(query, swapped, 10) == search(query, embeddings, 10)


def test_a_cosine_does_not_depend_on_the_rows_beside_it() -> None:
    embeddings, query = units(333, 77), units(77, seed=1)
    alone = [cosines(embeddings[row : row + 1], query)[0] for row in range(333)]
    assert (cosines(embeddings, query) == alone).all()


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
    expected = np.argsort(-cosines(embeddings, query), kind="stable")[:10_000]
    assert [row for row, _ in search(query, embeddings, 10_000)] == expected.tolist()
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


def test_only_what_would_be_kept_is_asked_about() -> None:
    embeddings = np.linspace(1, 0.9, 100, dtype=np.float32)[:, None]
    best, asked = Best(2, -1.0), []
    nearest(
        np.ones(1, np.float32),
        [str(row) for row in range(100)],
        embeddings,
        best,
        lambda path: asked.append(path) or path == "0",
    )
    assert asked == ["0", "1", "2"]
    assert [path for path, _ in best.kept] == ["1", "2"]


def test_what_goes_wrong_on_the_way_is_not_swallowed() -> None:
    def interrupted(path: str) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nearest(units(4, seed=1), ["a"], units(1, 4), Best(1, -1.0), interrupted)


def test_no_rows_have_no_nearest() -> None:
    assert search(units(4), np.empty((0, 4), np.float32), 3) == []


def test_best_keep_the_order_in_which_equal_ones_came() -> None:
    best = Best(3, 0.0)
    offered = np.array([0.5, 0.75, 0.5, 0.5, 0.75], np.float32)
    best.offer("abcde", offered, lambda path: False)
    assert best.kept == [("b", 0.75), ("e", 0.75), ("a", 0.5)]
    best.offer("fg", np.array([0.5, 0.625], np.float32), lambda path: False)
    assert best.kept == [("b", 0.75), ("e", 0.75), ("g", 0.625)]


def test_a_batch_is_offered_as_one_by_one() -> None:
    similarities = np.random.default_rng(0).integers(0, 5, 200).astype(np.float32)
    paths = [str(number) for number in range(200)]
    single, batched = Best(30, 1.0), Best(30, 1.0)
    for number, path in enumerate(paths):
        if path != "7":
            single.offer([path], similarities[[number]], lambda path: False)
    for start in range(0, 200, 64):
        some = slice(start, start + 64)
        batched.offer(paths[some], similarities[some], lambda path: path == "7")
    assert batched.kept == single.kept
    assert len(batched.kept) == 30
