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
from pathlib import Path
from typing import TypeVar

from clipcli.cli.options import OutputOptions
from clipcli.errors import UsageError
from clipcli.files.part_file import PartFile
from clipcli.files.rows import ROW_WRITERS, TableContents, Writer, row_formats
from clipcli.files.stdout import Stdout
from clipcli.files.suffixes import check_suffix
from clipcli.records import Failure, Record

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
MAX_HEAD_BYTES = 1 << 16  # of a file whose rows name their model


def choose_format(out: OutputOptions, record: type[Record]) -> str:
    """The format asked for, or the one that --output's suffix names, or the usual one: a table at
    a terminal, CSV elsewhere."""
    allowed = row_formats(record)
    if out.format in allowed:
        return out.format
    if out.format:
        raise UsageError(f"--format {out.format}: expected {' or '.join(allowed)}")
    if out.output is None:
        return "table" if "table" in allowed and sys.stdout.isatty() else allowed[0]
    by_suffix = [name for name in allowed if name != "table"]
    check_suffix("--output", out.output, *(f".{name}" for name in by_suffix))
    suffix = Path(out.output).suffix.removeprefix(".").lower()
    return suffix if suffix in by_suffix else allowed[0]


def warned_of_other_model(records: Iterator[R], out: OutputOptions) -> Iterator[R]:
    """The records; at the first that names its model, a warning where the rows that --output holds
    are another's: a night without network changes labels and not the file's name."""
    before = _model_in(out.output)
    for record in records:
        if before is not None and not isinstance(record, Failure):
            if record.model != before:
                logger.warning(
                    f"{out.output}: holds rows of {before}, and is replaced by rows of"
                    f" {record.model}"
                )
            before = None
        yield record


def _model_in(path: str | None) -> str | None:
    """The model that the first rows of a file name; None where they name none."""
    if path is None or not os.path.isfile(path):
        return None
    with suppress(OSError, ValueError, csv.Error):
        with open(path, "rb") as file:
            text = file.read(MAX_HEAD_BYTES).decode("utf-8", "surrogateescape")
        if not text.startswith(("{", "[")):
            row = next(csv.DictReader(io.StringIO(text, newline="")), {})
            return row.get("model")
        for line in text.removeprefix("[").splitlines():  # of failures, which name none, too
            fields = json.loads(line.removesuffix(",") or "{}")
            if isinstance(fields, dict) and "model" in fields:
                return str(fields["model"])
    return None


@contextmanager
def open_rows(
    out: OutputOptions, format: str, columns: Sequence[str], contents: TableContents
) -> Iterator[Writer]:
    """Rows on stdout, or in the file of --output. columns: of CSV; contents: of a table."""
    is_table = format == "table"
    destination: PartFile | Stdout
    if out.output is None:
        destination = Stdout(is_shown=is_table)
    else:
        destination = PartFile(Path(out.output), kept="rows")
    with destination:
        if is_table:
            from clipcli.files import table_rows  # with Rich, which nothing else of this needs

            yield table_rows.open_table(destination, contents)
        else:
            yield ROW_WRITERS[format](destination, columns)
