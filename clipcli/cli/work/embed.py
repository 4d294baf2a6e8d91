"""Photographs or texts to vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli.options.shared import ModelOptions, OutputOptions, PhotoOptions
from clipcli.cli.work import output
from clipcli.cli.work.inputs import PhotoRun, check_options, find_photos
from clipcli.cli.work.report import Report
from clipcli.errors import UsageError
from clipcli.files.embedding_file import SUFFIXES, Header
from clipcli.files.embedding_writer import check_suffix, open_embeddings
from clipcli.files.rows import TableContents, Writer, embed_columns, row_formats
from clipcli.labels.label import read_texts_file
from clipcli.records import TEXT, Embedded, EmbeddedText, Record

if TYPE_CHECKING:
    from clipcli.cli.embed import EmbedOptions

logger = logging.getLogger(__name__)


def embed(
    paths: Sequence[str] | None,
    embed: EmbedOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    check_options(model, photo, **out.files)
    texts = [*(embed.text or ()), *(read_texts_file(embed.text_file) if embed.text_file else ())]
    if texts and paths:
        raise UsageError("PATH and --text in one run; embed photographs and texts separately")
    format = _choose_format(embed, out, EmbeddedText if texts else Embedded)
    report = Report("embedded", out.quiet)
    run = PhotoRun(
        [] if texts else find_photos(paths, photo, out.allow_empty), model, photo, report
    )
    if not texts and not run.needs_model:
        return run.write_nothing(out)
    embedder = run.embedder
    records: Iterator[Record] = (
        embedder.embed_texts(texts, model.truncate) if texts else run.embedded()
    )
    sink: AbstractContextManager[Writer]
    if format is None:
        made_by = embedder.spec.made_by(TEXT if texts else run.options.decode.name)
        sink = open_embeddings(Path(out.output or ""), Header.of(made_by, embed.dtype))
    else:
        columns = embed_columns("text" if texts else "path", embedder.spec.embed_dim)
        sink = output.open_rows(out, format, columns, TableContents(EmbeddedText, texts))
    records = output.warned_of_other_model(records, out)
    summary = (
        f"{len(texts)} text{'s' if texts[1:] else ''} embedded; {run.described}" if texts else None
    )
    return run.write(records, sink, out, format or "", summary)


def _choose_format(embed: EmbedOptions, out: OutputOptions, record: type[Record]) -> str | None:
    """Of rows; None for a file of embeddings."""
    suffix = Path(out.output or "").suffix
    if out.format and suffix in SUFFIXES:
        raise UsageError(f"--format {out.format} and --output {out.output} ask for two formats")
    is_of_rows = out.format or suffix.removeprefix(".") in row_formats(Embedded)
    is_file = bool(out.output) and not is_of_rows
    if is_file:
        check_suffix(Path(out.output or ""))
    if embed.dtype != "float32" and not is_file:
        raise UsageError(f"--dtype {embed.dtype} is for {', '.join(SUFFIXES)} files")
    return None if is_file else output.choose_format(out, record)
