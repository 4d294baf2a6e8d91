"""`clipcli eval`: labelled photographs to how often a model is right about them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    from clipcli.evaluation.measure import Evaluation
    from clipcli.files.part_file import PartFile
    from clipcli.labelling.zero_shot import Classifier
    from clipcli.labels.label import Label
    from clipcli.photos.find import Found


@takes(ModelOptions, PhotoOptions)
def evaluate(
    *,
    labelled: Labelled,
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B,C", help="To choose from, if not the true labels alone."),
    ] = None,
    labels_file: LabelsFile = None,
    template: Template = None,
    templates: Templates = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL|TEMPLATES",
            help="Another model, or other templates: a set's name, a .txt file, or"
            ' "a photo of a {}.|a drawing of a {}."; repeatable, and prints one table of every'
            " model with every set.",
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE.html", help="Write a page with pictures of the mistakes."),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write JSON here too.")
    ] = None,
    format: Annotated[
        Literal["json"] | None,
        typer.Option(help="Of --output; without one, in place of the tables on stdout."),
    ] = None,
    failures: Failures = None,
    quiet: Quiet = False,
    model: ModelOptions,
    photo: PhotoOptions,
) -> int:
    """Measure how often labels are right, on photographs whose labels you know.

    Example: clipcli eval photos/ --report mistakes.html
    """
    from clipcli.cli import inputs
    from clipcli.evaluation import measure, page
    from clipcli.evaluation.measure import Asked
    from clipcli.labelling import pipeline
    from clipcli.labels.templates import choose_templates
    from clipcli.photos import truth
    from clipcli.records import Embedded, Failure, Photo

    inputs.check_options(model, photo, OutputOptions(output=output, failures=failures))
    if photo.null:
        raise UsageError("--null: eval reads no list of paths; leave it out")
    _check_files({"--output": output, "--failures": failures, "--report": report})
    models, template_sets = _variants(
        model.model, choose_templates(template, templates), compare or ()
    )
    known = truth.read_truth(labelled, recursive=photo.recursive, exclude=photo.exclude or ())
    chosen = _labels(known.labels, labels, labels_file)
    if len(chosen) < 2:
        raise UsageError(
            f"{labelled}: one label, {chosen[0].name}, which is always right; {truth.EXPECTED},"
            " or name others with --labels"
        )
    names = measure.match_labels(known.labels, chosen)
    true_names = {one.path: names[one.label] for one in known.photos}
    empty = sorted(set(known.labels) - {one.label for one in known.photos})
    found: list[Found] = [*known.failures, *(Photo(one.path) for one in known.photos)]
    failed: list[Failure] = []
    codes: list[int] = []
    measured: list[tuple[Asked, Classifier, list[Embedded]]] = []
    with _whole(output) as json_file, _whole(report) as page_file:
        for name in models:
            talk = Report("judged", quiet)
            if empty and not measured:
                talk.note(f"labels without a photograph: {', '.join(empty)}")
            embedder = inputs.open_embedder(replace(model, model=name), talk)
            classifiers = [
                pipeline.build_classifier(embedder, chosen, some, model.truncate)
                for some in template_sets
            ]
            inputs.warn_of_unknown_labels(embedder, chosen, talk)
            options = inputs.run_options(model, photo)
            embedded: list[Embedded] = []
            with talk.failures_to(None if measured else failures):
                for record in talk.follow(pipeline.embed(found, embedder, options), len(found)):
                    if isinstance(record, Embedded):
                        embedded.append(record)
                    elif isinstance(record, Failure):
                        failed.append(record)
                codes.append(talk.conclude(inputs.describe(embedder)))
            found = [Photo(record.path) for record in embedded]  # the next model sees the same
            for some, classifier in zip(template_sets, classifiers, strict=True):
                asked = Asked(embedder.spec, options.decode.describe(), tuple(some))
                measured.append((asked, classifier, embedded))
        common = {one.path for one in found}
        evaluations = [
            measure.measure(
                measure.judge(
                    [record for record in embedded if record.path in common], true_names, classifier
                ),
                classifier.names,
                asked,
            )
            for asked, classifier, embedded in measured
        ]
        text = _text(evaluations)
        as_json = _json(measure.json_object(evaluations, failed))
        if page_file is not None:
            page_file.write(page.page(evaluations).encode())
        if json_file is not None:
            json_file.write(as_json)
        print_text(as_json.decode() if format and json_file is None else text)
    return max(codes)


def _text(evaluations: Sequence[Evaluation]) -> str:
    from clipcli.cli import eval_text

    if len(evaluations) > 1:
        return eval_text.comparison_text(evaluations)
    return eval_text.evaluation_text(evaluations[0])


def _json(fields: dict[str, Any]) -> bytes:
    """One field a line: short enough to read, and to compare with another run's."""
    from clipcli.files.writers import json_text

    lines = ",\n".join(f"{json_text(name)}: {json_text(value)}" for name, value in fields.items())
    return f"{{\n{lines}\n}}\n".encode()


def _labels(
    true_labels: Sequence[str], labels: list[str] | None, labels_file: str | None
) -> list[Label]:
    """Those to choose from: as asked for, or the true ones."""
    from clipcli.evaluation import measure
    from clipcli.labels.label import parse_labels, read_labels_file

    if labels is not None and labels_file is not None:
        raise UsageError("--labels and --labels-file both name the labels; give one of them")
    if labels_file is not None:
        return read_labels_file(labels_file)
    return measure.folder_labels(true_labels) if labels is None else parse_labels(labels)


def _variants(
    model: str | None, templates: list[str], compare: Sequence[str]
) -> tuple[list[str | None], list[list[str]]]:
    """The models and the sets of templates to measure, those without --compare first."""
    from clipcli.labels.label import PLACE, check_templates
    from clipcli.labels.templates import TEMPLATE_SETS, read_templates

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


def _check_files(named: dict[str, str | None]) -> None:
    """Refuse two options that would write the same file."""
    seen: dict[str, str] = {}
    for option, path in named.items():
        if path is not None:
            other = seen.setdefault(os.path.realpath(path), option)
            if other != option:
                raise UsageError(f"{other} and {option} name the same file; give each its own")


@contextmanager
def _whole(path: str | None) -> Iterator[PartFile | None]:
    """A file that appears when the run is whole, and is known to be writable before it starts."""
    if path is None:
        yield None
        return
    from clipcli.files.part_file import PartFile

    file = PartFile(Path(path))
    try:
        yield file
    except BaseException:
        file.abandon()
        raise
    file.commit()
