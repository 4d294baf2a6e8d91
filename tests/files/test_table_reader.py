"""Rows of a table, and what is no table: one line that says where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clipcli.errors import UsageError
from clipcli.files.table_columns import Columns
from clipcli.files.table_reader import is_utf8, read_rows

COLUMNS = Columns(("path", "label"))


def is_png(cell: str) -> bool:
    return cell.endswith(".png")


def rows(path: Path, data: bytes, **how: str | bool) -> list[tuple[str, ...]]:
    path.write_bytes(data)
    found = read_rows(str(path), COLUMNS, "expected a table", is_png, **how)  # type: ignore[arg-type]
    return [(where.removeprefix(f"{path}, "), *cells) for where, *cells in found]


@pytest.mark.parametrize(
    "data",
    [
        b"a.png,dog\n\nb.png,cat\n",
        b"path,label\na.png,dog\nb.png,cat\n",
        b"\xef\xbb\xbfLabel,seen, PATH\r\ndog,2026,a.png\r\ncat,,b.png",
    ],
)
def test_a_header_says_which_column_is_which(tmp_path: Path, data: bytes) -> None:
    assert [row[1:] for row in rows(tmp_path / "t.csv", data)] == [
        ("a.png", "dog"),
        ("b.png", "cat"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"filename,class\na.png,dog\nb.png,cat\n",
        b"Category;Size;Image_Path\ndog;3;a.png\ncat;4;b.png\n",
        b"file\tlabel\na.png\tdog\nb.png\tcat\n",
        b"a.png;dog\nb.png;cat\n",
        b"file|label\na.png|dog\nb.png|cat\n",
        b'"file";"class, or none"; label\na.png;x; dog\n"b.png";"";"cat"\n',
    ],
)
def test_other_names_and_other_delimiters_are_understood(tmp_path: Path, data: bytes) -> None:
    found = rows(tmp_path / "t.csv", data)
    assert [row[1:] for row in found] == [("a.png", "dog"), ("b.png", "cat")]


def test_a_row_is_named_by_its_last_line_in_the_file(tmp_path: Path) -> None:
    assert rows(tmp_path / "t.csv", b'a.png,dog\n\n"b\nc",cat\n') == [
        ("line 1", "a.png", "dog"),
        ("line 4", "b\nc", "cat"),
    ]


def test_spaces_before_a_quote_belong_to_the_cell_unless_they_are_skipped(tmp_path: Path) -> None:
    data = b'a.png, "dog, wet"\n'
    skipped = rows(tmp_path / "t.csv", data, skipinitialspace=True)
    assert skipped == [("line 1", "a.png", "dog, wet")]
    with pytest.raises(UsageError, match="line 1: 3 columns instead of 2"):
        rows(tmp_path / "t.csv", data)


def test_bytes_that_are_no_utf8_come_through(tmp_path: Path) -> None:
    ((_, path, label),) = rows(tmp_path / "t.tsv", b"caf\xe9.png\t\xe7a va\n", delimiters="\t")
    assert os.fsencode(path) == b"caf\xe9.png"
    assert not is_utf8(label)
    assert is_utf8("ça va")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a.png\n", ", line 1: 1 columns instead of 2; expected a table"),
        (b"a.png,dog\nb.png, \n", ", line 2: no label; expected a table"),
        (b"a.png,dog\n,dog\n", ", line 2: no path; expected a table"),
        (b"a.png,dog\0\n", ": no text file; expected a table"),
    ],
)
def test_what_is_no_table_is_told_with_its_line(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        rows(tmp_path / "t.csv", data)
    assert str(caught.value) == f"{tmp_path}/t.csv{said}"
