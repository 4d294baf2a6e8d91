"""Records to lines of CSV, TSV, JSON, JSON Lines, or bare paths.

A new format of rows is a class, a line of `ROW_WRITERS`, and a choice of --format in `RowFormat`.
Tables for people are in `table_rows.py`, which needs Rich, and Parquet in `parquet_rows.py`, which
needs pyarrow.
"""

from __future__ import annotations

import csv
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from clipcli.errors import one_line
from clipcli.records import Classified, Embedded, EmbeddedText, Failure, Match, Record

if TYPE_CHECKING:
    from clipcli.records import Embedding, Prediction

RowFormat = Literal["csv", "tsv", "json", "jsonl", "parquet", "table"]
CLASSIFY_COLUMNS = (
    *("path", "rank", "label", "probability", "similarity"),
    *("accepted", "scoring", "model"),  # what comes later goes behind
)
MOVED_TO = "moved_to"  # last, where photographs are moved
FAILURE_COLUMNS = ("path", "error")
PASSED_OVER_COLUMNS = ("path", "reason")
SIMILAR_COLUMNS = ("path", "rank", "similarity", "model")


@dataclass(frozen=True)
class TableContents:
    """What a table will hold, as far as the run knows before the first row: the columns are made
    for that. names: the paths or texts that may come, which are read for a table alone; n_ranks:
    how many rows a photograph, or a search, may have."""

    record: type[Record]
    names: Iterable[str] = ()
    labels: Sequence[str] = ()
    unknown: str | None = None
    n_ranks: int = 1


class _Echo:
    def write(self, line: str) -> str:
        return line


# their `writerow` gives what `write` gives: the line
_CSV: Any = csv.writer(_Echo())
_TSV: Any = csv.writer(_Echo(), "excel-tab")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def embed_columns(first: str, width: int) -> list[str]:
    """`path` or `text`, then one column for each dimension."""
    return [first, *(f"e{index}" for index in range(width))]


class Destination(Protocol):
    """Where bytes go: `part_file.PartFile` or `stdout.Stdout`. A terminal gets all control
    characters escaped but line ends and tabs; those inside a name are escaped here."""

    def isatty(self) -> bool: ...
    def write(self, data: bytes) -> None: ...
    def flush(self) -> None: ...


class Writer(Protocol):
    """Takes records one by one; `finish`, after the last, closes what the format leaves open."""

    def write(self, record: Record) -> None: ...
    def finish(self) -> None: ...


class RowWriter(ABC):
    """Records as text, between a start and an end. `columns` are the header of CSV."""

    def __init__(self, destination: Destination, columns: Sequence[str]) -> None:
        self._destination = destination
        self._columns = columns
        self._is_begun = False
        self._is_terminal = destination.isatty()

    def write(self, record: Record) -> None:
        """Write one record, and before the first one the start."""
        self._put(self._text(record))

    def finish(self) -> None:
        """Write the end; what is said afterwards stands below it on a terminal."""
        self._put(self._end())
        self._destination.flush()

    def _start(self) -> str:
        return ""

    @abstractmethod
    def _text(self, record: Record) -> str: ...

    def _end(self) -> str:
        return ""

    def _put(self, text: str) -> None:
        # not before the first record or the end: a run that finds no model leaves stdout empty
        if not self._is_begun:
            self._is_begun = True
            text = self._start() + text
        if text:
            # the bytes of a name that is no UTF-8 come out as they are
            self._destination.write(text.encode("utf-8", "surrogateescape"))


class CsvWriter(RowWriter):
    """A header and rows; failures have none."""

    _line_writer = _CSV

    def _start(self) -> str:
        return csv_line(self._columns, writer=self._line_writer)

    def _text(self, record: Record) -> str:
        rows = csv_rows(record, self._columns)
        return "".join(csv_line(row, self._is_terminal, self._line_writer) for row in rows)


class TsvWriter(CsvWriter):
    """The same with tabs. Quotes, as in CSV, are only round names with a tab, a quote or a line
    end: pandas, R and Excel take them off, and `cut` finds all other rows as they are."""

    _line_writer = _TSV


