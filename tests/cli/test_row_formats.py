"""`--format tsv` and `parquet`, and the suffixes that ask for them."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Result, command, run
from terminal import Terminal

Cli = Callable[..., Result]


def test_tsv_has_the_rows_of_csv(cli: Cli, example_photos: Path, tmp_path: Path, lite: str) -> None:
    output = tmp_path / "rows.tsv"
    for arguments in (
        ("classify", example_photos, "--labels", "dog,cat,rocket"),
        ("similar", "a cat", example_photos, "--text"),
        ("embed", example_photos / "cat.jpg"),
    ):
        rows = cli(*arguments, "--model", lite, "--format", "csv").rows
        assert cli(*arguments, "--model", lite, "-o", output).code == 0
        text = output.read_text()
        assert list(csv.DictReader(io.StringIO(text), delimiter="\t")) == rows
        assert '"' not in text


def test_parquet_has_the_rows_of_csv_in_a_file_and_in_a_pipe(
    cli: Cli, example_photos: Path, tmp_path: Path, lite: str
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason='needs: pip install "clipcli[parquet]"')
    output = tmp_path / "rows.parquet"
    labelled = ("classify", example_photos, "--labels", "dog,cat,rocket", "--model", lite)
    rows = cli(*labelled, "--format", "csv").rows
    assert cli(*labelled, "-o", output).code == 0
    table = parquet.read_table(output)
    assert table["label"].to_pylist() == [row["label"] for row in rows]
    assert table["probability"].to_pylist() == [float(row["probability"]) for row in rows]
    piped = run(*labelled, "--format", "parquet")
    assert parquet.read_table(io.BytesIO(piped.stdout)).equals(table)

    search = ("similar", "a cat", example_photos, "--model", lite)
    best = cli(*search, "--format", "csv").rows
    assert cli(*search, "-o", output).code == 0
    assert parquet.read_table(output)["path"].to_pylist() == [row["path"] for row in best]
    output.unlink()

    numbers = ("embed", example_photos, "--model", lite)
    listed = [[float(n) for n in [*row.values()][1:]] for row in cli(*numbers).rows]
    assert cli(*numbers, "-o", output).stderr.count("holds rows of") == 0
    written = parquet.read_table(output)["embedding"].to_pylist()
    assert written == [pytest.approx(row, rel=1e-7) for row in listed]


def test_parquet_is_not_for_a_terminal(example_photos: Path, tmp_path: Path, lite: str) -> None:
    pytest.importorskip("pyarrow", reason='needs: pip install "clipcli[parquet]"')
    terminal = Terminal(tmp_path)
    code, shown = terminal.run("embed", example_photos, "--format", "parquet", "--model", lite)
    terminal.close()
    assert code == 2
    assert "--format parquet: not for a terminal; pass -o FILE.parquet" in shown


def test_a_closed_pipe_ends_parquet_quietly(example_photos: Path, lite: str) -> None:
    pytest.importorskip("pyarrow", reason='needs: pip install "clipcli[parquet]"')
    arguments = ("embed", example_photos / "cat.jpg", "--format", "parquet", "--model", lite, "-q")
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0
