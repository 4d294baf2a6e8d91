"""`clipcli classify`: photographs and labels to rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.cli.options import ModelOptions, OutputOptions, Paths, PhotoOptions, takes
from clipcli.cli.report import Report
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from clipcli.records import PassedOver
    from clipcli.writers import Record


@takes(ModelOptions, PhotoOptions, OutputOptions)
def classify(
    *,
    paths: Paths = None,
    labels: Annotated[
        list[str] | None, typer.Option(metavar="A,B,C", help="Labels, separated by commas.")
    ] = None,
    labels_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help='One a line: label, or label = word | "whole prompt".'),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(help="Prompt around a label, {} its place; repeatable.", show_default=False),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Labels for each photograph.")] = 1,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    """Label photographs with your own words.

    Example: clipcli classify photos/ --labels dog,cat,tiger -o labels.csv
    """
    from clipcli import labels as label_texts
    from clipcli import writers
    from clipcli.cli import output, run

    run.check_options(model, photo, out)
    if (labels is None) == (labels_file is None):
        raise UsageError("expected either --labels dog,cat,tiger or --labels-file FILE")
    if labels_file is not None:
        chosen = label_texts.read_labels_file(labels_file)
    else:
        chosen = label_texts.parse_labels(labels or ())
    templates = template or [label_texts.DEFAULT_TEMPLATE]
    label_texts.check_templates(templates)
    format = output.choose_format(out, ["csv", "json", "jsonl"])
    report = Report("labelled", out.quiet)
    foreign = label_texts.foreign_labels(chosen)
    if foreign:
        report.note(
            f"{', '.join(foreign[:5])}: not in Latin letters, and the published models know"
            f" English; write {foreign[0]} = ENGLISH WORD in a labels file"
        )
    found = run.find_photos(paths, photo)
    with (
        report.failures_to(out.failures),
        output.open_rows(out, format, writers.CLASSIFY_COLUMNS) as rows,
    ):
        settled = run.settled(found)
        records: Iterable[Record | PassedOver] = settled
        described = "no model needed"
        if len(settled) < len(found):
            from clipcli import pipeline

            embedder = run.open_embedder(model, report)
            classifier = pipeline.build_classifier(embedder, chosen, templates, model.truncate)
            described = run.describe(embedder)
            run.warn_of_unknown_labels(embedder, chosen, report)
            options = run.run_options(model, photo)
            records = pipeline.classify(found, embedder, classifier, top_k, options)
        for record in report.follow(records, len(found)):
            rows.write(record)
        rows.finish()
        return report.conclude(described)
