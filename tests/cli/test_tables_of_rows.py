"""A terminal gets a table that fits it, a pipe and a file get CSV."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal import Terminal

COLOURS = re.compile(r"\x1b\[(?:0|1|2|3[0-7])m")
NAMES = ("cat.jpg", "猫の写真" * 12 + ".jpg", "IMG_" + "0123456789" * 9 + ".jpg")
LABELS = "cat,astronaut,a cup of black coffee on a table in a small street café in Paris"


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path_factory.mktemp("home"))
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    album = tmp_path_factory.mktemp("album")
    for name in NAMES:
        shutil.copy(example_photos / "cat.jpg", album / name)
    return album


def n_cells(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def runs(album: Path) -> dict[str, tuple[object, ...]]:
    of_lite = ("--model", "lite", "--quiet")
    return {
        "classify": ("classify", album, "--labels", LABELS, "--top-k", 3, *of_lite),
        "similar": ("similar", "--text", "a cat", album, *of_lite),
        "embed": ("embed", "--text", "a cat", "--text", "a dog in the snow " * 9, *of_lite),
    }


def test_a_table_is_as_wide_as_the_terminal_at_most(terminal: Terminal, album: Path) -> None:
    for name, run in runs(album).items():
        for columns in (40, 80, 120, 200):
            code, printed = terminal.run(*run, columns=columns, NO_COLOR="1")
            assert code == 0
            heading, *rows = printed.splitlines()
            assert heading.isupper()
            assert len(rows) == {"classify": 9, "similar": 3, "embed": 2}[name]
            assert max(map(n_cells, rows)) <= columns
            if name == "classify":
                assert ("SIMILARITY" in heading) == (columns > 40)
            assert "\x1b" not in printed
            # also where the environment says so
            assert terminal.run(*run, NO_COLOR="1", COLUMNS=str(columns))[1] == printed


def test_colours_and_none(terminal: Terminal, album: Path) -> None:
    for run in runs(album).values():
        coloured, plain, dumb, forced = (
            terminal.run(*run, columns=100, **environment)[1]
            for environment in (
                {},
                {"NO_COLOR": "1"},
                {"TERM": "dumb"},
                {"TERM": "dumb", "FORCE_COLOR": "1"},
            )
        )
        assert COLOURS.search(coloured)
        assert "\x1b" not in COLOURS.sub("", coloured)
        assert COLOURS.sub("", coloured) == plain == dumb == forced


def test_a_format_that_is_asked_for_is_given(
    terminal: Terminal, album: Path, tmp_path: Path
) -> None:
    """Also in a pipe and a file; unasked they get CSV, and a terminal a table."""
    for run in runs(album).values():
        csv = terminal.run(*run, "--format", "csv")[1]
        assert terminal.run(*run, "-o", tmp_path / "rows.csv") == (0, "")
        assert (tmp_path / "rows.csv").read_text() == csv
        assert terminal.run(*run, "--format", "table", "-o", tmp_path / "t") == (0, "")
        table = (tmp_path / "t").read_text()
        assert terminal.run(*run, columns=100, NO_COLOR="1") == (0, table)


def test_vectors_of_photographs_stay_csv(terminal: Terminal, album: Path) -> None:
    vectors = ("embed", album / "cat.jpg", "--model", "lite", "--quiet")
    assert terminal.run(*vectors)[1].startswith("path,e0,e1,")
    expected = "clipcli: --format table: expected csv, tsv, jsonl or parquet\n"
    assert terminal.run(*vectors, "--format", "table") == (2, expected)


def test_a_pipe_needs_no_rich_and_a_table_in_it_is_100_wide(album: Path) -> None:
    run = [*map(str, runs(album)["classify"]), "--format"]
    code = (
        f"import sys; from clipcli.cli.main import run; run({[*run, 'csv']});"
        f" print('rich' in sys.modules); run({[*run, 'table']})"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    out = child.stdout.decode()
    csv, table = out.split("False\n")
    assert csv.startswith("path,rank,label,")
    assert 80 < max(map(n_cells, table.splitlines())) <= 100
    assert "\x1b" not in table
