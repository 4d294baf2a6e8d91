"""`clipcli similar`: a photograph or words to the photographs nearest to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clipcli.cli.options import ModelOptions, OutputOptions, Paths, PhotoOptions, takes
from clipcli.cli.report import Report
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcli.files.writers import Record

Parts = list[str] | None


@takes(ModelOptions, PhotoOptions, OutputOptions)
def similar(
    *,
    query: Annotated[str, typer.Argument(help="A photograph, or with --text words.")],
    paths: Paths = None,
    text: Annotated[bool, typer.Option("--text", help="QUERY is words.")] = False,
    embeddings: Annotated[
        str | None, typer.Option(metavar="FILE", help="Search this file in place of PATH.")
    ] = None,
    add_text: Annotated[Parts, typer.Option(help="More of these words; 2:WORDS doubles.")] = None,
    add_image: Annotated[Parts, typer.Option(help="More like this photograph.")] = None,
    subtract_text: Annotated[Parts, typer.Option(help="Less of these words.")] = None,
    subtract_image: Annotated[Parts, typer.Option(help="Less like this photograph.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    min_similarity: Annotated[
        float, typer.Option(min=-1.0, max=1.0, help="Leave out what is below this cosine.")
    ] = -1.0,
    paths_only: Annotated[
        bool, typer.Option("--paths-only", help="Print paths alone, NUL-separated with -0.")
    ] = False,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    """Find the photographs nearest to a photograph or to words.

    Example: clipcli similar "a dog in the snow" photos/ --text --top-k 5
    """
    from clipcli.cli import inputs, output
    from clipcli.files import embedding_file, writers
    from clipcli.labelling import pipeline

    inputs.check_options(model, photo, out)
    if (embeddings is None) == (not paths):
        raise UsageError("expected either PATH to search in or --embeddings FILE")
    if paths_only and out.format:
        raise UsageError("--paths-only and --format ask for two formats; give one of them")
    parts = [pipeline.parse_query_part("text" if text else "image", query, 1.0)]
    more: list[tuple[Literal["text", "image"], Parts, float]] = [
        ("text", add_text, 1.0),
        ("image", add_image, 1.0),
        ("text", subtract_text, -1.0),
        ("image", subtract_image, -1.0),
    ]
    for kind, values, sign in more:
        parts += [pipeline.parse_query_part(kind, value, sign) for value in values or ()]
    format = output.choose_format(out, ["csv", "json", "jsonl"])
    if paths_only:
        format = "nul" if photo.null else "paths"
    report = Report("compared", out.quiet)
    found = [] if embeddings else inputs.find_photos(paths, photo)
    settled = inputs.settled(found)
    options = inputs.run_options(model, photo)
    images = [part.value for part in parts if part.kind == "image"]
    records: Iterator[Record]
    if embeddings:
        file = embedding_file.read(Path(embeddings))
        embedder = None
        described = f"{file.header.model}, from the file alone"
        if model.model is not None or not all(pipeline.holds(file, part) for part in parts):
            embedder = inputs.open_embedder(model, report)
            described = inputs.describe(embedder)
            embedding_file.check_same_model(file, embedder.spec.name, embedder.spec.fingerprint)
            if images:
                embedding_file.check_same_preprocessing(file, options.decode.describe())
        asked = pipeline.encode_query(parts, embedder, options, model.truncate, file)
        records = pipeline.similar_in_file(asked, file, top_k, min_similarity, images)
        described = f"{len(file.paths)} embeddings compared; {described}"
    elif len(settled) == len(found):
        records = report.follow(settled, len(settled))
        described = "no model needed"
    else:
        embedder = inputs.open_embedder(model, report)
        described = inputs.describe(embedder)
        asked = pipeline.encode_query(parts, embedder, options, model.truncate)
        embedded = report.follow(pipeline.embed(found, embedder, options), len(found))
        records = pipeline.similar(asked, embedded, top_k, min_similarity, images)
    with (
        report.failures_to(out.failures),
        output.open_rows(out, format, writers.SIMILAR_COLUMNS) as rows,
    ):
        for record in records:
            rows.write(record)
        rows.finish()
        if embeddings:
            report.note(described)
            return 0
        return report.conclude(described)
