"""Tables of a path and what is said of it: CSV or TSV, with or without a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from clipcli.errors import UsageError

# what else a header may call these columns
OTHER_NAMES = {
    "path": (
        "filepath", "file_path", "filename", "file_name", "file", "image_path", "image", "photo"
    ),
    "label": ("class", "category", "label_name", "class_name"),
    "caption": ("title", "text", "description"),
}  # fmt: skip


def read_rows(
    path: str,
    columns: tuple[str, str],
    expected: str,
    *,
    delimiters: str = ",",
    skipinitialspace: bool = False,
) -> Iterator[tuple[str, str, str]]:
    """The place (for messages), path and second cell of each row that is not empty.

    The header, where there is one, says in which columns they are; without it there are two, in
    the order of `columns`. Cells are separated by the first of `delimiters` that stands in the
    first line. Raises UsageError, with `expected`, for what is no such table.
    """
    text = read_text(path, expected)
    first_line = text.lstrip().partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=next((one for one in delimiters if one in first_line), delimiters[0]),
        skipinitialspace=skipinitialspace,
    )
    places, width = [0, 1], 2
    is_first = True
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}, line {reader.line_num}"
            names = [cell.strip().lower() for cell in cells]
            if is_first and None not in (found := [_place(names, one) for one in columns]):
                places, width = [place for place in found if place is not None], len(cells)
            elif len(cells) != width:
                raise UsageError(f"{where}: {len(cells)} columns instead of {width}; {expected}")
            else:
                first, second = cells[places[0]], cells[places[1]].strip()
                check_filled((first, second), columns, where, expected)
                yield where, first, second
            is_first = False
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}; {expected}") from error


def _place(names: Sequence[str], column: str) -> int | None:
    """Where a header has this column, under its own name or another."""
    called = (column, *OTHER_NAMES.get(column, ()))
    return next((names.index(name) for name in called if name in names), None)


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
