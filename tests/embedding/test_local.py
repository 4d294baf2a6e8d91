"""Order and pace of the engine, over real photographs and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.labelling import pipeline
from clipcli.photos.find import Found
from clipcli.records import Embedded, Failure, PassedOver, Photo


@pytest.fixture(scope="module")
def embedder(lite: str) -> Embedder:
    return Embedder.open(lite, device="cpu", remember=False)


def test_results_failures_and_passed_over_files_keep_their_order(
    embedder: Embedder, example_photos: Path
) -> None:
    cat, rocket = (Photo(str(example_photos / name)) for name in ("cat.jpg", "rocket.jpg"))
    found: list[Found] = [PassedOver("a"), cat, Failure("b", "no"), rocket, Photo("missing"), cat]
    records = list(pipeline.embed(found, embedder, RunOptions(batch_size=2)))
    kinds = [PassedOver, Embedded, Failure, Embedded, Failure, Embedded]
    assert [type(record) for record in records] == kinds
    assert [record.path for record in records] == [record.path for record in found]


def test_a_hundred_thousand_files_without_pixels_are_passed_on(
    embedder: Embedder, example_photos: Path
) -> None:
    found: list[Found] = [Photo(str(example_photos / "cat.jpg"))]
    found += [PassedOver(f"{number}.txt") for number in range(100_000)]
    records = list(pipeline.embed(found, embedder))
    assert records[1:] == found[1:]
