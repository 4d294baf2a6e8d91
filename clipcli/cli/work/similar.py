"""A query to the photographs nearest to it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli.options.shared import ModelOptions, OutputOptions, PhotoOptions
from clipcli.cli.work import output
from clipcli.cli.work.inputs import PhotoRun, check_options, find_photos
from clipcli.cli.work.report import Report
from clipcli.errors import EmbeddingFileError, PhotoError, UsageError
from clipcli.files import embedding_file
from clipcli.files.embedding_file import EmbeddingFile
from clipcli.files.made_by import check_made_by
from clipcli.files.rows import SIMILAR_COLUMNS, TableContents
from clipcli.photos.formats import is_picture
from clipcli.records import TEXT, Match, Record
from clipcli.search.query import QueryPart, encode_query
from clipcli.search.similar import similar_in_file, similar_photos

if TYPE_CHECKING:
    from clipcli.cli.similar import SearchOptions

logger = logging.getLogger(__name__)


def similar(
    query: str,
    paths: Sequence[str] | None,
    search: SearchOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    check_options(model, photo, **out.files)
    if (search.embeddings is None) == (not paths):
        found = f"{query} and nothing else" if not paths else "PATH and --embeddings"
        raise UsageError(
            f"{found}: expected QUERY and either PATH to search in or --embeddings FILE, such as"
            ' clipcli similar "a dog" photos/'
        )
    if search.paths_only and out.format:
        raise UsageError("--paths-only and --format ask for two formats; give one of them")
    file = embedding_file.read(Path(search.embeddings)) if search.embeddings else None
    format = output.choose_format(out, Match)
    if search.paths_only:
        format = "nul" if photo.null else "paths"
    report = Report("compared", out.quiet)
    parts = _query_parts(query, search, file)
    photos = [] if file else find_photos(paths, photo, out.allow_empty)
    made_by = None if file is None else file.header.made_by
    run = PhotoRun(photos, model, photo, report, made_by=made_by)
    summary = None
    if file is not None:
        records, summary = _search_file(file, parts, search, run)
    else:
        records = _search_photos(parts, search, run)
    if format == "paths" and (out.output or not sys.stdout.isatty()):  # a terminal gets it escaped
        records = _warned_of_newlines(records)
    n_answers = min(search.top_k, len(file.paths if file else photos))
    contents = TableContents(Match, n_ranks=n_answers)
    rows = output.open_rows(out, format, SIMILAR_COLUMNS, contents)
    records = output.warned_of_other_model(records, out)
    return run.write(records, rows, out, format, summary)


def _query_parts(query: str, search: SearchOptions, file: EmbeddingFile | None) -> list[QueryPart]:
    parts = [_first_part(query, search.text, file)]
    parts += [QueryPart.parse("text", value) for value in search.add_text or ()]
    parts += [QueryPart.parse("image", value) for value in search.add_image or ()]
    parts += [QueryPart.parse("text", value, -1.0) for value in search.subtract_text or ()]
    parts += [QueryPart.parse("image", value, -1.0) for value in search.subtract_image or ()]
    return parts


def _first_part(query: str, is_text: bool, file: EmbeddingFile | None) -> QueryPart:
    """A photograph where there is one, in `file` or on disk, else words.

    Raises PhotoError for a path that leads nowhere.
    """
    part = QueryPart.parse("image", query)
    if is_text:
        return QueryPart.parse("text", query)
    if os.path.isdir(part.value):
        raise PhotoError(
            f"{part.value}: is a folder; expected a photograph as the query, or --text for words"
        )
    if os.path.lexists(part.value) or (file is not None and part.row_in(file) is not None):
        return part
    if is_picture(part.value) or "/" in part.value or "\\" in part.value:
        raise PhotoError(
            f"{part.value}: No such file or directory; expected a photograph as the query, or"
            " --text for words"
        )
    logger.info(f"{part.value}: no such file, so its words are searched for, as with --text")
    return QueryPart.parse("text", query)


def _search_photos(
    parts: Sequence[QueryPart], search: SearchOptions, run: PhotoRun
) -> Iterator[Record]:
    """The answers; nothing is opened before the first is asked for, and the output is there."""
    if not run.needs_model:
        yield from run.embedded()
        return
    query = encode_query(parts, run.embedder, run.options, run.model.truncate)
    yield from similar_photos(
        query, run.embedded(), search.top_k, search.min_similarity, _images(parts)
    )


def _search_file(
    file: EmbeddingFile, parts: Sequence[QueryPart], search: SearchOptions, run: PhotoRun
) -> tuple[Iterator[Record], str]:
    """The answers, and what is to be said of them."""
    embedder = None
    by = f"{file.header.model}, from the file alone"
    if run.model.model is not None or not all(part.row_in(file) is not None for part in parts):
        embedder = run.embedder
        by = run.described
        now = embedder.spec.made_by(run.options.decode.name if _images(parts) else TEXT)
        again = "embed the photographs again"
        check_made_by(file.header.made_by, now, str(file.path), again, EmbeddingFileError)
    query = encode_query(parts, embedder, run.options, run.model.truncate, file)
    records = similar_in_file(query, file, search.top_k, search.min_similarity, _images(parts))
    n = len(file.paths)
    return records, f"{n} embedding{'s' if n != 1 else ''} compared; {by}"


def _warned_of_newlines(records: Iterator[Record]) -> Iterator[Record]:
    """Say it of the first path that is no single line."""
    is_warned = False
    for record in records:
        yield record
        if not is_warned and isinstance(record, Match) and "\n" in record.path:
            is_warned = True
            n_lines = record.path.count("\n") + 1
            logger.warning(
                f"{record.path}: a newline in its name, so --paths-only prints it as {n_lines}"
                " lines; -0 ends each path with a NUL instead"
            )


def _images(parts: Sequence[QueryPart]) -> list[str]:
    """The query's own photographs, which are no answers."""
    return [part.value for part in parts if part.kind == "image"]
