"""`clipcli classify`: photographs and labels to rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from clipcli.cli.options import (
    LabelOptions,
    ModelOptions,
    OutputOptions,
    Paths,
    PhotoOptions,
    takes,
)
from clipcli.cli.report import Report

if TYPE_CHECKING:
    from clipcli.files.writers import Record
    from clipcli.records import PassedOver


@takes(LabelOptions, ModelOptions, PhotoOptions, OutputOptions)
def classify(
    *,
    paths: Paths = None,
    label: LabelOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
) -> int:
    """Label photographs with your own words.

    Example: clipcli classify photos/ --labels dog,cat,tiger -o labels.csv
    """
    from clipcli.cli import inputs, labelling, output
    from clipcli.files import writers

    inputs.check_options(model, photo, out)
    format = output.choose_format(out, ["csv", "json", "jsonl"])
    report = Report("labelled", out.quiet)
    asked = labelling.read(label, report)
    found = inputs.find_photos(paths, photo)
    with (
        report.failures_to(out.failures),
        output.open_rows(out, format, writers.CLASSIFY_COLUMNS) as rows,
    ):
        settled = inputs.settled(found)
        records: Iterable[Record | PassedOver] = settled
        described = "no model needed"
        if len(settled) < len(found):
            from clipcli.labelling import pipeline

            embedder = inputs.open_embedder(model, report)
            options = inputs.run_options(model, photo)
            label_photos = labelling.open_labeller(
                asked, embedder, options.decode.describe(), model.truncate, report
            )
            described = inputs.describe(embedder)
            records = pipeline.classify(found, embedder, label_photos, options)
        for record in report.follow(records, len(found)):
            rows.write(record)
        rows.finish()
        return report.conclude(described)
