"""`clipcli probe`: a few labelled photographs to a probe that `classify --probe` reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.cli.help import MEASURING, App, in_panel, output_file
from clipcli.cli.options.shared import (
    LabelledOptions,
    LeaveOutRare,
    ModelOptions,
    PhotoOptions,
    TableFormatOption,
    Template,
    Templates,
)
from clipcli.cli.options.takes import takes
from clipcli.errors import UsageError

probe_app = App(invoke_without_command=True)


@dataclass(frozen=True)
class FitOptions:
    """Where the probe goes, and how it is measured."""

    output: Annotated[
        str | None,
        output_file("Write the probe here."),
    ] = None
    shots: Annotated[
        str | None,
        in_panel(
            MEASURING,
            metavar="1,2,4,8",
            help="Print accuracy when so many photographs of each label are taught.",
        ),
    ] = None
    splits: Annotated[
        int,
        in_panel(MEASURING, min=1, metavar="N", help="With --shots: draw so many times."),
    ] = 20
    seed: Annotated[
        int, in_panel(MEASURING, min=0, metavar="N", help="With --shots: of the draws.")
    ] = 0
    format: TableFormatOption = "table"
    leave_out_rare: LeaveOutRare = False
    template: Template = None
    templates: Templates = None


@probe_app.callback()
def probe(context: typer.Context) -> int:
    """Teach labels with a few photographs of each.

    Example: clipcli probe fit labelled/ -o pets.probe
    Example: clipcli classify photos/ --probe pets.probe
    """
    if context.invoked_subcommand is None:
        raise UsageError("probe: expected clipcli probe fit LABELLED_DIR -o FILE")
    return 0


@probe_app.command("fit")
@takes(FitOptions, LabelledOptions, PhotoOptions, ModelOptions)
def fit(*, fit: FitOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions) -> int:
    """Learn labels from photographs, starting from the labels' words.

    Example: clipcli probe fit labelled/ -o pets.probe
    Example: clipcli probe fit labelled/ --shots 1,2,4,8
    """
    from clipcli.cli.work import probe as work

    return work.fit(fit, data, model, photo)
