"""`clipcli probe`: a few labelled photographs to a probe that `classify --probe` reads."""

from __future__ import annotations

from contextlib import ExitStack
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
    from collections.abc import Iterable

    from clipcli.evaluation.learning_curve import Point
    from clipcli.labelling.probe import Origin
    from clipcli.photos.find import Found

probe_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@probe_app.callback()
def probe(context: typer.Context) -> int:
    """Teach labels with a few photographs of each.

    Example: clipcli probe fit pets/ -o pets.probe
    """
    if context.invoked_subcommand is None:
        raise UsageError("probe: expected clipcli probe fit LABELLED_DIR -o FILE")
    return 0


@probe_app.command("fit")
@takes(ModelOptions, PhotoOptions)
def fit(
    *,
    labelled: Labelled,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="The probe.")
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(
            metavar="1,2,4,8,16",
            help="Print accuracy when so many photographs of each label are taught.",
        ),
    ] = None,
    splits: Annotated[
        int, typer.Option(min=1, metavar="N", help="With --shots: draw so many times.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="With --shots: of the draws.")] = 0,
    labels_file: LabelsFile = None,
    template: Template = None,
    templates: Templates = None,
    failures: Failures = None,
    quiet: Quiet = False,
    model: ModelOptions,
    photo: PhotoOptions,
) -> int:
    """Learn labels from photographs, starting from the labels' words.

    Example: clipcli probe fit pets/ -o pets.probe
    """
    import numpy as np

    from clipcli.cli import inputs
    from clipcli.evaluation import learning_curve, measure
    from clipcli.files.part_file import PartFile
    from clipcli.labelling import pipeline, probe_file
    from clipcli.labelling import probe as probes
    from clipcli.labels.label import read_labels_file
    from clipcli.labels.templates import choose_templates
    from clipcli.photos import truth
    from clipcli.records import Embedded, Photo

    inputs.check_options(model, photo, OutputOptions(output=output, failures=failures))
    if photo.null:
        raise UsageError("--null: probe fit reads no list of paths; leave it out")
    if output is None and shots is None:
        raise UsageError("expected -o FILE for the probe, or --shots 1,2,4,8 to measure, or both")
    asked_shots = _shots(shots)
    chosen_templates = choose_templates(template, templates)
    known = truth.read_truth(labelled, recursive=photo.recursive, exclude=photo.exclude or ())
    chosen = (
        read_labels_file(labels_file)
        if labels_file is not None
        else measure.folder_labels(known.labels)
    )
    names = measure.match_labels(known.labels, chosen)
    if len({one.label for one in known.photos}) < 2:
        raise UsageError(f"{labelled}: photographs of fewer than two labels; {truth.EXPECTED}")
    index = {label.name: row for row, label in enumerate(chosen)}
    rows = {one.path: index[names[one.label]] for one in known.photos}
    found: list[Found] = [*known.failures, *(Photo(one.path) for one in known.photos)]
    report = Report("learned from", quiet)
    with ExitStack() as stack:
        file = PartFile(Path(output)) if output else None  # writable, or it ends here
        if file is not None:
            stack.push(lambda kind, error, trace: _end(file, error))
        stack.enter_context(report.failures_to(failures))
        embedder = inputs.open_embedder(model, report)
        options = inputs.run_options(model, photo)
        classifier = pipeline.build_classifier(embedder, chosen, chosen_templates, model.truncate)
        inputs.warn_of_unknown_labels(embedder, chosen, report)
        records = report.follow(pipeline.embed(found, embedder, options), len(found))
        embedded = [record for record in records if isinstance(record, Embedded)]
        code = report.conclude(inputs.describe(embedder))
        x = np.stack([record.embedding for record in embedded])
        y = np.array([rows[record.path] for record in embedded])
        fitted = probes.fit_probe(
            x, y, classifier, embedder.spec, options.decode.describe(), chosen_templates
        )
        if asked_shots:
            most = learning_curve.most_shots(y)
            measured = [n_shots for n_shots in asked_shots if n_shots <= most]
            if not measured:
                raise UsageError(
                    f"--shots {shots}: a label has {most + 1} photographs, of which one at least is"
                    " left to test; give fewer shots or more photographs"
                )
            if len(measured) < len(asked_shots):
                report.note(f"a label has {most + 1} photographs: more than {most} not measured")
            points = learning_curve.learning_curve(x, y, classifier, measured, splits, seed)
            print_text("".join(f"{line}\n" for line in _table(points)))
        if file is not None:
            probe_file.write_probe(fitted, file)
            report.note(f"{output}: {_described(fitted.origin)}")
    return code


def _end(file: object, error: BaseException | None) -> bool:
    """The probe appears when the run is whole, and leaves nothing otherwise."""
    from clipcli.files.part_file import PartFile

    assert isinstance(file, PartFile)
    if error is None:
        file.commit()
    else:
        file.abandon()
    return False


def _shots(text: str | None) -> list[int]:
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--shots {text}: expected numbers from 1, like 1,2,4,8,16")
    return sorted({int(part) for part in parts})


def _table(points: Iterable[Point]) -> Iterable[str]:
    """Lines of the curve; each comes when it is measured."""
    yield f"{'SHOTS':>5}  {'PROBE':<24}{'ZERO-SHOT':<24}GAIN"
    for point in points:
        cells = []
        for share, (low, high) in (
            (point.probe, point.probe_interval),
            (point.zero_shot, point.zero_shot_interval),
        ):
            cells.append(f"{100 * share:5.1f} % ({100 * low:.1f} to {100 * high:.1f})")
        low, high = point.gain_interval
        gain = f"{100 * point.gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        yield f"{point.shots:>5}  {cells[0]:<24}{cells[1]:<24}{gain}"


def _described(origin: Origin) -> str:
    """What was learned, in words."""
    fewest, most = min(origin.shots), max(origin.shots)
    each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    line = f"{len(origin.shots)} labels, {each} photographs each, C about {origin.strength:g}"
    if origin.accuracy is None or origin.zero_shot_accuracy is None:
        return f"{line}; two photographs of each label would show how well it does"
    return (
        f"{line}; on photographs held out {100 * origin.accuracy:.1f} % right,"
        f" {100 * origin.zero_shot_accuracy:.1f} % zero-shot"
    )
