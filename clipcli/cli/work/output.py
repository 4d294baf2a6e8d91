"""Where rows go: the format, and a file that appears whole or stays as NAME.part."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeVar

from clipcli.cli.options.shared import OutputOptions
from clipcli.errors import EmbeddingFileError, OutputError, UsageError
from clipcli.files import embedding_file
from clipcli.files.part_file import PartFile
from clipcli.files.rows import ROW_WRITERS, Destination, TableContents, Writer, row_formats
from clipcli.files.stdout import Stdout
from clipcli.files.suffixes import check_suffix
from clipcli.records import Failure, MadeBy, Record

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
_NAMES_NO_MODEL = (
    *(OSError, ValueError, KeyError, TypeError, ImportError),  # pyarrow too may be missing
    *(csv.Error, EmbeddingFileError),
)
MAX_HEAD_BYTES = 1 << 16  # of a file whose rows name their model


def choose_format(out: OutputOptions, record: type[Record], option: str = "--output") -> str:
    """The format asked for, or the one that the suffix of --output, or of another option's file,
    names, or the usual one: a table at a terminal, CSV elsewhere."""
    format = _chosen_format(out, row_formats(record), option)
    if format == "parquet":
        asked_for = f"{option} {out.output}" if out.output else "--format parquet"
        if find_spec("pyarrow") is None:
            advice = 'install it with: pip install "clipcli[parquet]"'
            raise UsageError(f"{asked_for}: Parquet needs the package pyarrow; {advice}")
        if out.output is None and sys.stdout.isatty():
            raise UsageError(f"{asked_for}: not for a terminal; pass -o FILE.parquet")
    return format


def _chosen_format(out: OutputOptions, allowed: Sequence[str], option: str) -> str:
    suffix = Path(out.output or "").suffix.removeprefix(".").lower()
    if out.format is not None and out.format in allowed:
        if suffix in allowed and suffix != out.format:
            logger.warning(f"{out.output}: is written as --format {out.format}, whatever its name")
        return out.format
    if out.format:
        *others, last = allowed
        raise UsageError(f"--format {out.format}: expected {', '.join(others)} or {last}")
    if out.output is None:
        return "table" if "table" in allowed and sys.stdout.isatty() else allowed[0]
    by_suffix = [name for name in allowed if name != "table"]
    check_suffix(option, out.output, *(f".{name}" for name in by_suffix))
    return suffix if suffix in by_suffix else allowed[0]


class Maker(NamedTuple):
    """The model that a file of rows comes from; a file of embeddings alone has its fingerprint."""

    model: str
    fingerprint: str | None = None

    def is_other(self, made_by: MadeBy) -> bool:
        """Whether it is another model, or where only names can be compared, has another name."""
        if self.fingerprint is not None:
            return self.fingerprint != made_by.fingerprint
        return self.model != made_by.model


def warned_of_other_model(records: Iterator[R], out: OutputOptions) -> Iterator[R]:
    """The records; at the first that names its model, a warning where the rows that --output holds
    are another's: a night without network changes labels and not the file's name."""
    before = maker_of(out.output)
    for record in records:
        if before is not None and not isinstance(record, Failure):
            if before.is_other(record.made_by):
                logger.warning(
                    f"{out.output}: holds rows of {before.model}, and is replaced by rows of"
                    f" {record.model}"
                )
            before = None
        yield record


def check_fallback(path: str, before: Maker, made_by: MadeBy) -> None:
    """Raises OutputError where rows of another model would be replaced by rows of one that nobody
    asked for: what `auto` falls back to."""
    if before.is_other(made_by):
        raise OutputError(
            f"{path}: holds rows of {before.model}, which {made_by.model} is not to replace"
            f" unasked; nothing was written; pass --model {before.model}, --model {made_by.model}"
            " or another --output"
        )


def maker_of(path: str | None) -> Maker | None:
    """The model that the first rows of a file name; None where they name none, as numbers alone
    in CSV do."""
    if path is None or not os.path.isfile(path):
        return None
    with suppress(*_NAMES_NO_MODEL):
        if Path(path).suffix in embedding_file.SUFFIXES:
            header = embedding_file.read(Path(path)).header
            return Maker(header.model, header.sha256)
        if Path(path).suffix.lower() == ".parquet":
            from clipcli.files import parquet_rows

            made_by = parquet_rows.made_by(path)
            return Maker(made_by.model, made_by.fingerprint)
        with open(path, "rb") as file:
            text = file.read(MAX_HEAD_BYTES).decode("utf-8", "surrogateescape")
        if not text.startswith(("{", "[")):
            delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
            row = next(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter), {})
            return Maker(row["model"]) if row.get("model") else None
        for line in text.removeprefix("[").splitlines():  # of failures, which name none, too
            fields = json.loads(line.removesuffix(",") or "{}")
            if isinstance(fields, dict) and "model" in fields:
                return Maker(str(fields["model"]))
    return None


@contextmanager
def reserved(out: OutputOptions) -> Iterator[PartFile | None]:
    """The file of --output for `open_rows`, locked until the block ends: before anything that
    takes time, since two runs into one file are one too many. None for stdout."""
    file = None if out.output is None else PartFile(Path(out.output), kept="rows")
    try:
        yield file
    finally:
        if file is not None:
            file.abandon()


@contextmanager
def open_rows(
    out: OutputOptions,
    format: str,
    columns: Sequence[str],
    contents: TableContents,
    file: PartFile | None = None,
) -> Iterator[Writer]:
    """Rows on stdout, or in the file of --output. columns: of CSV; contents: of a table; file:
    what is `reserved`."""
    destination: PartFile | Stdout
    if file is not None:
        destination = file
    elif out.output is None:
        destination = Stdout(is_shown=format == "table")
    else:
        destination = PartFile(Path(out.output), kept="rows")
    with destination, rows_in(destination, format, columns, contents) as rows:
        yield rows


@contextmanager
def rows_in(
    destination: Destination, format: str, columns: Sequence[str], contents: TableContents
) -> Iterator[Writer]:
    """Rows in this place. columns: of CSV; contents: of a table."""
    if format == "table":
        from clipcli.files import table_rows  # with Rich, which nothing else of this needs

        yield table_rows.open_table(destination, contents)
    elif format == "parquet":
        from clipcli.files import parquet_rows  # with pyarrow, likewise

        with parquet_rows.open_parquet(destination, columns) as writer:
            yield writer
    else:
        yield ROW_WRITERS[format](destination, columns)
