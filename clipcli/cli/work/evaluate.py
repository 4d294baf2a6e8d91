"""Labelled photographs to figures: each model with each set of templates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.cli.options import LabelledOptions, LabelOptions, ModelOptions, PhotoOptions
from clipcli.cli.printing import print_text
from clipcli.cli.work.inputs import check_models
from clipcli.cli.work.labels import (
    LabelledRun,
    check_several_labels,
    read_label_request,
    read_labelled,
)
from clipcli.cli.work.report import Report
from clipcli.cli.work.tables import table_text
from clipcli.errors import ExitCode, ModelError, UsageError, one_line
from clipcli.evaluation import measure, page, predictions, tables
from clipcli.evaluation.judge import TOP_K, judge
from clipcli.evaluation.measure import Evaluation
from clipcli.evaluation.metrics import Bin
from clipcli.evaluation.tables import Table, percent
from clipcli.files.part_file import PartFile
from clipcli.files.rows import json_text
from clipcli.files.suffixes import check_suffix
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
    from clipcli.cli.eval import EvalOptions

logger = logging.getLogger(__name__)

N_CONFUSIONS = 10
BAR_WIDTH = 40

Templates = list[str]


def evaluate(
    eval: EvalOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions
) -> int:
    taught = _read_taught(eval, data)
    models, template_sets = _variants(
        model.model, choose_templates(eval.template, eval.templates), eval.compare or ()
    )
    check_suffix("--output", eval.output, ".json")
    check_suffix("--report", eval.report, ".html", ".htm")
    check_suffix("--predictions", eval.predictions, *predictions.SUFFIXES)
    written = {"output": eval.output, "report": eval.report, "predictions": eval.predictions}
    run = read_labelled("eval", "judged", data, model, photo, taught, **written)
    check_several_labels(data.labelled, run.labels)
    if run.empty:
        logger.info(f"labels without a photograph: {', '.join(run.empty)}")
    check_models([name for name in models[1:] if name], model.cache_dir, data.quiet)
    with ExitStack() as files:  # known to be writable before it starts
        json_file, page_file, predictions_file = (
            None if path is None else files.enter_context(PartFile(Path(path)))
            for path in written.values()
        )
        evaluations, failed, code = _measure(run, models, template_sets, taught, data.failures)
        as_json = _json(measure.json_object(evaluations, failed))
        if page_file is not None:
            page_file.write(page.page(evaluations).encode())
        if json_file is not None:
            json_file.write(as_json)
        if predictions_file is not None:
            predictions.write_predictions(evaluations, predictions_file)
    if eval.format and eval.output is None:
        print_text(as_json.decode())
    else:
        first, *others = evaluations
        source = None if taught is None else taught.source
        print_text(_comparison(evaluations) if others else _text(first, source))
    return code


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


def _json(fields: dict[str, Any]) -> bytes:
    """One field a line: short enough to read, and to compare with another run's."""
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


def _text(evaluation: Evaluation, source: str | None) -> str:
    """Everything about one labeller. source: of one that was taught."""
    made_by = evaluation.made_by
    heading = (
        f"{evaluation.n:,} photograph{'s' if evaluation.n != 1 else ''},"
        f" {len(evaluation.per_label):,} labels; {one_line(made_by.model)},"
        f" {one_line(source or tables.templates_name(made_by.templates))}\n"
    )
    parts = [tables.overall(evaluation), tables.of_labels(evaluation)]
    if evaluation.confusions:
        parts.append(tables.of_confusions(evaluation, N_CONFUSIONS))
    return "\n".join([heading, *map(table_text, [*parts, _reliability(evaluation.bins)])])


def _comparison(evaluations: Sequence[Evaluation]) -> str:
    """One line for each classifier, and how it differs from the first."""
    first = evaluations[0]
    return (
        f"{first.n:,} photographs, {len(first.per_label):,} labels; differences to the first"
        " line, in points of top-1 on the same photographs\n\n"
        + table_text(tables.comparison(evaluations))
    )


def _reliability(bins: Sequence[Bin]) -> Table:
    """A bar as long as the share that was right, and a | where the probabilities said it ends."""
    rows = []
    for one in bins:
        bar = "#" * round(BAR_WIDTH * one.share_right)
        said = round(BAR_WIDTH * one.mean_probability)
        rows.append(
            [
                f"{one.low:.2f} to {one.high:.2f}",
                f"{one.n:,}",
                percent(one.mean_probability),
                percent(one.share_right),
                bar.ljust(said)[:said] + "|" + bar[said + 1 :],
            ]
        )
    return Table(("probability", "n", "| said", "# right", ""), rows, numbers=(1, 2, 3))
