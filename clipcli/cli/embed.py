"""`clipcli embed`: photographs or texts to vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clipcli.cli.options import ModelOptions, OutputOptions, Paths, PhotoOptions, takes
from clipcli.cli.report import Report
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from clipcli.files.embedding_file import EmbeddingWriter
    from clipcli.files.writers import Record, RowWriter


@takes(ModelOptions, PhotoOptions, OutputOptions)
def embed(
    *,
    paths: Paths = None,
    text: Annotated[
        list[str] | None, typer.Option(help="Embed this text instead; repeatable.")
    ] = None,
    text_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Embed the lines of this file instead.")
    ] = None,
    dtype: Annotated[
        Literal["float32", "float16"], typer.Option(help="Of the numbers in a file of embeddings.")
    ] = "float32",
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    """Turn photographs, or texts, into unit vectors.

    The suffix of --output decides: .npy (with a .jsonl of paths), .npz, .safetensors, .csv, .jsonl.

    Example: clipcli embed photos/ -o photos.npy
    """
    from clipcli.cli import inputs, output
    from clipcli.files import embedding_file, writers
    from clipcli.labelling import pipeline
    from clipcli.labels.label import read_texts_file

    inputs.check_options(model, photo, out)
    texts = [*(text or ()), *(read_texts_file(text_file) if text_file else ())]
    if texts and paths:
        raise UsageError("PATH and --text in one run; embed photographs and texts separately")
    suffix = Path(out.output or "").suffix
    if out.format and suffix in embedding_file.SUFFIXES:
        raise UsageError(f"--format {out.format} and --output {out.output} ask for two formats")
    is_file = bool(out.output) and not out.format and suffix not in (".csv", ".jsonl")
    if is_file:
        embedding_file.check_suffix(Path(out.output or ""))
    if dtype != "float32" and not is_file:
        raise UsageError(f"--dtype {dtype} is for {', '.join(embedding_file.SUFFIXES)} files")
    format = output.choose_format(out, ["csv", "jsonl"])
    report = Report("embedded", out.quiet)
    found = [] if texts else inputs.find_photos(paths, photo)
    settled = inputs.settled(found)
    if not texts and len(settled) == len(found):
        with report.failures_to(out.failures):
            list(report.follow(settled, len(settled)))
            return report.conclude("no model needed")
    embedder = inputs.open_embedder(model, report)
    options = inputs.run_options(model, photo)
    records: Iterator[Record]
    if texts:
        records = pipeline.embed_texts(texts, embedder, model.truncate)
        preprocessing = embedding_file.TEXT
    else:
        records = report.follow(pipeline.embed(found, embedder, options), len(found))
        preprocessing = options.decode.describe()
    sink: AbstractContextManager[RowWriter | EmbeddingWriter]
    if is_file:
        header = embedding_file.Header(
            embedder.spec.name, embedder.spec.fingerprint, preprocessing, dtype
        )
        sink = output.open_embeddings(out.output or "", header)
    else:
        columns = writers.embed_columns("text" if texts else "path", embedder.spec.embed_dim)
        sink = output.open_rows(out, format, columns)
    with report.failures_to(out.failures), sink as rows:
        for record in records:
            rows.write(record)
        rows.finish()
        if texts:
            report.note(f"{len(texts)} texts embedded; {inputs.describe(embedder)}")
            return 0
        return report.conclude(inputs.describe(embedder))
