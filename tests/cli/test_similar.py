"""`clipcli similar`: search by photograph, by words, and by sums of both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from program import Result

Cli = Callable[..., Result]


@pytest.fixture
def similar(cli: Cli, lite: str) -> Cli:
    return lambda *arguments: cli("similar", "--model", lite, *arguments)


@pytest.fixture
def stored(cli: Cli, lite: str, example_photos: Path, tmp_path: Path) -> Path:
    path = tmp_path / "photos.npz"
    assert cli("embed", example_photos, "--model", lite, "-o", path).code == 0
    return path


def test_photographs_come_in_the_order_of_their_cosines(
    similar: Cli, stored: Path, example_photos: Path
) -> None:
    arrays = np.load(stored)
    paths = arrays["paths"].tolist()
    query = paths.index(f"{example_photos}/cat.jpg")
    cosines = arrays["embeddings"] @ arrays["embeddings"][query]
    expected = [paths[row] for row in np.argsort(-cosines) if row != query]
    rows = similar(example_photos / "cat.jpg", example_photos).rows
    assert [row["path"] for row in rows] == expected
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert float(rows[0]["similarity"]) == pytest.approx(np.sort(cosines)[-2], abs=2e-6)


def test_a_file_of_embeddings_answers_as_the_photographs_do(
    similar: Cli, stored: Path, example_photos: Path
) -> None:
    for query in ((example_photos / "cat.jpg",), ("a cat", "--text")):
        direct = similar(*query, example_photos, "--top-k", 3)
        assert similar(*query, "--embeddings", stored, "--top-k", 3).stdout == direct.stdout


def test_the_querys_own_file_is_left_out_through_a_link_too(
    similar: Cli, example_photos: Path, tmp_path: Path
) -> None:
    album = tmp_path / "album"
    shutil.copytree(example_photos, album)
    (tmp_path / "link.jpg").symlink_to(album / "cat.jpg")
    names = [Path(row["path"]).name for row in similar(tmp_path / "link.jpg", album).rows]
    assert "cat.jpg" not in names
    assert len(names) == 5


def test_parts_are_added_and_subtracted_with_their_weights(
    similar: Cli, stored: Path, cli: Cli, lite: str
) -> None:
    embedded = cli("embed", "--text", "dog", "--text", "car", "--model", lite)
    dog, car = (
        np.array([float(row[f"e{index}"]) for index in range(384)]) for row in embedded.rows
    )
    query = dog - 2 * car
    cosines = np.load(stored)["embeddings"] @ (query / np.linalg.norm(query))
    rows = similar("dog", "--text", "--subtract-text", "2:car", "--embeddings", stored).rows
    assert [float(row["similarity"]) for row in rows] == pytest.approx(
        np.sort(cosines)[::-1], abs=2e-6
    )


def test_parts_that_cancel_out_are_refused(similar: Cli, stored: Path) -> None:
    result = similar("dog", "--text", "--subtract-text", "dog", "--embeddings", stored)
    assert result.code == 2
    assert "cancel each other out" in result.last_line


def test_paths_only_are_lines_or_nul_separated(similar: Cli, stored: Path) -> None:
    arguments = ("dog", "--text", "--embeddings", stored, "--top-k", 2, "--paths-only")
    lines = similar(*arguments).stdout
    assert lines.count(b"\n") == 2
    assert similar(*arguments, "-0").stdout == lines.replace(b"\n", b"\0")


def test_a_newline_in_a_path_is_warned_of_once_where_paths_are_lines(
    similar: Cli, stored: Path, tmp_path: Path
) -> None:
    arrays = dict(np.load(stored))
    names = [name.replace("/", "/a\n") for name in arrays["paths"].tolist()]
    np.savez(tmp_path / "named.npz", **(arrays | {"paths": np.array(names)}))
    arguments = ("dog", "--text", "--embeddings", tmp_path / "named.npz", "--paths-only")
    in_lines, in_nuls = similar(*arguments), similar(*arguments, "-0")
    assert in_lines.stdout == in_nuls.stdout.replace(b"\0", b"\n")
    first = in_nuls.stdout.split(b"\0")[0].decode()
    shown, n_lines = first.replace("\n", "\\n"), first.count("\n") + 1
    warning, _ = in_lines.stderr.splitlines()
    assert warning == (
        f"clipcli: {shown}: a newline in its name, so --paths-only prints it as"
        f" {n_lines} lines; -0 ends each path with a NUL instead"
    )
    assert "newline" not in in_nuls.stderr
    assert in_lines.code == in_nuls.code == 0


def test_min_similarity_leaves_out_what_is_below(similar: Cli, stored: Path) -> None:
    rows = similar("dog", "--text", "--embeddings", stored).rows
    middle = rows[2]["similarity"]
    some = similar("dog", "--text", "--embeddings", stored, "--min-similarity", middle).rows
    assert 2 <= len(some) <= 3
    none = similar("dog", "--text", "--embeddings", stored, "--min-similarity", 0.999)
    assert (none.code, none.rows) == (0, [])


def test_embeddings_of_another_model_are_refused(
    similar: Cli, stored: Path, tmp_path: Path
) -> None:
    arrays = dict(np.load(stored))
    header = json.loads(str(arrays["model"])) | {"sha256": "0" * 64, "model": "RN50"}
    np.savez(tmp_path / "other.npz", **(arrays | {"model": np.array(json.dumps(header))}))
    result = similar("dog", "--text", "--embeddings", tmp_path / "other.npz")
    assert result.code == 1
    assert "made by RN50 (000000000000)" in result.last_line


def test_a_query_prepared_in_another_way_is_refused(
    similar: Cli, stored: Path, example_photos: Path
) -> None:
    cat = example_photos / "cat.jpg"
    result = similar(cat, "--embeddings", stored, "--fit", "pad")
    assert result.code == 1
    assert "prepared with --fit crop, these with --fit pad" in result.last_line


def test_a_query_that_cannot_be_read_fails_the_run(similar: Cli, stored: Path) -> None:
    result = similar("missing.jpg", "--embeddings", stored)
    assert (result.code, result.stdout) == (1, b"")
    assert "missing.jpg: No such file or directory" in result.last_line


def test_a_photograph_that_cannot_be_read_is_reported_and_the_rest_searched(
    similar: Cli, example_photos: Path, tmp_path: Path
) -> None:
    shutil.copy(example_photos / "cat.jpg", tmp_path)
    (tmp_path / "empty.jpg").write_bytes(b"")
    result = similar("a cat", tmp_path, "--text", "--format", "jsonl")
    assert result.code == 3
    failed, found = result.objects
    assert failed["path"] == f"{tmp_path}/empty.jpg"
    assert (found["path"], found["rank"]) == (f"{tmp_path}/cat.jpg", 1)


def test_a_query_that_is_no_file_is_words_and_that_is_said(
    similar: Cli, stored: Path, example_photos: Path
) -> None:
    for where in ((example_photos,), ("--embeddings", stored)):
        result = similar("a cat", *where, "--top-k", 2)
        assert result.code == 0
        assert result.stderr.startswith("clipcli: a cat: no such file, so its words are searched")
        assert result.stdout == similar("a cat", *where, "--text", "--top-k", 2).stdout
        quiet = similar("a cat", *where, "--top-k", 2, "--quiet")
        assert (quiet.stdout, quiet.stderr) == (result.stdout, "")


def test_a_file_of_that_name_is_a_photograph_also_without_a_suffix(
    similar: Cli, example_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(example_photos / "cat.jpg", "a cat")
    result = similar("a cat", example_photos, "--top-k", 1)
    assert "no such file" not in result.stderr
    (row,) = result.rows
    assert row["path"] == f"{example_photos}/cat.jpg"
    assert float(row["similarity"]) == pytest.approx(1)


@pytest.mark.parametrize("query", ["cat.jpg", "cat.NEF", "photos/cat", "C:\\photos\\cat", "~/cat"])
def test_a_path_that_leads_nowhere_is_not_taken_for_words(
    similar: Cli, example_photos: Path, query: str
) -> None:
    result = similar(query, example_photos)
    assert (result.code, result.stdout) == (1, b"")
    assert result.stderr == (
        f"clipcli: {query}: No such file or directory; expected a photograph as the query, or"
        " --text for words\n"
    )
    assert similar(query, example_photos, "--text").code == 0


def test_a_folder_as_the_query_is_refused_by_what_it_is(similar: Cli, example_photos: Path) -> None:
    alone = similar(example_photos)
    assert alone.code == 2
    assert f"{example_photos} and nothing else: expected QUERY and either PATH" in alone.last_line
    result = similar(example_photos, example_photos)
    assert (result.code, result.stdout) == (1, b"")
    assert "is a folder; expected a photograph as the query, or --text" in result.last_line
