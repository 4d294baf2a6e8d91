"""Records to lines of CSV, JSON and JSON Lines, on stdout or in a file."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from clipcli.errors import ClosedPipeError, OutputError
from clipcli.records import Classified, Embedded, EmbeddedText, Failure, Match

if TYPE_CHECKING:
    from clipcli.records import Embedding

Format = Literal["csv", "json", "jsonl", "paths", "nul"]
Record = Classified | Embedded | EmbeddedText | Match | Failure

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Destination(Protocol):
    """Where bytes go: `part_file.PartFile` or stdout."""

    def write(self, data: bytes) -> None: ...


class Stdout:
    """Standard output. Raises ClosedPipeError when nobody reads it any more.

    Each write is flushed, but a terminal gets them together ten times a second: a progress bar
    below them is drawn anew for each.
    """

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._waiting: list[bytes] = []
        self._last_s = 0.0

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        if not self._is_terminal or time.monotonic() - self._last_s > 0.1:
            self.flush()

    def flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._last_s = time.monotonic()
        try:
            if self._is_terminal:  # through the text layer, which a bar makes room for
                sys.stdout.write(data.decode("utf-8", "replace"))
                sys.stdout.flush()
            else:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            raise ClosedPipeError from error
        except OSError as error:
            raise OutputError(f"stdout: cannot be written: {error.strerror}") from error


class RowWriter:
    """Writes records in one format. Failures have no row in CSV, nor in bare lists of paths.

    `columns` are the CSV header; JSON takes the objects that `json_object` makes.
    """

    def __init__(self, destination: Destination, format: Format, columns: Sequence[str]) -> None:
        self._destination = destination
        self._format = format
        self._columns = columns
        self._is_begun = False
        self._n_objects = 0

    def write(self, record: Record) -> None:
        """One record more; the first one, or `finish`, writes what stands before it."""
        self._begin()
        if self._format == "csv":
            self._write("".join(csv_line(row) for row in csv_rows(record)))
            return
        if self._format in ("paths", "nul"):
            end = "\n" if self._format == "paths" else "\0"
            self._write("".join(f"{row[0]}{end}" for row in csv_rows(record)))
            return
        line = json_text(json_object(record))
        if self._format == "jsonl":
            self._write(line + "\n")
        else:
            self._write((",\n " if self._n_objects else "\n ") + line)
            self._n_objects += 1

    def finish(self) -> None:
        """Close what the format leaves open."""
        self._begin()
        if self._format == "json":
            self._write("\n]\n" if self._n_objects else "]\n")

    def _begin(self) -> None:
        # not before there is something to say: a run that finds no model leaves stdout empty
        if not self._is_begun:
            self._is_begun = True
            if self._format == "csv":
                self._write(csv_line(self._columns))
            elif self._format == "json":
                self._write("[")

    def _write(self, text: str) -> None:
        if text:
            # the bytes of a name that is no UTF-8 come out as they are
            self._destination.write(text.encode("utf-8", "surrogateescape"))


def json_text(value: object) -> str:
    """JSON in UTF-8; a lone surrogate, of a file name that is no UTF-8, stays an escape."""
    text = json.dumps(value, ensure_ascii=False)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def csv_line(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(values)  # with its own line end, or it leaves \r unquoted
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def csv_rows(record: Record) -> list[list[object]]:
    """The rows of one record, in the order of its command's columns."""
    match record:
        case Classified(path, predictions):
            return [
                [path, rank, p.label, f"{p.probability:.6f}", f"{p.similarity:.6f}"]
                for rank, p in enumerate(predictions, start=1)
            ] or [[path, 0, "", "", ""]]  # no label fits, and no photograph vanishes
        case Embedded(name, embedding) | EmbeddedText(name, embedding):
            return [[name, *(str(value) for value in embedding)]]
        case Match(path, rank, similarity):
            return [[path, rank, f"{similarity:.6f}"]]
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
                }
                for p in predictions
            ]
            return {"path": path, "predictions": listed, "model": record.model}
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


def _numbers(embedding: Embedding) -> list[float]:
    """The shortest decimals that give the same float32 back."""
    return [float(str(value)) for value in embedding]


CLASSIFY_COLUMNS = ("path", "rank", "label", "probability", "similarity")
FAILURE_COLUMNS = ("path", "error")
SIMILAR_COLUMNS = ("path", "rank", "similarity")


def embed_columns(first: str, width: int) -> list[str]:
    """`path` or `text`, then one column for each dimension."""
    return [first, *(f"e{index}" for index in range(width))]
