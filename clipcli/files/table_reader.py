"""Tables of a path and what is said of it: CSV or TSV, with or without a header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clipcli.errors import UsageError
from clipcli.files.table_columns import Columns

DELIMITERS = ",;\t|"


def read_rows(
    path: str,
    columns: Columns,
    expected: str,
    is_photo: Callable[[str], bool],
    *,
    delimiters: str = DELIMITERS,
    skipinitialspace: bool = False,
) -> Iterator[tuple[str, str, str]]:
    """The place (for messages), path and second cell of each row that is not empty.

    `Columns.find` says where they are, and whether the first row is one; it asks `is_photo` of its
    path. Cells are separated by the first of `delimiters` that stands, outside quotes, in the first
    line. Raises UsageError, with `expected`, for what is no such table.
    """
    text = read_text(path, expected)
    first_line = re.sub('"[^"]*"', "", text.lstrip().partition("\n")[0])
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=next((one for one in delimiters if one in first_line), delimiters[0]),
        skipinitialspace=skipinitialspace,
    )
    places: list[int] = []
    width = 0
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}, line {reader.line_num}"
            if not places:
                width = len(cells)
                try:
                    places, is_header = columns.find(cells, is_photo)
                except UsageError as error:
                    more = "" if columns.are_chosen else f"; {expected}"
                    raise UsageError(f"{where}: {error}{more}") from error
                if is_header:
                    continue
            if len(cells) != width:
                raise UsageError(f"{where}: {len(cells)} columns instead of {width}; {expected}")
            first, second = cells[places[0]], cells[places[1]].strip()
            check_filled((first, second), columns.names, where, expected)
            yield where, first, second
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}; {expected}") from error


def read_text(path: str, expected: str) -> str:
    """A text file; bytes that are no UTF-8, as a path may hold, become lone surrogates."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; {expected}") from error
    if b"\0" in data:
        raise UsageError(f"{path}: no text file; {expected}")
    return data.decode("utf-8-sig", "surrogateescape")


def check_filled(row: Sequence[str], columns: Sequence[str], where: str, expected: str) -> None:
    """Raises UsageError for a row in which something is empty."""
    for cell, column in zip(row, columns, strict=True):
        if not cell:
            raise UsageError(f"{where}: no {column}; {expected}")


def is_utf8(text: str) -> bool:
    """Whether nothing in a text of `read_text` stands for bytes that are no UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
