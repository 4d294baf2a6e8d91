"""`clipcli calibrate`: labelled photographs to the thresholds that `classify` judges by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from clipcli.cli.help import LEARNING, in_panel, output_file
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


@dataclass(frozen=True)
class CalibrateOptions:
    """What is calibrated with, and where the calibration goes."""

    output: Annotated[str, output_file("The calibration, as JSON.")]
    pairs: Annotated[
        int,
        in_panel(
            LEARNING,
            min=0,
            metavar="N",
            help="Look at each photograph beside about N others too, to learn of photographs that"
            " show several labels; 0 where each shows one.",
        ),
    ] = 6
    leave_out_rare: LeaveOutRare = False
    format: TableFormatOption = "table"
    template: Template = None
    templates: Templates = None


@takes(CalibrateOptions, LabelledOptions, PhotoOptions, ModelOptions)
def calibrate(
    *, calibrate: CalibrateOptions, data: LabelledOptions, model: ModelOptions, photo: PhotoOptions
) -> int:
    """Learn from labelled photographs when a label is there.

    Prints each label's threshold, and how often it is wrong on photographs held out of the fit.

    Example: clipcli calibrate labelled/ -o pets.json
    Example: clipcli calibrate truth.csv -o pets.json --pairs 0
    """
    from clipcli.cli.work import calibrate as work

    return work.calibrate(calibrate, data, model, photo)