class JsonWriter(RowWriter):
    """One array, an object a record."""

    _n_objects = 0

    def _start(self) -> str:
        return "["

    def _text(self, record: Record) -> str:
        self._n_objects += 1
        return (",\n " if self._n_objects > 1 else "\n ") + json_text(json_object(record))

    def _end(self) -> str:
        return "\n]\n" if self._n_objects else "]\n"


class JsonLinesWriter(RowWriter):
    """An object a line."""

    def _text(self, record: Record) -> str:
        return json_text(json_object(record)) + "\n"


class PathsWriter(RowWriter):
    """A bare path for each row of CSV."""

    _path_end = "\n"

    def _text(self, record: Record) -> str:
        return "".join(self._path(str(row[0])) + self._path_end for row in csv_rows(record))

    def _path(self, path: str) -> str:
        return one_line(path) if self._is_terminal else path


class NulWriter(PathsWriter):
    """Paths for `xargs -0`."""

    _path_end = "\0"


ROW_WRITERS: dict[str, type[RowWriter]] = {
    "csv": CsvWriter,
    "tsv": TsvWriter,
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
    "paths": PathsWriter,
    "nul": NulWriter,
}


def row_formats(record: type[Record]) -> list[str]:
    """The choices of --format for such records, the usual one of a pipe first."""
    left_out = {Embedded: ("json", "table"), EmbeddedText: ("json",)}
    return [name for name in get_args(RowFormat) if name not in left_out.get(record, ())]


def json_text(value: object) -> str:
    """JSON in UTF-8; a lone surrogate, of a file name that is no UTF-8, stays an escape.

    Raises ValueError for NaN and infinity, which JSON does not have: none may come this far.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def csv_line(values: Sequence[object], is_shown: bool = False, writer: Any = _CSV) -> str:
    """is_shown: to a person at a terminal, where each row is one line."""
    if is_shown:
        values = [one_line(str(value)) for value in values]
    # its line end is \r\n, or it would not quote \r
    line: str = writer.writerow(values)
    return line.removesuffix("\r\n") + "\n"


def csv_rows(record: Record, columns: Sequence[str] = ()) -> list[list[object]]:
    """The rows of one record, in the order of its command's columns, which may end with
    MOVED_TO."""
    if isinstance(record, Classified) and MOVED_TO in columns:
        return [[*row, record.moved_to] for row in csv_rows(record)]
    match record:
        case Classified(path, predictions):
            origin = (record.scoring, record.model)
            return [
                [path, rank, p.label, *_scores(p), *origin]
                for rank, p in enumerate(predictions, start=1)
            ] or [[path, 0, "", "", "", "false", *origin]]  # none fits: a row all the same
        case Embedded(name, embedding) | EmbeddedText(name, embedding):
            return [[name, *(str(value) for value in embedding)]]
        case Match(path, rank, similarity):
            return [[path, rank, f"{similarity:.6f}", record.model]]
        case Failure():
            return []


def json_object(record: Record) -> dict[str, Any]:
    match record:
        case Classified(path, predictions):
            listed = [
                {
                    "label": p.label,
                    "probability": round(p.probability, 6),
                    "similarity": round(p.similarity, 6),
                    "accepted": p.is_accepted,
                }
                for p in predictions
            ]
            moved = {} if record.moved_to is None else {MOVED_TO: record.moved_to}
            return {
                "path": path,
                "predictions": listed,
                "scoring": record.scoring,
                "model": record.model,
                **moved,
            }
        case Embedded(path, embedding):
            return {"path": path, "embedding": _numbers(embedding), "model": record.model}
        case EmbeddedText(text, embedding):
            return {"text": text, "embedding": _numbers(embedding), "model": record.model}
        case Match(path, rank, similarity):
            return {
                "path": path,
                "rank": rank,
                "similarity": round(similarity, 6),
                "model": record.model,
            }
        case Failure(path, error):
            return {"path": path, "error": error}


def _scores(prediction: Prediction) -> tuple[str, str, str]:
    """Probability, similarity, and whether it is accepted: a word that pandas reads as bool."""
    accepted = "true" if prediction.is_accepted else "false"
    return f"{prediction.probability:.6f}", f"{prediction.similarity:.6f}", accepted


def _numbers(embedding: Embedding) -> list[float]:
    """The shortest decimals that give the same float32 back."""
    return [float(str(value)) for value in embedding]
