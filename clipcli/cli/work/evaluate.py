"""Labelled photographs to figures: each model with each set of templates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli.options.shared import LabelledOptions, LabelOptions, ModelOptions, PhotoOptions
from clipcli.cli.printing import print_text
from clipcli.cli.work.inputs import check_models
from clipcli.cli.work.labels import (
    LabelledRun,
    check_several_labels,
    read_label_request,
    read_labelled,
)
from clipcli.cli.work.report import Report
from clipcli.cli.work.tables import print_tables, tables_text
from clipcli.errors import (
    CheckpointError,
    DownloadError,
    ExitCode,
    ModelError,
    UsageError,
    one_line,
)
from clipcli.evaluation import measure, page, predictions, tables
from clipcli.evaluation.judge import TOP_K, judge
from clipcli.evaluation.measure import Evaluation
from clipcli.files.part_file import PartFile
from clipcli.files.rows import json_text
from clipcli.files.screen import Screen
from clipcli.files.suffixes import check_suffix
from clipcli.files.table import Table
from clipcli.labelling.labeller import (
    Labeller,
    LabelRequest,
    open_labeller,
    zero_shot_labeller,
)
from clipcli.labels.label import PLACE, check_templates
from clipcli.labels.templates import TEMPLATE_SETS, choose_templates, read_templates
from clipcli.records import Embedded, Failure, Photo

if TYPE_CHECKING:
    from clipcli.cli.eval import EvalFormat, EvalOptions

logger = logging.getLogger(__name__)

N_CONFUSIONS = 10
SUFFIXES = {"json": ".json", "csv": ".csv", "latex": ".tex", "table": ".txt"}

Templates = list[str]


def evaluate(
    eval: EvalOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions
) -> int:
    taught = _read_taught(eval, data)
    models, template_sets = _variants(
        model.model, choose_templates(eval.template, eval.templates), eval.compare or ()
    )
    file_format = _file_format(eval.output, eval.format)
    check_suffix("--report", eval.report, ".html", ".htm")
    check_suffix("--predictions", eval.predictions, *predictions.SUFFIXES)
    written = {"output": eval.output, "report": eval.report, "predictions": eval.predictions}
    run = read_labelled("eval", "judged", data, model, photo, taught, **written)
    check_several_labels(data.labelled, run.labels)
    if run.empty:
        logger.info(f"labels without a photograph: {', '.join(run.empty)}")
    models, left_out = _usable(models, model.cache_dir, data.quiet)
    with ExitStack() as files:  # known to be writable before it starts
        figures_file, page_file, predictions_file = (
            None if path is None else files.enter_context(PartFile(Path(path)))
            for path in written.values()
        )
        evaluations, failed, code = _measure(run, models, template_sets, taught, data.failures)
        code = max(code, ExitCode.PARTLY_READ if left_out else ExitCode.OK)
        source = None if taught is None else taught.source
        if page_file is not None:
            page_file.write(page.page(evaluations).encode())
        if figures_file is not None:
            figures_file.write(_figures(evaluations, failed, file_format, source))
        if predictions_file is not None:
            predictions.write_predictions(evaluations, predictions_file)
    format = "table" if eval.output else eval.format or "table"
    if format == "json":
        print_text(_figures(evaluations, failed, format, source).decode())
    else:
        print_tables(_parts(evaluations, format, source), format)
    return code


def _usable(
    models: Sequence[str | None], cache_dir: str | None, quiet: bool
) -> tuple[list[str | None], bool]:
    """The models without later ones that are damaged or cannot be fetched, and whether there are
    any. Raises ModelError for a name that is none: that was typed wrong."""
    usable = [*models[:1]]
    for name in models[1:]:
        try:
            check_models([name] if name else [], cache_dir, quiet)
            usable.append(name)
        except (CheckpointError, DownloadError) as error:
            logger.warning(f"{name} is left out: {error}")
    return usable, len(usable) < len(models)


def _read_taught(eval: EvalOptions, data: LabelledOptions) -> LabelRequest | None:
    """The calibration or the probe that is measured, in place of words."""
    if eval.calibration is None and eval.probe is None:
        return None
    if eval.compare:
        option = "--calibration" if eval.probe is None else "--probe"
        raise UsageError(
            f"{option} and --compare: what was taught knows one model and has words of its own;"
            " measure it alone, and the others without it"
        )
    return read_label_request(
        LabelOptions(
            labels=data.labels,
            labels_file=data.labels_file,
            template=eval.template,
            templates=eval.templates,
            top_k=TOP_K,
            calibration=eval.calibration,
            probe=eval.probe,
        )
    )


def _file_format(output: str | None, format: EvalFormat | None) -> EvalFormat:
    """The one asked for, or the one that the suffix names, or JSON."""
    if format is not None:
        check_suffix("--output", output, SUFFIXES[format])
        return format
    check_suffix("--output", output, ".json", ".csv", ".tex")
    suffix = Path(output or "").suffix.lower()
    if suffix == ".csv":
        return "csv"
    return "latex" if suffix == ".tex" else "json"


def _measure(
    run: LabelledRun,
    models: Sequence[str | None],
    template_sets: Sequence[Templates],
    taught: LabelRequest | None,
    failures: str | None,
) -> tuple[list[Evaluation], list[Failure], int]:
    """Evaluations, what could not be read, and the worst of the exit codes.

    A later model that turns out to be none costs its own lines, not those of the others.
    """
    failed: list[Failure] = []
    codes: list[int] = []
    measured: list[tuple[Labeller, list[Embedded]]] = []
    for name in models:
        report = Report("judged", run.report.quiet)
        run = replace(run, model=replace(run.model, model=name), report=report)
        try:
            labellers = _labellers(run, template_sets, taught)
            embedded: list[Embedded] = []
            with report.failures_to(None if measured else failures):
                for record in run.embedded():
                    if isinstance(record, Embedded):
                        embedded.append(record)
                    else:
                        failed.append(record)
                codes.append(run.conclude())
        except (ModelError, UsageError) as error:
            if not measured:
                raise
            logger.warning(f"{name} is left out: {error}")
            codes.append(ExitCode.PARTLY_READ)
            continue
        measured += [(labeller, embedded) for labeller in labellers]
        # the next model looks only at what this one could read
        run = replace(run, found=[Photo(record.path) for record in embedded])
    common = {one.path for one in run.found}
    evaluations = []
    for labeller, embedded in measured:
        seen_by_all = [record for record in embedded if record.path in common]
        judged = judge(seen_by_all, run.true_names, labeller)
        evaluations.append(measure.measure(judged, labeller))
    return evaluations, failed, max(codes)


def _labellers(
    run: LabelledRun, template_sets: Sequence[Templates], taught: LabelRequest | None
) -> list[Labeller]:
    """What was taught, else the labels in each set of templates."""
    preprocessing = run.options.decode.name
    if taught is not None:
        return [open_labeller(taught, run.embedder, preprocessing, run.model.truncate)]
    made_by = run.embedder.spec.made_by(preprocessing)
    return [
        zero_shot_labeller(classifier, replace(made_by, templates=tuple(templates)), TOP_K)
        for templates, classifier in zip(template_sets, run.classifiers(template_sets), strict=True)
    ]


def _figures(
    evaluations: Sequence[Evaluation],
    failed: Sequence[Failure],
    format: EvalFormat,
    source: str | None,
) -> bytes:
    """For a file, and JSON also for stdout."""
    if format != "json":
        text = tables_text(_parts(evaluations, format, source), format, Screen())
        return text.encode("utf-8", "surrogateescape")
    # one field a line: short enough to read, and to compare with another run's
    fields = measure.json_object(evaluations, failed)
    lines = ",\n".join(f"{json_text(name)}: {json_text(value)}" for name, value in fields.items())
    return f"{{\n{lines}\n}}\n".encode()


def _variants(
    model: str | None, templates: list[str], compare: Sequence[str]
) -> tuple[list[str | None], list[list[str]]]:
    """The models and the sets of templates to measure, those without --compare first."""
    models: list[str | None] = [model]
    template_sets = [templates]
    for value in compare:
        if PLACE in value:
            template_sets.append([part.strip() for part in value.split("|")])
        elif value in TEMPLATE_SETS or value.endswith(".txt"):
            template_sets.append(read_templates(value))
        else:
            models.append(value)
    for some in template_sets:
        check_templates(some)
    return models, template_sets


def _parts(
    evaluations: Sequence[Evaluation], format: EvalFormat, source: str | None
) -> list[Table | str]:
    """Everything about one labeller, or a line for each and how it differs from the first.

    source: of one that was taught.
    """
    first = evaluations[0]
    n, n_labels = first.n, len(first.per_label)
    counts = f"{n:,} photograph{'s' if n != 1 else ''}, {n_labels:,} labels"
    if len(evaluations) > 1:
        heading = f"{counts}; differences to the first line, in points\n"
        return [heading, tables.comparison(evaluations)]
    made_by = first.made_by
    words = one_line(source or tables.templates_name(made_by.templates))
    parts: list[Table | str] = [
        f"{counts}; {one_line(made_by.model)}, {words}\n",
        tables.overall(first),
        tables.of_labels(first),
    ]
    if first.confusions:
        n_shown = None if format == "csv" else N_CONFUSIONS
        parts.append(tables.of_confusions(first, n_shown))
    return [*parts, tables.of_reliability(first.bins)]
