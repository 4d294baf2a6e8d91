"""`clipcli prompts`: what a label becomes, and which words and templates are better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.cli.options import ModelOptions, OutputOptions, PhotoOptions, Quiet, takes
from clipcli.cli.output import print_text
from clipcli.cli.report import Report
from clipcli.errors import UsageError, one_line

if TYPE_CHECKING:
    from clipcli.labels.label import Label
    from clipcli.photos.find import Found

prompts_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

Labels = Annotated[
    list[str] | None, typer.Option(metavar="A,B,C", help="Labels, separated by commas.")
]
LabelsFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help='One a line: label, or label = word | "whole prompt".'),
]
SOURCES = {
    "simple": "the default; the paper's section 3.1.4",
    "seven": "openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb",
    "imagenet80": "openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb",
    "cifar18": "openai/CLIP, data/prompts.md",
}


@prompts_app.callback()
def prompts(context: typer.Context) -> int:
    """List the named sets of templates; look at prompts, choose better ones.

    Example: clipcli prompts
    """
    return 0 if context.invoked_subcommand else show()


@prompts_app.command("show")
def show(
    labels: Labels = None,
    labels_file: LabelsFile = None,
    template: Annotated[
        list[str] | None,
        typer.Option(help="Prompt around a label, {} its place; repeatable.", show_default=False),
    ] = None,
    templates: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A named set of templates, or a file.")
    ] = None,
) -> int:
    """Print what each label becomes, one prompt a line; without labels, the sets of templates.

    Example: clipcli prompts show --labels dog,cat --templates seven
    """
    from clipcli.labels import label as label_texts
    from clipcli.labels.templates import choose_templates

    chosen_templates = choose_templates(template, templates)
    if labels is not None or labels_file is not None:
        lines = [
            f"{one_line(label.name)}\t{one_line(prompt)}"
            for label in _labels(labels, labels_file, ())
            for prompt in label_texts.prompts(label, chosen_templates)
        ]
    elif template or templates:
        lines = [one_line(some) for some in chosen_templates]
    else:
        lines = _named_sets()
    print_text("".join(f"{line}\n" for line in lines))
    return 0


@prompts_app.command("choose")
@takes(ModelOptions, PhotoOptions)
def choose(
    *,
    labelled: Annotated[
        str,
        typer.Argument(
            metavar="LABELLED",
            help="A folder with one sub-folder for each label, or a CSV of path,label.",
        ),
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B,C", help="To choose from, if not the true labels alone."),
    ] = None,
    labels_file: LabelsFile = None,
    rewordings: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help='Words to try: label = word | "whole prompt", each on its own.'
        ),
    ] = None,
    templates: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Templates to try beside the named sets; repeatable."),
    ] = None,
    hint: Annotated[
        str | None,
        typer.Option(metavar="NOUN", help="Try 'a photo of a {}, a type of NOUN.' too."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the two halves.")] = 0,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write what is best as a labels file."),
    ] = None,
    failures: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write what failed, and why, as CSV.")
    ] = None,
    quiet: Quiet = False,
    model: ModelOptions,
    photo: PhotoOptions,
) -> int:
    """Try words and templates on half of some labelled photographs, test the best on the other.

    Example: clipcli prompts choose photos/ --rewordings words.txt -o labels.txt
    """
    import numpy as np

    from clipcli.cli import inputs, prompt_text
    from clipcli.evaluation import measure, prompt_candidates, prompt_choice
    from clipcli.files.part_file import PartFile
    from clipcli.labelling import pipeline
    from clipcli.labels.label import check_templates
    from clipcli.labels.templates import read_templates
    from clipcli.photos import truth
    from clipcli.records import Embedded, Photo

    inputs.check_options(model, photo, OutputOptions(output=output, failures=failures))
    if photo.null:
        raise UsageError("--null: prompts choose reads no list of paths; leave it out")
    own_sets = {name: read_templates(name) for name in templates or ()}
    for some in own_sets.values():
        check_templates(some)
    known = truth.read_truth(labelled, recursive=photo.recursive, exclude=photo.exclude or ())
    chosen = _labels(labels, labels_file, known.labels)
    if len(chosen) < 2:
        raise UsageError(
            f"{labelled}: one label, {chosen[0].name}, which is always right; {truth.EXPECTED},"
            " or name others with --labels"
        )
    names = measure.match_labels(known.labels, chosen)
    given = prompt_candidates.read_rewordings(rewordings, chosen) if rewordings else {}
    ways = {
        label.name: [*given.get(label.name, ()), *prompt_candidates.own_rewordings(label)]
        for label in chosen
    }
    _check_enough(labelled, len(known.photos))
    if output is not None:
        _check_writable(chosen)
    found: list[Found] = [*known.failures, *(Photo(one.path) for one in known.photos)]
    true_names = {one.path: names[one.label] for one in known.photos}
    report = Report("looked at", quiet)
    file = PartFile(Path(output)) if output is not None else None
    try:
        embedder = inputs.open_embedder(model, report)
        inputs.warn_of_unknown_labels(embedder, chosen, report)
        options = inputs.run_options(model, photo)
        with report.failures_to(failures):
            embedded = [
                record
                for record in report.follow(pipeline.embed(found, embedder, options), len(found))
                if isinstance(record, Embedded)
            ]
            code = report.conclude(inputs.describe(embedder))
        _check_enough(labelled, len(embedded))
        places = {label.name: place for place, label in enumerate(chosen)}
        made = prompt_choice.choose(
            embedder,
            prompt_choice.Half(
                np.stack([record.embedding for record in embedded]),
                np.array([places[true_names[record.path]] for record in embedded]),
            ),
            chosen,
            ways,
            prompt_candidates.template_candidates(own_sets, hint),
            seed,
            model.truncate,
        )
        print_text(prompt_text.choice_text(made, chosen, seed))
        if file is not None:
            file.write(prompt_text.labels_file_text(made, embedder.spec.name).encode())
    except BaseException:
        if file is not None:
            file.abandon()
        raise
    if file is not None:
        file.commit()
        best = "the winner" if made.beats_default else "the default"
        report.note(f"{best}'s prompts are in {output}; use them with --labels-file {output}")
    return code


def _labels(
    labels: list[str] | None, labels_file: str | None, true_labels: Sequence[str]
) -> list[Label]:
    """Those asked for, or the true ones."""
    from clipcli.evaluation import measure
    from clipcli.labels.label import parse_labels, read_labels_file

    if labels is not None and labels_file is not None:
        raise UsageError("--labels and --labels-file both name the labels; give one of them")
    if labels_file is not None:
        return read_labels_file(labels_file)
    return measure.folder_labels(true_labels) if labels is None else parse_labels(labels)


def _check_enough(labelled: str, n: int) -> None:
    from clipcli.evaluation.prompt_choice import N_PHOTOS_LEAST

    if n < N_PHOTOS_LEAST:
        photographs = "1 photograph" if n == 1 else f"{n} photographs"
        raise UsageError(
            f"{labelled}: {photographs}; expected at least {N_PHOTOS_LEAST}, since with fewer"
            " nothing can be told from chance"
        )


def _check_writable(labels: Sequence[Label]) -> None:
    """Refuse, before the work, a label that no line of a labels file can hold."""
    for label in labels:
        if label.name.strip() != label.name or len(label.name.splitlines()) > 1:
            raise UsageError(
                f"{label.name!r}: a label with spaces around it or a line break in it does not"
                " fit into a labels file; rename it, or leave --output out"
            )


def _named_sets() -> list[str]:
    from clipcli.labels.templates import TEMPLATE_SETS

    return [f"{'NAME':<12}{'TEMPLATES':>9}  SOURCE"] + [
        f"{name:<12}{len(templates):>9}  {SOURCES[name]}"
        for name, templates in TEMPLATE_SETS.items()
    ]
