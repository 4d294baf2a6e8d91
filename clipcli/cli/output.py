"""Where rows go: the format, and a file that appears whole or stays as NAME.part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli.options import OutputOptions
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from clipcli.files.embedding_file import EmbeddingWriter, Header
    from clipcli.files.part_file import PartFile
    from clipcli.files.writers import Format, RowWriter


def choose_format(out: OutputOptions, allowed: Sequence[Format]) -> Format:
    """The format asked for, or the one that --output's suffix names, or the first allowed."""
    by_suffix = Path(out.output).suffix.removeprefix(".") if out.output else ""
    for format in allowed:
        if format == (out.format or by_suffix):
            return format
    if out.format:
        raise UsageError(f"--format {out.format}: expected {' or '.join(allowed)}")
    return allowed[0]


def print_text(text: str) -> None:
    """Data on stdout. A closed pipe ends the run quietly, a full disk with one line."""
    from clipcli.files.writers import Stdout

    stdout = Stdout()
    stdout.write(text.encode("utf-8", "surrogateescape"))
    stdout.flush()


def print_line(line: object) -> None:
    """One line of data on stdout."""
    print_text(f"{line}\n")


@contextmanager
def open_rows(out: OutputOptions, format: Format, columns: Sequence[str]) -> Iterator[RowWriter]:
    """Rows on stdout, or in the file of --output."""
    from clipcli.files.part_file import PartFile
    from clipcli.files.writers import RowWriter, Stdout

    if out.output is None:
        stdout = Stdout()
        try:
            yield RowWriter(stdout, format, columns)
        finally:
            stdout.flush()
        return
    file = PartFile(Path(out.output))
    with _whole_or_part(file):
        yield RowWriter(file, format, columns)


@contextmanager
def open_embeddings(path: str, header: Header) -> Iterator[EmbeddingWriter]:
    """A file of embeddings."""
    from clipcli.files.embedding_file import writer_for

    writer = writer_for(Path(path), header)
    with _whole_or_part(writer):
        yield writer


@contextmanager
def _whole_or_part(file: PartFile | EmbeddingWriter) -> Iterator[None]:
    """The file appears when the run is whole; after an error the rows so far stay in NAME.part,
    which is added to the error's line."""
    try:
        yield
    except BaseException as error:
        kept = file.abandon()
        if kept is not None:
            error.add_note(f"the rows so far are in {kept}")
        raise
    file.commit()
