"""Rows that `classify` wrote, read back: CSV or TSV, also from a spreadsheet, JSON, JSON Lines,
Parquet. Of a table of `path,label` alone, too."""

from __future__ import annotations

import csv
import io
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, TextIO

from clipcli.errors import UsageError
from clipcli.files import strict_json
from clipcli.files.table_reader import DELIMITERS, is_utf8

EXPECTED = "expected rows of clipcli classify, as CSV, TSV, JSON, JSON Lines or Parquet"
HEAD_BYTES = 1 << 16
_FLAGS = {  # a spreadsheet writes TRUE, a person what a person writes
    **dict.fromkeys(("true", "1", "yes"), True),
    **dict.fromkeys(("false", "0", "no", ""), False),
}


class RowLabel(NamedTuple):
    """One label of a photograph; probability and similarity: None where the file has none."""

    label: str
    probability: float | None
    is_accepted: bool
    similarity: float | None = None


class PhotoRow(NamedTuple):
    """A photograph with its labels, best first; of one that fits none, without any.

    line: where it begins, from 1; in JSON and Parquet the number of the object or row.
    """

    path: str
    labels: tuple[RowLabel, ...]
    scoring: str
    model: str
    line: int
    moved_to: str | None = None

    @property
    def standing(self) -> tuple[RowLabel, ...]:
        """The accepted labels; where none is, the best one or the name for none."""
        return tuple(one for one in self.labels if one.is_accepted) or self.labels[:1]

    @property
    def answer(self) -> frozenset[tuple[str, bool]]:
        """What makes it another answer: its labels that stand, and whether they are accepted. A
        name for `none fits` is another one than a label of that name."""
        return frozenset((one.label, one.is_accepted) for one in self.standing)


@dataclass(frozen=True)
class ClassifiedFile:
    """What a file says of photographs, in its order, and why others failed, by path: of what was
    moved by the path where it lies, since a camera uses its names again.

    is_judged: somebody wrote which label is right, and no model how probable it is.
    """

    path: str
    photos: Mapping[str, PhotoRow]
    failures: Mapping[str, str] = field(default_factory=dict)
    is_judged: bool = False


def read_classified(path: str) -> ClassifiedFile:
    """All rows of a file, which may be a pipe. Raises UsageError for what holds something else."""
    try:
        with io.BufferedReader(io.FileIO(path), HEAD_BYTES) as file:
            head = file.peek()
            if head.startswith(b"PAR1"):
                return _of_cells(path, _parquet_rows(path, file))
            if b"\0" in head:
                raise UsageError(f"{path}: no text file; {EXPECTED}")
            text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
            first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
            if first in (b"{", b"["):
                return _of_objects(path, _objects(path, text, is_array=first == b"["))
            return _of_cells(path, _csv_rows(path, text))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}; {EXPECTED}") from error


def _of_cells(path: str, rows: Iterator[tuple[int, Mapping[str, Any]]]) -> ClassifiedFile:
    """Of rows with a label each; those of a photograph need not lie together."""
    labels: dict[str, list[RowLabel]] = {}
    origins: dict[str, PhotoRow] = {}
    is_judged = False
    for line, cells in rows:
        try:
            path_before, moved_to = _paths(cells)
            label = (cells["label"] or "").strip()
            name = moved_to or path_before
            if name not in labels:
                labels[name] = []
                is_judged = "probability" not in cells and "accepted" not in cells
                origins[name] = PhotoRow(
                    path_before,
                    (),
                    sys.intern(cells.get("scoring") or ""),
                    sys.intern(cells.get("model") or ""),
                    line,
                    moved_to,
                )
            if not is_utf8(label):
                raise ValueError("a label that is no UTF-8; save the file as UTF-8")
            if label:
                is_best = is_judged or not labels[name]
                labels[name].append(
                    RowLabel(
                        sys.intern(label),
                        _probability(cells.get("probability")),
                        _flag(cells.get("accepted", is_best)),  # which version 0.1.0 does not say
                        _number(cells.get("similarity")),
                    )
                )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise _unlike(path, line, error) from error
    photos = {name: origins[name]._replace(labels=tuple(some)) for name, some in labels.items()}
    return ClassifiedFile(path, photos, is_judged=is_judged)


