"""Photographs and labels to rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clipcli.cli.options.keywords import TagOptions
from clipcli.cli.options.shared import LabelOptions, ModelOptions, OutputOptions, PhotoOptions
from clipcli.cli.options.sorting import SortOptions
from clipcli.cli.options.updating import UpdateOptions
from clipcli.cli.work import output
from clipcli.cli.work import sort as sort_photos
from clipcli.cli.work.inputs import PhotoRun, check_options, find_photos
from clipcli.cli.work.keywords import KeywordWriter, acting_option, opened_for
from clipcli.cli.work.labels import check_none_can_win, read_label_request
from clipcli.cli.work.meant_labels import warn_of_labels
from clipcli.cli.work.report import Report
from clipcli.cli.work.update import Update, check_all_there, check_update
from clipcli.errors import UsageError
from clipcli.files.rows import CLASSIFY_COLUMNS, MOVED_TO, TableContents
from clipcli.labelling.labeller import LabelRequest, classify_photos, open_labeller
from clipcli.labels.label_path import check_label_paths
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
    acting = acting_option(tag)
    request = _request(label, paths, acting)
    columns = CLASSIFY_COLUMNS if sort.move_to is None else (*CLASSIFY_COLUMNS, MOVED_TO)
    with (
        output.reserved(out) as file,
        sort_photos.opened(sort, tag, label, request.names) as sorting,
        opened_for(tag, sort.dry_run, request.prompts) as keywords,
    ):
        if update.update and file is not None and not sort.dry_run:
            report.update = Update(update, file, format, columns)
        needs_list = update.update and not out.allow_empty
        found = find_photos(paths, photo, out.allow_empty, needs_list, sorting)
        run = PhotoRun(found, model, photo, report, made_by=request.made_by)
        run.only_wanted = acting or (sorting.option if sorting is not None else None)
        if update.update:
            check_all_there(paths or (), found)
            run.only_wanted = "--update"
        records = _acted_on(_classified(run, request), keywords, sorting)
        if sort.dry_run:
            run.tell_passed_over(out)
            code = run.exhaust(records)
        else:
            rows = output.open_rows(out, format, columns, _contents(run, request), file)
            records = output.warned_of_other_model(records, out)
            if report.update is not None:
                records = report.update.compared(records)
            code = run.write(records, rows, out, format)
        if sorting is not None:
            code = max(code, sorting.show_plan() if sort.dry_run else sorting.carry_out(out.quiet))
        return code if keywords is None else keywords.conclude(code)


def _request(label: LabelOptions, paths: Sequence[str] | None, acting: str | None) -> LabelRequest:
    """The labels asked for. acting: the option under which they are written, if there is one, which
    not all labels are good enough for."""
    if acting is not None:
        check_none_can_win(label, acting)
    request = read_label_request(label)
    warn_of_labels(request.labels, label, paths)
    if acting is not None:
        check_label_paths(request.names, request.source or acting)
    return request


def _contents(run: PhotoRun, request: LabelRequest) -> TableContents:
    """What rows there may be."""
    labels = request.names
    n_ranks = request.top_k or (len(labels) if request.multi_label else 1)
    return TableContents(Classified, run.photo_paths, labels, request.unknown, n_ranks)


def _acted_on(
    records: Iterator[Classified | Failure],
    keywords: KeywordWriter | None,
    sorting: sort_photos.Sorting | None,
) -> Iterator[Classified | Failure]:
    """The records: each one's labels are written as it passes, and where it goes is planned."""
    if keywords is not None:
        records = keywords.follow(records)
    return records if sorting is None else sorting.planned(records)


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
