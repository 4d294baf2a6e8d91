"""Photographs and labels to rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clipcli.cli.options import LabelOptions, ModelOptions, OutputOptions, PhotoOptions
from clipcli.cli.sort_options import SortOptions
from clipcli.cli.tag_options import TagOptions
from clipcli.cli.update_options import UpdateOptions
from clipcli.cli.work import output
from clipcli.cli.work import sort as sort_photos
from clipcli.cli.work.inputs import PhotoRun, check_options, find_photos
from clipcli.cli.work.labels import read_label_request
from clipcli.cli.work.meant_labels import warn_of_labels
from clipcli.cli.work.report import Report
from clipcli.cli.work.update import Update, check_all_there, check_update
from clipcli.errors import UsageError
from clipcli.files.rows import CLASSIFY_COLUMNS, MOVED_TO, TableContents
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
    update: UpdateOptions,
) -> int:
    if not paths and label == LabelOptions():
        raise UsageError(
            "no PATH and no labels; expected as in: clipcli classify photos/ --labels dog,cat,tiger"
        )
    check_options(model, photo, **out.files, **update.files)
    check_update(update, out, model)
    format = output.choose_format(out, Classified)
    report = Report("labelled", out.quiet)
    request = read_label_request(label)
    warn_of_labels(request.labels, label, paths)
    columns = CLASSIFY_COLUMNS if sort.move_to is None else (*CLASSIFY_COLUMNS, MOVED_TO)
    with (
        output.reserved(out) as file,
        sort_photos.opened(sort, tag, label, _names(request)) as sorting,
    ):
        if update.update and file is not None:
            report.update = Update(update, file, format, columns)
        needs_list = update.update and not out.allow_empty
        found = find_photos(paths, photo, out.allow_empty, needs_list, sorting)
        run = PhotoRun(found, model, photo, report, made_by=request.made_by)
        records: Iterator[Classified | Failure] = _classified(run, request)
        if report.update is not None:
            check_all_there(paths or (), found)
            run.only_wanted = "--update"
        if sorting is not None:
            run.only_wanted = sorting.option
            records = sorting.planned(records)
            if sort.dry_run:
                return max(_ended(records, run), sorting.show_plan())
        rows = output.open_rows(out, format, columns, _contents(run, request), file)
        records = output.warned_of_other_model(records, out)
        if report.update is not None:
            records = report.update.compared(records)
        code = run.write(records, rows, out, format)
        return code if sorting is None else max(code, sorting.carry_out(out.quiet))


def _ended(records: Iterator[Classified | Failure], run: PhotoRun) -> int:
    """Take all records, and say how the run ended: the exit code."""
    for _ in records:
        pass
    return run.conclude()


def _names(request: LabelRequest) -> tuple[str, ...]:
    """Of the labels."""
    if request.probe is not None:
        return request.probe.labels
    return tuple(label.name for label in (request.calibration or request).labels)


def _contents(run: PhotoRun, request: LabelRequest) -> TableContents:
    """What rows there may be."""
    labels = _names(request)
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
