"""`clipcli calibrate`: labelled photographs to the thresholds that `classify` judges by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.cli.options import (
    Failures,
    Labelled,
    LabelsFile,
    ModelOptions,
    OutputOptions,
    PhotoOptions,
    Quiet,
    Template,
    Templates,
    takes,
)
from clipcli.cli.output import print_text
from clipcli.cli.report import Report
from clipcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.labelling.calibration import Measured, Rates
    from clipcli.labelling.calibration_file import Calibration
    from clipcli.labels.label import Label
    from clipcli.photos.find import Found

MIN_PHOTOS = 2  # of each label: one to fit to, one to measure on


@takes(ModelOptions, PhotoOptions)
def calibrate(
    *,
    labelled: Labelled,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The calibration, as JSON.")
    ],
    labels_file: LabelsFile = None,
    template: Template = None,
    templates: Templates = None,
    pairs: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Look at each photograph beside about N others too, to learn of photographs that"
            " show several labels; 0 where each shows one.",
        ),
    ] = 6,
    failures: Failures = None,
    quiet: Quiet = False,
    model: ModelOptions,
    photo: PhotoOptions,
) -> int:
    """Learn from a few labelled photographs when a label is there, and measure how well.

    Example: clipcli calibrate labelled/ -o pets.json
    """
    import numpy as np

    from clipcli.cli import inputs
    from clipcli.evaluation import measure
    from clipcli.files.part_file import PartFile
    from clipcli.labelling import calibration, calibration_file, multi_label, pipeline
    from clipcli.labelling import side_by_side as pairing
    from clipcli.labels.label import read_labels_file
    from clipcli.labels.templates import choose_templates
    from clipcli.photos import truth
    from clipcli.records import Embedded, Photo

    inputs.check_options(model, photo, OutputOptions(output=output, failures=failures))
    if photo.null:
        raise UsageError("--null: calibrate reads no list of paths; leave it out")
    chosen_templates = choose_templates(template, templates)
    known = truth.read_truth(labelled, recursive=photo.recursive, exclude=photo.exclude or ())
    labels = read_labels_file(labels_file) if labels_file else measure.folder_labels(known.labels)
    names = measure.match_labels(known.labels, labels)
    _check_enough(labelled, labels, [names[one.label] for one in known.photos])
    report = Report("looked at", quiet)
    file = PartFile(Path(output))  # known to be writable before it starts
    try:
        with report.failures_to(failures):
            embedder = inputs.open_embedder(model, report)
            classifier = pipeline.build_classifier(
                embedder, labels, chosen_templates, model.truncate
            )
            backgrounds = embedder.encode_texts(multi_label.BACKGROUND_PROMPTS)
            inputs.warn_of_unknown_labels(embedder, labels, report)
            options = inputs.run_options(model, photo)
            found: list[Found] = [*known.failures, *(Photo(one.path) for one in known.photos)]
            records = report.follow(pipeline.embed(found, embedder, options), len(found))
            embedded = [record for record in records if isinstance(record, Embedded)]
            code = report.conclude(inputs.describe(embedder))
        rows = {name: row for row, name in enumerate(classifier.names)}
        true_names = {one.path: names[one.label] for one in known.photos}
        _check_enough(labelled, labels, [true_names[record.path] for record in embedded])
        true_rows = np.array([rows[true_names[record.path]] for record in embedded])
        alone = calibration.Examples(
            np.stack([record.embedding for record in embedded]),
            np.eye(len(labels), dtype=bool)[true_rows],
            calibration.stratified_folds(true_rows),
        )
        chosen_pairs = pairing.choose(true_rows, alone.folds, pairs)
        in_pairs = None
        if len(chosen_pairs):
            report.note(f"looking at them side by side, in {len(chosen_pairs):,} pairs")
            in_pairs = calibration.Examples(
                pairing.embed(
                    [record.path for record in embedded], chosen_pairs, embedder, options
                ),
                alone.shows[chosen_pairs[:, 0]] | alone.shows[chosen_pairs[:, 1]],
                alone.folds[chosen_pairs[:, 0]],
            )
        done = calibration_file.Calibration(
            model=embedder.spec.name,
            fingerprint=embedder.spec.fingerprint,
            precision=embedder.spec.precision,
            preprocessing=options.decode.describe(),
            templates=tuple(chosen_templates),
            backgrounds=multi_label.BACKGROUND_PROMPTS,
            labels=tuple(labels),
            thresholds=calibration.fit(classifier, backgrounds, alone, in_pairs),
            measured=calibration.measure(classifier, backgrounds, alone, in_pairs),
        )
        file.write(calibration_file.to_json(done).encode())
    except BaseException:
        file.abandon()
        raise
    file.commit()
    print_text(_text(done))
    return code


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
            " photographs of each label, better ten"
        )


def _text(done: Calibration) -> str:
    """The thresholds, and what they cost."""
    from clipcli.cli.eval_text import table_text
    from clipcli.evaluation.tables import Table

    measured, thresholds = done.measured, done.thresholds
    table = Table(
        ("label", "threshold", "temperature", "wrong accepts", "wrong rejects"),
        [
            [label.name, f"{threshold:.3f}", f"{temperature:.3f}", *_shares(rates)]
            for label, threshold, temperature, rates in zip(
                done.labels,
                thresholds.thresholds.tolist(),
                thresholds.temperatures.tolist(),
                measured.per_label,
                strict=True,
            )
        ],
        numbers=(1, 2, 3, 4),
    )
    return f"{table_text(table)}\n{_summary(measured)}"


def _summary(measured: Measured) -> str:
    lines = ["measured on photographs that were held out of the fit:"]
    lines.append(f"  alone ({measured.n_photos:,}): {_sentence(measured.alone)}")
    if measured.in_pairs is not None:
        lines.append(f"  side by side ({measured.n_pairs:,}): {_sentence(measured.in_pairs)}")
    none = f"  none of these: {measured.known_rejected:.1%} of known photographs rejected"
    if measured.strangers_accepted is not None:
        none += f", {measured.strangers_accepted:.1%} of a left-out label's accepted"
    return "\n".join([*lines, none]) + "\n"


def _sentence(rates: Rates) -> str:
    accepts, rejects = _shares(rates)
    return f"{accepts} of absent labels accepted, {rejects} of present ones rejected"


def _shares(rates: Rates) -> tuple[str, str]:
    accepts, rejects = (
        "-" if share is None else f"{share:.1%}"
        for share in (rates.wrong_accepts, rates.wrong_rejects)
    )
    return accepts, rejects
