"""A few labelled photographs to a probe, and to how much each more of them teaches."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli.options.shared import LabelledOptions, ModelOptions, PhotoOptions
from clipcli.cli.work.labels import EmbeddedPhotos, read_labelled
from clipcli.cli.work.tables import print_tables
from clipcli.errors import UsageError
from clipcli.evaluation.learning_curve import Point, learning_curve, most_shots
from clipcli.files.part_file import PartFile
from clipcli.files.suffixes import check_suffix
from clipcli.files.table import (
    Cell,
    Row,
    Table,
    between,
    count,
    number,
    percent,
    points,
    points_between,
)
from clipcli.labelling.classifier import Classifier, build_classifier
from clipcli.labelling.probe import ProbeOrigin
from clipcli.labelling.probe_file import write_probe
from clipcli.labelling.probe_fit import check_classes, check_scipy, fit_probe
from clipcli.labels.templates import choose_templates
from clipcli.photos import truth

if TYPE_CHECKING:
    from clipcli.cli.probe import FitOptions

logger = logging.getLogger(__name__)

CURVES = {"probe": "probe", "zero-shot": "zero_shot", "gain": "gain"}


def fit(fit: FitOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions) -> int:
    if fit.output is None and fit.shots is None:
        raise UsageError("expected -o FILE for the probe, or --shots 1,2,4,8 to measure, or both")
    check_suffix("--output", fit.output, ".probe", ".safetensors")
    check_scipy()
    shots = _shots(fit.shots)
    templates = choose_templates(fit.template, fit.templates)
    # one at least is held out of what is taught, to measure on
    n_least = min(shots, default=1) + 1 if fit.leave_out_rare else 0
    run = read_labelled(
        "probe fit", "learned from", data, model, photo, output=fit.output
    ).without_rare(n_least)
    counts = Counter(run.true_names.values())
    if len(counts) < 2:
        raise UsageError(f"{data.labelled}: photographs of fewer than two labels; {truth.EXPECTED}")
    _check_most(shots, min(counts.values()) - 1)
    untaught = [label.name for label in run.labels if label.name not in counts]
    if untaught:
        logger.info(f"without a photograph, known by their words alone: {', '.join(untaught)}")
    with ExitStack() as stack:
        # known to be writable before it starts
        file = stack.enter_context(PartFile(Path(fit.output))) if fit.output else None
        stack.enter_context(run.report.failures_to(data.failures))
        (classifier,) = run.classifiers([templates])
        check_classes(classifier)
        photos = run.embed_labelled(n_least)
        if len(photos.labels) < len(run.labels):
            classifier = build_classifier(run.embedder, photos.labels, templates, model.truncate)
        made_by = replace(photos.records[0].made_by, templates=tuple(templates))
        fitted = fit_probe(photos.embeddings, photos.rows, classifier, made_by)
        if shots:
            _print_curve(photos, classifier, shots, fit)
        if file is not None:
            write_probe(fitted, file)
            logger.info(f"{fit.output}: {_described(fitted.origin)}")
    return photos.code


def _print_curve(
    photos: EmbeddedPhotos, classifier: Classifier, shots: Sequence[int], fit: FitOptions
) -> None:
    most = most_shots(photos.rows)
    _check_most(shots, most)
    measured = [n_shots for n_shots in shots if n_shots <= most]
    if len(measured) < len(shots):
        logger.info(f"a label has {_photographs(most + 1)}: more than {most} not measured")
    curve = learning_curve(
        photos.embeddings, photos.rows, classifier, measured, fit.splits, fit.seed
    )
    print_tables([_table(curve)], fit.format)


def _check_most(shots: Sequence[int], most: int) -> None:
    """Refuse shots of which none can be measured."""
    if shots and shots[0] > most:
        raise UsageError(
            f"--shots {','.join(map(str, shots))}: a label has {_photographs(most + 1)}, of which"
            " one at least is left to test; give fewer shots or more photographs, or"
            " --leave-out-rare to go on without such labels"
        )


def _photographs(n: int) -> str:
    return "1 photograph" if n == 1 else f"{n} photographs"


def _shots(text: str | None) -> list[int]:
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--shots {text}: expected numbers from 1, like 1,2,4,8,16")
    return sorted({int(part) for part in parts})


def _table(curve: Iterable[Point]) -> Table:
    columns = (
        number("shots"),
        *(number(name, field, f"{field}_low", f"{field}_high") for name, field in CURVES.items()),
    )
    rows: list[Row] = [
        [
            count(one.shots),
            _within(percent(one.probe), between(one.probe_interval)),
            _within(percent(one.zero_shot), between(one.zero_shot_interval)),
            _within(points(one.gain), points_between(one.gain_interval)),
        ]
        for one in curve
    ]
    return Table(columns, rows)


def _within(value: Cell, interval: Cell) -> Cell:
    return Cell(f"{value} ({interval})", (*value.values, *interval.values))


def _described(origin: ProbeOrigin) -> str:
    """What was learned, in words."""
    fewest, most = min(origin.shots), max(origin.shots)
    each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    line = f"{len(origin.shots)} labels, {each} photographs each, C about {origin.strength:g}"
    if origin.accuracy is None or origin.zero_shot_accuracy is None:
        return f"{line}; two photographs of each label would show how well it does"
    return (
        f"{line}; on photographs held out {percent(origin.accuracy)} right,"
        f" {percent(origin.zero_shot_accuracy)} zero-shot"
    )
