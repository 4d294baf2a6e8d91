"""Labelled photographs to the thresholds that `classify` judges by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.cli.options.shared import LabelledOptions, ModelOptions, PhotoOptions
from clipcli.cli.work.labels import read_labelled
from clipcli.cli.work.tables import print_tables
from clipcli.errors import UsageError
from clipcli.files.part_file import PartFile
from clipcli.files.suffixes import check_suffix
from clipcli.files.table import Cell, Row, Table, count, fixed, number, percent, words
from clipcli.labelling.calibrate import calibrate_labels
from clipcli.labelling.calibration import HeldOutRates, Rates
from clipcli.labelling.calibration_file import Calibration, to_json
from clipcli.labelling.classifier import build_classifier
from clipcli.labels.label import Label
from clipcli.labels.templates import choose_templates

if TYPE_CHECKING:
    from clipcli.cli.calibrate import CalibrateOptions

MIN_PHOTOS = 2  # of each label: one to fit to, one to measure on


def calibrate(
    calibrate: CalibrateOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions
) -> int:
    check_suffix("--output", calibrate.output, ".json")
    templates = choose_templates(calibrate.template, calibrate.templates)
    n_least = MIN_PHOTOS if calibrate.leave_out_rare else 0
    run = read_labelled(
        "calibrate", "looked at", data, model, photo, output=calibrate.output
    ).without_rare(n_least)
    _check_enough(data.labelled, run.labels, list(run.true_names.values()))
    with PartFile(Path(calibrate.output)) as file:  # known to be writable before it starts
        with run.report.failures_to(data.failures):
            (classifier,) = run.classifiers([templates])
            photos = run.embed_labelled(n_least)
        labels = photos.labels
        if len(labels) < len(run.labels):
            classifier = build_classifier(run.embedder, labels, templates, model.truncate)
        _check_enough(data.labelled, labels, [labels[row].name for row in photos.rows])
        done = calibrate_labels(
            classifier,
            labels,
            templates,
            photos.records,
            photos.rows,
            run.embedder,
            run.options,
            calibrate.pairs,
        )
        file.write(to_json(done).encode())
    parts: list[Table | str] = [_thresholds(done), _summary(done.measured)]
    if calibrate.format == "csv":
        parts = [_thresholds(done), _held_out(done.measured)]
    print_tables(parts, calibrate.format)
    return photos.code


def _check_enough(labelled: str, labels: Sequence[Label], names: Sequence[str]) -> None:
    """Refuse labels of which there are too few photographs, by name."""
    if len(labels) < 2:
        raise UsageError(
            f"{labelled}: one label, {labels[0].name}; expected at least two, since a threshold"
            " needs photographs that do not show the label"
        )
    few = {label.name: names.count(label.name) for label in labels}
    missing = [f"{name} has {n}" for name, n in few.items() if n < MIN_PHOTOS]
    if missing:
        more = f" and {len(missing) - 10} labels more" if len(missing) > 10 else ""
        raise UsageError(
            f"{labelled}: {', '.join(missing[:10])}{more}; expected at least {MIN_PHOTOS} readable"
            " photographs of each label, better ten; --leave-out-rare goes on without these labels"
        )


def _thresholds(done: Calibration) -> Table:
    """Of each label, and what they cost."""
    columns = (
        words("label"),
        *(number("threshold"), number("temperature")),
        *(number("wrong accepts", "wrong_accepts"), number("wrong rejects", "wrong_rejects")),
    )
    rows: list[Row] = [
        [label.name, fixed(threshold, 3), fixed(temperature, 3), *_shares(rates)]
        for label, threshold, temperature, rates in zip(
            done.labels,
            done.thresholds.thresholds.tolist(),
            done.thresholds.temperatures.tolist(),
            done.measured.per_label,
            strict=True,
        )
    ]
    return Table(columns, rows)


def _held_out(measured: HeldOutRates) -> Table:
    """What `_summary` says in words, for CSV."""
    columns = (words("photographs"), number("n"), number("wrong_accepts"), number("wrong_rejects"))
    rows: list[Row] = [["alone", count(measured.n_photos), *_shares(measured.alone)]]
    if measured.in_pairs is not None:
        rows.append(["in_pairs", count(measured.n_pairs), *_shares(measured.in_pairs)])
    of_none = Rates(measured.strangers_accepted, measured.known_rejected)
    rows.append(["none_of_these", count(measured.n_photos), *_shares(of_none)])
    return Table(columns, rows)


def _summary(measured: HeldOutRates) -> str:
    lines = ["measured on photographs that were held out of the fit:"]
    lines.append(f"  alone ({measured.n_photos:,}): {_sentence(measured.alone)}")
    if measured.in_pairs is not None:
        lines.append(f"  side by side ({measured.n_pairs:,}): {_sentence(measured.in_pairs)}")
    none = f"  none of these: {percent(measured.known_rejected)} of known photographs rejected"
    if measured.strangers_accepted is not None:
        none += f", {percent(measured.strangers_accepted)} of a left-out label's accepted"
    return "\n".join([*lines, none]) + "\n"


def _sentence(rates: Rates) -> str:
    accepts, rejects = _shares(rates)
    return f"{accepts} of absent labels accepted, {rejects} of present ones rejected"


def _shares(rates: Rates) -> list[Cell]:
    """Of wrong accepts and wrong rejects."""
    return [percent(share) for share in astuple(rates)]
