"""Photographs and labels to rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clipcli.cli.options import LabelOptions, ModelOptions, OutputOptions, PhotoOptions
from clipcli.cli.sort_options import SortOptions
from clipcli.cli.tag_options import TagOptions
from clipcli.cli.work import output
from clipcli.cli.work.inputs import PhotoRun, check_options, find_photos
from clipcli.cli.work.labels import read_label_request
from clipcli.cli.work.meant_labels import warn_of_labels
from clipcli.cli.work.report import Report
from clipcli.errors import UsageError
from clipcli.files.rows import CLASSIFY_COLUMNS, TableContents
from clipcli.labelling.labeller import LabelRequest, classify_photos, open_labeller
from clipcli.records import Classified, Failure, PassedOver


def classify(
    paths: Sequence[str] | None,
    label: LabelOptions,
    model: ModelOptions,
    photo: PhotoOptions,
    out: OutputOptions,
    tag: TagOptions,
    sort: SortOptions,
) -> int:
    if not paths and label == LabelOptions():
        raise UsageError(
            "no PATH and no labels; expected as in: clipcli classify photos/ --labels dog,cat,tiger"
        )
    check_options(model, photo, **out.files)
    format = output.choose_format(out, Classified)
    report = Report("labelled", out.quiet)
    request = read_label_request(label)
    warn_of_labels(request.labels, label, paths)
    found = find_photos(paths, photo, out.allow_empty)
    run = PhotoRun(found, model, photo, report, made_by=request.made_by)
    rows = output.open_rows(out, format, CLASSIFY_COLUMNS, _contents(run, request))
    records = output.warned_of_other_model(_classified(run, request), out)
    return run.write(records, rows, out, format)


def _contents(run: PhotoRun, request: LabelRequest) -> TableContents:
    """What rows there may be."""
    if request.probe is not None:
        labels = request.probe.labels
    else:
        labels = tuple(label.name for label in (request.calibration or request).labels)
    n_ranks = request.top_k or (len(labels) if request.multi_label else 1)
    return TableContents(Classified, run.photo_paths, labels, request.unknown, n_ranks)


def _classified(run: PhotoRun, request: LabelRequest) -> Iterator[Classified | Failure]:
    """The labels of each photograph, counted by the report; the model is opened on demand."""
    records: Iterator[Classified | Failure | PassedOver] = run.settled()
    if run.needs_model:
        preprocessing = run.options.decode.name
        labeller = open_labeller(request, run.embedder, preprocessing, run.model.truncate)
        if labeller.scoring == "sigmoid":
            run.remark = ", a probability for each label by itself: they do not add up to 1"
        records = classify_photos(run.found, run.embedder, labeller, run.options)
    counted: Iterator[Classified | Failure] = run.report.follow(records, len(run.found))
    yield from counted