def _of_objects(path: str, objects: Iterator[tuple[int, Any]]) -> ClassifiedFile:
    photos: dict[str, PhotoRow] = {}
    failures: dict[str, str] = {}
    for number, one in objects:
        try:
            name, moved_to = _paths(one)
            if "error" in one:
                failures[name] = str(one["error"])
                continue
            labels = tuple(
                RowLabel(
                    sys.intern(label["label"]),
                    _probability(label["probability"]),
                    _flag(label.get("accepted", rank == 1)),  # which version 0.1.0 does not say
                    float(label["similarity"]),
                )
                for rank, label in enumerate(one["predictions"], start=1)
            )
            origin = (sys.intern(one.get("scoring", "")), sys.intern(one["model"]))
            photos[moved_to or name] = PhotoRow(name, labels, *origin, number, moved_to)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise _unlike(path, number, error) from error
    return ClassifiedFile(path, photos, failures)


def _objects(path: str, text: TextIO, *, is_array: bool) -> Iterator[tuple[int, Any]]:
    number = 1
    try:
        if is_array:
            yield from enumerate(strict_json.loads(text.read()), start=1)
            return
        for number, line in enumerate(text, start=1):
            if line.strip():
                yield number, strict_json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}, line {number}: no JSON: {error}; {EXPECTED}") from error


def _csv_rows(path: str, text: TextIO) -> Iterator[tuple[int, Mapping[str, str]]]:
    """A header and rows, cells separated by the first of DELIMITERS that stands in the header."""
    header = text.readline()
    bare = re.sub('"[^"]*"', "", header)
    delimiter = next((one for one in DELIMITERS if one in bare), ",")
    reader = csv.reader(itertools.chain([header], text), delimiter=delimiter)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if "path" not in names or "label" not in names:
            raise UsageError(f"{path}: no columns path and label; {EXPECTED}")
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) < len(names) or any(cells[len(names) :]):
                where = f"{path}, line {reader.line_num}"
                n_cells = f"{len(cells)} columns instead of {len(names)}"
                raise UsageError(f"{where}: {n_cells}; {EXPECTED}")
            yield reader.line_num, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}; {EXPECTED}") from error


def _parquet_rows(path: str, file: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        cure = 'pip install "clipcli[parquet]"'
        raise UsageError(f"{path}: reading Parquet needs the package pyarrow; {cure}") from error
    try:
        # whose end is read first
        whole = file if file.seekable() else io.BytesIO(file.read())
        with pyarrow.parquet.ParquetFile(whole) as table:
            rows = (row for batch in table.iter_batches() for row in batch.to_pylist())
            yield from enumerate(rows, start=1)
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path}: no whole Parquet file; {EXPECTED}") from error


def _paths(fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """Where a photograph was, and where it was moved to, if it was."""
    path, moved_to = fields["path"], fields.get("moved_to") or None
    if path is None or path == "":
        raise ValueError("no path")
    if not isinstance(path, str) or not isinstance(moved_to, str | None):
        raise ValueError("a path that is no text")  # as JSON and Parquet may have
    return path, moved_to


def _probability(cell: Any) -> float | None:
    number = _number(cell)
    if number is not None and not 0 <= number <= 1:
        raise ValueError(f"a probability of {cell}")
    return number


def _number(cell: Any) -> float | None:
    """A spreadsheet may write 0,91."""
    if cell is None or cell == "":
        return None
    return float(cell.replace(",", ".") if isinstance(cell, str) else cell)


def _flag(cell: Any) -> bool:
    if isinstance(cell, bool):
        return cell
    word = str(cell).strip().lower()
    if word not in _FLAGS:
        raise ValueError(f"accepted is {cell!r} and neither true nor false")
    return _FLAGS[word]


def _unlike(path: str, line: int, error: Exception) -> UsageError:
    found = f"no {error}" if isinstance(error, KeyError) else str(error)
    return UsageError(f"{path}, line {line}: {found}; {EXPECTED}")
