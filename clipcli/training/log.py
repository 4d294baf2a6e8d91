"""What a run has been through: a CSV, and a picture of its curves."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING

import numpy as np

from clipcli.files.part_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = {  # fields of `Step` by the names of their axes
    "loss": "loss",
    "learning_rate": "learning rate",
    "logit_scale": "logit scale",
    "images_per_s": "images/s",
}
VALIDATED = ("validation_loss", "validation_recall_at_1")  # columns of the log
N_STEPS_TIMED = 50  # one alone waits for the first photographs, or until an epoch is saved
PLOT_ADVICE = 'install it with: pip install "clipcli[plot]"'


@dataclass(frozen=True)
class Step:
    """One update. step and epoch count from 1; loss as `contrastive_loss` gives it, before the
    update; logit_scale: what cosines are multiplied with, after it."""

    step: int
    epoch: int
    loss: float
    learning_rate: float
    logit_scale: float
    images_per_s: float


@dataclass(frozen=True)
class Validation:
    """After a step and its epoch, 0 before the first: what `validation.HeldOut` measures."""

    step: int
    epoch: int
    loss: float
    recall_at_1: float


def best(validations: Sequence[Validation]) -> Validation | None:
    """The first of lowest loss after an epoch, where there is one."""
    trained = [one for one in validations if one.step > 0]
    return min(trained, key=lambda one: one.loss) if trained else None


def can_draw() -> bool:
    return find_spec("matplotlib") is not None


def write_log(path: Path, steps: Sequence[Step], validations: Sequence[Validation] = ()) -> None:
    """One row a step, under the names of `Step`. With validations two columns more, filled where
    there was one, and a step 0 for the one before the first."""
    rows: dict[int, dict[str, object]] = {step.step: asdict(step) for step in steps}
    for one in validations:
        row = rows.setdefault(one.step, {"step": one.step, "epoch": one.epoch})
        row |= dict(zip(VALIDATED, (one.loss, one.recall_at_1), strict=True))
    columns = [field.name for field in fields(Step)] + [*VALIDATED] * bool(validations)
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
        for _, row in sorted(rows.items())
    )
    write_whole(path, text.getvalue().encode())


def speed(steps: Sequence[Step]) -> float:
    """Images/s over all of these steps, one or more."""
    return harmonic_mean([step.images_per_s for step in steps])


def draw_curves(
    path: Path, steps: Sequence[Step], title: str, validations: Sequence[Validation] = ()
) -> None:
    """Loss, learning rate, logit scale and speed over the steps, as a PNG; with validations their
    loss beside the other, and their recall."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_columns = 3 if validations else 2
    figure = Figure(figsize=(5 * n_columns, 6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False)  # there may be a $ in its name
    at = [step.step for step in steps]
    for place, (name, axis) in enumerate(CURVES.items(), start=1):
        axes = figure.add_subplot(2, n_columns, place)
        values = [getattr(step, name) for step in steps]
        if name == "images_per_s":
            values = smoothed_speeds(steps)
            axes.set_ylim(0, 1.1 * max(values))
        axes.plot(at, values, linewidth=1, label="training")
        if name == "loss" and validations:
            _draw_validation_losses(axes, validations)
        _finish(axes, axis)
    if validations:
        axes = figure.add_subplot(2, n_columns, len(CURVES) + 1)
        recalls = [one.recall_at_1 for one in validations]
        axes.plot([one.step for one in validations], recalls, "C1.-", linewidth=1)
        axes.set_ylim(0, 1.05)
        _finish(axes, "validation recall@1")
    png = io.BytesIO()
    with warnings.catch_warnings():
        # of letters that its font lacks; a box is drawn in their place
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(png, format="png", dpi=100)
    write_whole(path, png.getvalue())


def _finish(axes: Axes, name: str) -> None:
    axes.set_xlabel("step")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)


def _draw_validation_losses(axes: Axes, validations: Sequence[Validation]) -> None:
    losses = [one.loss for one in validations]
    axes.plot([one.step for one in validations], losses, "C1.-", linewidth=1, label="validation")
    lowest = best(validations)
    if lowest is not None:
        named = f"best: {lowest.loss:.4f}, epoch {lowest.epoch}"
        axes.plot(lowest.step, lowest.loss, "C1o", label=named)
    axes.legend()


def smoothed_speeds(steps: Sequence[Step]) -> list[float]:
    """Images/s up to each step, over whole epochs, so that saving at their ends leaves no teeth."""
    n_in_epoch = max(Counter(step.epoch for step in steps).values())
    n_timed = n_in_epoch * math.ceil(N_STEPS_TIMED / n_in_epoch)
    took = np.cumsum([0.0, *(1 / step.images_per_s for step in steps)])
    ends = np.arange(1, len(took))
    starts = np.maximum(ends - n_timed, 0)
    speeds: list[float] = ((ends - starts) / (took[ends] - took[starts])).tolist()
    return speeds
