"""`clipcli eval`: labelled photographs to how often a model is right about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from clipcli.cli.options import (
    LabelledOptions,
    ModelOptions,
    PhotoOptions,
    Template,
    Templates,
    takes,
)


@dataclass(frozen=True)
class EvalOptions:
    """What is measured and compared, and where the figures go."""

    template: Template = None
    templates: Templates = None
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL|TEMPLATES",
            help="Another model, or other templates: a set's name, a .txt file, or"
            ' "a photo of a {}.|a drawing of a {}."; repeatable, and prints one table of every'
            " model with every set.",
        ),
    ] = None
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE.html", help="Write a page with pictures of the mistakes."),
    ] = None
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write JSON here too.")
    ] = None
    format: Annotated[
        Literal["json"] | None,
        typer.Option(help="Of --output; without one, in place of the tables on stdout."),
    ] = None


@takes(EvalOptions, LabelledOptions, ModelOptions, PhotoOptions)
def evaluate(
    *, eval: EvalOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions
) -> int:
    """Measure how often labels are right, on photographs whose labels you know.

    Example: clipcli eval labelled/ --report mistakes.html
    """
    from clipcli.cli.work import evaluate as work

    return work.evaluate(eval, data, model, photo)
