"""`clipcli embed`: vectors of photographs and of texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from program import Result
from safetensors import safe_open

Cli = Callable[..., Result]


@pytest.fixture
def embed(cli: Cli, lite: str) -> Cli:
    return lambda *arguments: cli("embed", "--model", lite, *arguments)


def test_all_files_of_embeddings_hold_the_same_rows(
    embed: Cli, example_photos: Path, tmp_path: Path
) -> None:
    for suffix in ("npz", "npy", "safetensors"):
        assert embed(example_photos, "-o", tmp_path / f"photos.{suffix}").code == 0
    arrays = np.load(tmp_path / "photos.npz", allow_pickle=False)
    embeddings = arrays["embeddings"]
    assert (embeddings.shape, embeddings.dtype) == ((6, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    paths = sorted(str(path) for path in example_photos.glob("*.jpg"))
    assert arrays["paths"].tolist() == paths

    assert np.array_equal(np.load(tmp_path / "photos.npy", allow_pickle=False), embeddings)
    first, *lines = (tmp_path / "photos.jsonl").read_text().splitlines()
    header = json.loads(first)
    assert header == json.loads(str(arrays["model"]))
    assert (header["dtype"], header["count"], header["preprocessing"]) == (
        "float32",
        6,
        "crop",
    )
    assert [json.loads(line) for line in lines] == paths

    with safe_open(tmp_path / "photos.safetensors", framework="numpy") as file:
        assert np.array_equal(file.get_tensor("embeddings"), embeddings)
        assert json.loads(file.metadata()["paths"]) == paths
        assert json.loads(file.metadata()["header"]) == header


def test_csv_and_json_lines_on_stdout_are_the_same_numbers(
    embed: Cli, example_photos: Path
) -> None:
    rows = embed(example_photos).rows
    objects = embed(example_photos, "--format", "jsonl").objects
    assert [row["path"] for row in rows] == [item["path"] for item in objects]
    by_csv = [[float(row[f"e{index}"]) for index in range(384)] for row in rows]
    assert by_csv == [item["embedding"] for item in objects]


def test_float16_halves_the_file_and_stays_close(
    embed: Cli, example_photos: Path, tmp_path: Path
) -> None:
    embed(example_photos, "-o", tmp_path / "full.npy")
    embed(example_photos, "-o", tmp_path / "half.npy", "--dtype", "float16")
    full, half = np.load(tmp_path / "full.npy"), np.load(tmp_path / "half.npy")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.astype(np.float32), full, atol=5e-4)


def test_texts_are_embedded_as_they_stand(embed: Cli, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a dog\n\na cat\n")
    by_file = embed("--text-file", texts, "--format", "jsonl").objects
    by_option = embed("--text", "a dog", "--text", "a cat", "--format", "jsonl").objects
    assert [item["text"] for item in by_file] == ["a dog", "a cat"]
    assert by_file == by_option
    result = embed("--text", "a dog", "-o", tmp_path / "texts.npz")
    assert result.code == 0
    assert "1 text embedded; " in result.stderr
    assert " on cpu" in result.stderr, "the summary names the model that embedded them"
    assert np.load(tmp_path / "texts.npz")["paths"].tolist() == ["a dog"]


def test_a_failed_photograph_has_no_row_and_exit_code_3(
    embed: Cli, example_photos: Path, tmp_path: Path
) -> None:
    album = tmp_path / "album"
    album.mkdir()
    shutil.copy(example_photos / "cat.jpg", album)
    (album / "empty.jpg").write_bytes(b"")
    result = embed(album, "-o", tmp_path / "album.npz")
    assert result.code == 3
    assert "empty.jpg: no picture: the file is empty" in result.stderr
    assert np.load(tmp_path / "album.npz")["paths"].tolist() == [f"{album}/cat.jpg"]


def test_where_nothing_can_be_read_no_file_and_no_part_is_left(embed: Cli, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.touch()
    for suffix in ("npy", "npz", "safetensors", "csv", "jsonl"):
        result = embed(broken, "-o", tmp_path / f"some.{suffix}")
        assert result.code == 1
        assert result.last_line == "clipcli: not one photograph could be read, 1 failed"
    assert [*tmp_path.iterdir()] == [broken]


def test_an_empty_folder_writes_no_file(embed: Cli, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    arguments = (tmp_path / "album", "-o", tmp_path / "album.npy")
    assert embed(*arguments).code == 1
    result = embed(*arguments, "--allow-empty")
    assert (result.code, list(tmp_path.glob("*.npy*"))) == (0, [])
    assert "nothing to do" in result.last_line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--text", "dog", "photos"), "embed photographs and texts separately"),
        ((), "no PATH"),
        (("photos", "-o", "x.npy", "--format", "csv"), "ask for two formats"),
        (("photos", "--dtype", "float16"), "--dtype float16 is for .npy, .npz, .safetensors"),
        (("photos", "-o", "x.feather"), "suffix .feather"),
        (("photos", "--format", "json"), "expected csv, tsv, jsonl or parquet"),
    ],
)
def test_what_cannot_work_is_refused(embed: Cli, arguments: tuple[str, ...], message: str) -> None:
    result = embed(*arguments)
    assert result.code == 2
    assert message in result.last_line
