"""Records to Parquet: typed columns, in groups of rows that are written as they come.

Failures have no row, as in CSV. Names that are no UTF-8, which Arrow's texts must be, are written
with the escapes that JSON has for them. The file's metadata holds `clipcli`, the version, and
`made_by` in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow  # type: ignore[import-untyped]
from pyarrow import parquet

import clipcli
from clipcli.errors import ClipcliError
from clipcli.files.rows import csv_rows, json_text
from clipcli.records import Embedded, EmbeddedText, Failure, MadeBy

if TYPE_CHECKING:
    from clipcli.files.rows import Destination, Writer
    from clipcli.records import Record

GROUP_ROWS = 10_000  # held in memory at once: 20 MB of embeddings of 512 numbers
_TYPES = {"rank": "int32", "probability": "float64", "similarity": "float64", "accepted": "bool"}


def made_by(path: str) -> MadeBy:
    """Where the rows of a file come from. Raises KeyError or ValueError for another's file."""
    fields = json.loads(parquet.read_metadata(path).metadata[b"made_by"])
    return MadeBy(**fields | {"templates": tuple(fields["templates"])})


@contextmanager
def open_parquet(destination: Destination, columns: Sequence[str]) -> Iterator[Writer]:
    """A writer of such rows. columns: of CSV. After an error, what there was until then becomes a
    file that can be read."""
    writer = _ParquetWriter(destination, columns)
    try:
        yield writer
    except BaseException:
        if writer.n_rows:
            with suppress(ClipcliError):  # a full disk takes no end either
                writer.finish()
        raise


class _ParquetWriter:
    def __init__(self, destination: Destination, columns: Sequence[str]) -> None:
        self._sink = _Sink(destination)
        self._columns = columns
        self._schema = _schema(columns)
        self._rows: list[list[Any]] = []  # of the group that is being filled
        self.n_rows = 0
        self._made_by: MadeBy | None = None
        self._file: Any = None

    def write(self, record: Record) -> None:
        """Keep the rows of one record until their group is full."""
        match record:
            case Failure():
                return
            case Embedded(name, embedding) | EmbeddedText(name, embedding):
                rows: list[list[Any]] = [[name, embedding, record.model]]
            case _:
                rows = csv_rows(record, self._columns)
        self._rows += rows
        self.n_rows += len(rows)
        self._made_by = self._made_by or record.made_by
        if len(self._rows) >= GROUP_ROWS:
            self._write_group()

    def finish(self) -> None:
        """Write the last group and the end, without which no reader understands a file."""
        if self._file is not None and not self._file.is_open:
            return
        self._write_group()
        described = {"clipcli": clipcli.__version__}
        if self._made_by is not None:
            described["made_by"] = json_text(asdict(self._made_by))
        self._file.add_key_value_metadata(described)
        self._file.close()
        self._sink.flush()

    def _write_group(self) -> None:
        if self._file is None:
            texts = [field.name for field in self._schema if field.type == pyarrow.string()]
            self._file = parquet.ParquetWriter(self._sink, self._schema, use_dictionary=texts)
        if self._rows:
            columns = zip(self._schema, zip(*self._rows, strict=True), strict=True)
            arrays = [_array(field, cells) for field, cells in columns]
            self._rows = []
            self._file.write_table(pyarrow.table(arrays, schema=self._schema))


def _schema(columns: Sequence[str]) -> Any:
    """The columns of CSV with their types, but that an embedding is one, beside its model."""
    if "e0" not in columns:
        types = pyarrow.type_for_alias
        return pyarrow.schema([(name, types(_TYPES.get(name, "string"))) for name in columns])
    embedding = pyarrow.list_(pyarrow.float32(), len(columns) - 1)
    texts = [(columns[0], pyarrow.string()), ("model", pyarrow.string())]
    return pyarrow.schema([texts[0], ("embedding", embedding), texts[1]])


def _array(field: Any, cells: Sequence[Any]) -> Any:
    if field.name == "embedding":
        return pyarrow.FixedSizeListArray.from_arrays(np.concatenate(cells), type=field.type)
    return pyarrow.array([_value(field.name, cell) for cell in cells], field.type)


class _Sink:
    """A destination as Arrow takes it."""

    closed = False

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._n_bytes = 0
        self.flush = destination.flush

    def write(self, data: Any) -> int:
        self._destination.write(bytes(data))
        self._n_bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self._n_bytes


def _value(name: str, value: Any) -> Any:
    """Of a cell of CSV: its number, its truth, its text, or nothing where it is empty."""
    if not isinstance(value, str):
        return value
    if value == "":
        return None
    if _TYPES.get(name) == "float64":
        return float(value)
    if name == "accepted":
        return value == "true"
    return value.encode("utf-8", "backslashreplace").decode()
