"""`clipcli prompts`: what a label becomes, and which words and templates are better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.cli.help import FINE_POINTS, LABELS, App, in_panel, output_file
from clipcli.cli.options.shared import (
    LabelledOptions,
    Labels,
    LabelsFile,
    LeaveOutRare,
    ModelOptions,
    PhotoOptions,
    TableFormatOption,
    Template,
    Templates,
)
from clipcli.cli.options.takes import takes
from clipcli.errors import UsageError

prompts_app = App(invoke_without_command=True)


@dataclass(frozen=True)
class ChooseOptions:
    """What is tried, and where the best of it goes."""

    rewordings: Annotated[
        str | None,
        in_panel(
            LABELS,
            metavar="FILE",
            help='Words to try: label = word | "whole prompt", each on its own.',
        ),
    ] = None
    templates: Annotated[
        list[str] | None,
        in_panel(
            LABELS, metavar="FILE", help="Templates to try beside the named sets; repeatable."
        ),
    ] = None
    hint: Annotated[
        str | None,
        in_panel(LABELS, metavar="NOUN", help="Try 'a photo of a {}, a type of NOUN.' too."),
    ] = None
    seed: Annotated[int, in_panel(FINE_POINTS, min=0, metavar="N", help="Of the two halves.")] = 0
    format: TableFormatOption = "table"
    leave_out_rare: LeaveOutRare = False
    output: Annotated[
        str | None,
        output_file("Write what is best as a labels file."),
    ] = None


@prompts_app.callback()
def prompts(context: typer.Context, format: TableFormatOption = "table") -> int:
    """List the sets of templates; show prompts, choose better ones.

    Example: clipcli prompts
    Example: clipcli prompts show --labels dog,cat --templates seven
    """
    command = context.invoked_subcommand
    if command and format != "table":
        raise UsageError(f"--format comes too early: clipcli prompts {command} --format {format}")
    return 0 if command else show(format=format)


@prompts_app.command("show")
def show(
    labels: Labels = None,
    labels_file: LabelsFile = None,
    template: Template = None,
    templates: Templates = None,
    format: TableFormatOption = "table",
) -> int:
    """Print what each label becomes, one prompt a line.

    Without labels: the templates of a set, or the names of all sets.

    Example: clipcli prompts show --labels dog,cat --templates seven
    Example: clipcli prompts show --templates imagenet80
    """
    from clipcli.cli.work import prompts as work

    return work.show(labels, labels_file, template, templates, format)


@prompts_app.command("choose")
@takes(ChooseOptions, LabelledOptions, PhotoOptions, ModelOptions)
def choose(
    *, choose: ChooseOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions
) -> int:
    """Find better words and templates with labelled photographs.

    They are tried on one half of the photographs, and the best are tested on the other.

    Example: clipcli prompts choose labelled/ -o labels.txt
    Example: clipcli prompts choose labelled/ --rewordings words.txt --hint bird
    """
    from clipcli.cli.work import prompts as work

    return work.choose(choose, data, model, photo)
