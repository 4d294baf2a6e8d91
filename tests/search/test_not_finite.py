"""A stored embedding that is not a number is no answer, and neither hides nor makes one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from answers import LITE
from numpy.typing import NDArray
from program import Result

from clipcli.errors import EmbeddingFileError, UsageError
from clipcli.files import embedding_file
from clipcli.files.embedding_file import SUFFIXES, Dtype, EmbeddingFile, Header
from clipcli.files.embedding_writer import open_embeddings
from clipcli.records import Embedded
from clipcli.search.nearest import BLOCK_ROWS, Best
from clipcli.search.query import QueryPart, encode_query
from clipcli.search.similar import similar_in_file

Cli = Callable[..., Result]
N_ROWS, WIDTH, BAD_ROW = BLOCK_ROWS + 900, 16, BLOCK_ROWS + 700


def rows(n: int) -> NDArray[np.float32]:
    values = np.random.default_rng(0).normal(size=(n, WIDTH))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def stored(path: Path, embeddings: NDArray[np.float32], dtype: Dtype) -> EmbeddingFile:
    with open_embeddings(path, Header.of(LITE, dtype)) as writer:
        for number, embedding in enumerate(embeddings):
            writer.write(Embedded(f"{number}.jpg", embedding, LITE))
        writer.finish()
    return embedding_file.read(path)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_row_that_is_not_finite_is_refused_by_name(
    suffix: str, dtype: Dtype, tmp_path: Path
) -> None:
    query = rows(N_ROWS)[0]
    query[3] = 0  # so that a large number there is not seen in the product
    path = tmp_path / f"photos{suffix}"
    for value in (np.nan, np.inf, -np.inf):
        for place in (2, 3):
            embeddings = rows(N_ROWS)
            embeddings[BAD_ROW, place] = value
            file = stored(path, embeddings, dtype)
            with pytest.raises(EmbeddingFileError) as caught:
                list(similar_in_file(query, file))
            assert str(caught.value).startswith(f"{path}: row {BAD_ROW}, {BAD_ROW}.jpg: ")
            assert "embed the photographs again" in str(caught.value)


def test_a_cosine_beyond_one_is_refused(tmp_path: Path) -> None:
    embeddings = rows(N_ROWS)
    embeddings[BAD_ROW] *= 2
    file = stored(tmp_path / "photos.npy", embeddings, "float32")
    with pytest.raises(EmbeddingFileError, match=f"row {BAD_ROW}, .*an embedding of length 2;"):
        list(similar_in_file(rows(N_ROWS)[BAD_ROW], file))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_all_finite_rows_are_compared(dtype: Dtype, tmp_path: Path) -> None:
    embeddings = rows(N_ROWS)
    embeddings[5] = -np.eye(WIDTH, dtype=np.float32)[
        1
    ]  # the largest and smallest numbers there are
    file = stored(tmp_path / "photos.npy", embeddings, dtype)
    answers = list(similar_in_file(embeddings[BAD_ROW], file, top_k=N_ROWS))
    assert len(answers) == N_ROWS
    assert answers[0].path == f"{BAD_ROW}.jpg"


def test_the_querys_own_row_is_looked_at(tmp_path: Path) -> None:
    embeddings = rows(4)
    embeddings[2, 0] = np.nan
    file = stored(tmp_path / "photos.npy", embeddings, "float32")
    with pytest.raises(EmbeddingFileError, match=r"row 2, 2\.jpg: an embedding of length nan"):
        encode_query([QueryPart("image", "2.jpg")], None, file=file)


def test_a_header_with_a_number_for_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photos.npy"
    stored(path, rows(2), "float32")
    header, *lines = path.with_suffix(".jsonl").read_text().splitlines()
    changed = json.loads(header) | {"model": float("nan")}
    path.with_suffix(".jsonl").write_text("\n".join([json.dumps(changed), *lines, ""]))
    with pytest.raises(EmbeddingFileError, match="a name in its header is no text"):
        embedding_file.read(path)


def test_the_command_refuses_such_a_file(cli: Cli, tmp_path: Path) -> None:
    embeddings = rows(4)
    embeddings[3, 1] = np.nan
    file = stored(tmp_path / "photos.npy", embeddings, "float32")
    result = cli("similar", "0.jpg", "--embeddings", file.path, "--format", "jsonl")
    assert (result.code, result.stdout) == (1, b"")
    assert result.last_line.startswith(f"clipcli: {file.path}: row 3, 3.jpg: an embedding of")


def test_weights_and_least_similarities_are_numbers() -> None:
    for weight in (float("nan"), float("inf")):
        with pytest.raises(UsageError, match="expected a finite number"):
            QueryPart("text", "sunset", weight)
    with pytest.raises(UsageError, match="expected a finite number"):
        QueryPart.parse("text", f"{'9' * 400}:sunset")
    assert QueryPart.parse("text", "nan:sunset") == QueryPart("text", "nan:sunset")
    with pytest.raises(UsageError, match="expected a cosine"):
        Best(3, float("nan"))
