"""Where rows go: the format, and a file that appears whole or stays as NAME.part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clipcli.cli.options import OutputOptions
from clipcli.errors import UsageError
from clipcli.files.part_file import PartFile
from clipcli.files.rows import ROW_WRITERS, Writer, row_formats
from clipcli.files.stdout import Stdout
from clipcli.files.suffixes import check_suffix
from clipcli.records import Record


def choose_format(out: OutputOptions, record: type[Record]) -> str:
    """The format asked for, or the one that --output's suffix names, or the usual one."""
    allowed = row_formats(record)
    if out.format is None:
        check_suffix("--output", out.output, *(f".{name}" for name in allowed))
    by_suffix = Path(out.output).suffix.removeprefix(".").lower() if out.output else ""
    wanted = out.format or by_suffix
    if wanted in allowed:
        return wanted
    if out.format:
        raise UsageError(f"--format {out.format}: expected {' or '.join(allowed)}")
    return allowed[0]


@contextmanager
def open_rows(out: OutputOptions, format: str, columns: Sequence[str]) -> Iterator[Writer]:
    """Rows on stdout, or in the file of --output."""
    destination: PartFile | Stdout
    destination = Stdout() if out.output is None else PartFile(Path(out.output), kept="rows")
    with destination:
        yield ROW_WRITERS[format](destination, columns)
