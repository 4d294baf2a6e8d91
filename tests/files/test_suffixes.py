"""A file's suffix promises what is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from program import Result

from clipcli.errors import UsageError
from clipcli.files.suffixes import check_suffix

Cli = Callable[..., Result]
ROWS = ".csv, .tsv, .json, .jsonl or .parquet"


@pytest.mark.parametrize("path", [None, "labels", "out.txt", "a.CSV", "v1.2", "x.csv.part", "a/.x"])
def test_what_promises_nothing_else_is_taken(path: str | None) -> None:
    check_suffix("--output", path, ".csv")


def test_a_promise_that_is_not_kept_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^--output a\.XLSX: \.xlsx is not written; expected \.csv"
    ):
        check_suffix("--output", "a.XLSX", ".csv")


def test_every_command_refuses_what_it_does_not_write(
    cli: Cli, example_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = ("--labels", "cat,dog")
    for command, option, path, expected in (
        (("classify", example_photos, *labels), "--output", "x.xlsx", ROWS),
        (("classify", example_photos, *labels), "--failures", "x.json", ".csv"),
        (("similar", "a cat", example_photos), "--output", "x.feather", ROWS),
        (("eval", example_photos), "--output", "r.pdf", ".json, .csv or .tex"),
        (("eval", example_photos), "--report", "r.pdf", ".html or .htm"),
        (("calibrate", example_photos), "--output", "x.csv", ".json"),
        (("probe", "fit", example_photos), "--output", "x.csv", ".probe or .safetensors"),
        (("prompts", "choose", example_photos), "--output", "x.csv", ".txt"),
        (("train", example_photos, "--init", "tiny"), "--output", "x.pt", ".safetensors"),
    ):
        result = cli(*command, option, path)
        suffix = Path(path).suffix
        assert (result.code, result.stdout) == (2, b""), command
        assert result.stderr == (
            f"clipcli: {option} {path}: {suffix} is not written; expected {expected}\n"
        )
    embedded = cli("embed", example_photos, "-o", "x.feather")
    assert embedded.code == 2
    assert "x.feather: suffix .feather; expected .npy, .npz, .safetensors, .csv" in embedded.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_counts_in_any_case_and_a_format_that_is_asked_for_comes_first(
    cli: Cli, example_photos: Path, lite: str, tmp_path: Path
) -> None:
    classify = ("classify", example_photos / "cat.jpg", "--labels", "cat,dog", "--model", lite)
    assert cli(*classify, "-o", tmp_path / "A.JSONL").code == 0
    assert (tmp_path / "A.JSONL").read_text().startswith('{"path":')
    assert cli(*classify, "-o", tmp_path / "a.tsv", "--format", "csv").code == 0
    assert (tmp_path / "a.tsv").read_text().startswith("path,rank,label")
