"""`clipcli prompts`: what a label becomes, and which words and templates are better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.cli.options import (
    LabelledOptions,
    Labels,
    LabelsFile,
    LeaveOutRare,
    ModelOptions,
    PhotoOptions,
    Template,
    takes,
)

prompts_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@dataclass(frozen=True)
class ChooseOptions:
    """What is tried, and where the best of it goes."""

    rewordings: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help='Words to try: label = word | "whole prompt", each on its own.'
        ),
    ] = None
    templates: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Templates to try beside the named sets; repeatable."),
    ] = None
    hint: Annotated[
        str | None, typer.Option(metavar="NOUN", help="Try 'a photo of a {}, a type of NOUN.' too.")
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Of the two halves.")] = 0
    leave_out_rare: LeaveOutRare = False
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write what is best as a labels file."),
    ] = None


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
    template: Template = None,
    templates: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A named set of templates, or a file.")
    ] = None,
) -> int:
    """Print what each label becomes, one prompt a line; without labels, the sets of templates.

    Example: clipcli prompts show --labels dog,cat --templates seven
    """
    from clipcli.cli.work import prompts as work

    return work.show(labels, labels_file, template, templates)


@prompts_app.command("choose")
@takes(ChooseOptions, LabelledOptions, ModelOptions, PhotoOptions)
def choose(
    *, choose: ChooseOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions
) -> int:
    """Try words and templates on half of some labelled photographs, test the best on the other.

    Example: clipcli prompts choose labelled/ --rewordings words.txt -o labels.txt
    """
    from clipcli.cli.work import prompts as work

    return work.choose(choose, data, model, photo)
