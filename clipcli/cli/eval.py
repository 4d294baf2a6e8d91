"""`clipcli eval`: labelled photographs to how often a model is right about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from clipcli.cli.help import MEASURING, OUTPUT, in_panel, one_of, output_file
from clipcli.cli.options.shared import (
    Calibration,
    LabelledOptions,
    ModelOptions,
    PhotoOptions,
    Probe,
    Template,
    Templates,
)
from clipcli.cli.options.takes import takes

EvalFormat = Literal["table", "csv", "latex", "json"]


@dataclass(frozen=True)
class EvalOptions:
    """What is measured and compared, and where the figures go."""

    template: Template = None
    templates: Templates = None
    calibration: Calibration = None
    probe: Probe = None
    compare: Annotated[
        list[str] | None,
        in_panel(
            MEASURING,
            metavar="NAME|FILE|TEXT",
            help="Another model, or other templates: a set's name, a .txt file, or"
            ' "a photo of a {}.|a drawing of a {}."; repeatable: one table of every model with'
            " every set.",
        ),
    ] = None
    report: Annotated[
        str | None,
        in_panel(
            OUTPUT, metavar="FILE", help="Write a page (.html) with pictures of the mistakes."
        ),
    ] = None
    predictions: Annotated[
        str | None,
        in_panel(
            OUTPUT, metavar="FILE", help="Write each photograph's answer here, .csv or .jsonl."
        ),
    ] = None
    output: Annotated[
        str | None,
        output_file("Write the figures here too: .json, .csv or .tex."),
    ] = None
    format: Annotated[
        EvalFormat | None,
        in_panel(
            OUTPUT,
            metavar=one_of(EvalFormat),
            help="Of --output; without one, of what is printed.",
            show_default="table, or --output's suffix",
        ),
    ] = None


@takes(EvalOptions, LabelledOptions, PhotoOptions, ModelOptions)
def evaluate(
    *, eval: EvalOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions
) -> int:
    """Measure how often labels are right, where you know them.

    Example: clipcli eval labelled/ --report mistakes.html
    Example: clipcli eval labelled/ --compare ViT-B/16 --compare imagenet80
    """
    from clipcli.cli.work import evaluate as work

    return work.evaluate(eval, data, model, photo)
