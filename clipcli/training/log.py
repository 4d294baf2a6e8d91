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

import numpy as np

from clipcli.files.part_file import write_whole

CURVES = {  # fields of `Step` by the names of their axes
    "loss": "loss",
    "learning_rate": "learning rate",
    "logit_scale": "logit scale",
    "images_per_s": "images/s",
}
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


def can_draw() -> bool:
    return find_spec("matplotlib") is not None


def write_log(path: Path, steps: Sequence[Step]) -> None:
    """One row a step, under the names of `Step`."""
    text = io.StringIO()
    rows = csv.DictWriter(text, [field.name for field in fields(Step)], lineterminator="\n")
    rows.writeheader()
    rows.writerows(
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
        for row in map(asdict, steps)
    )
    write_whole(path, text.getvalue().encode())


def speed(steps: Sequence[Step]) -> float:
    """Images/s over all of these steps, one or more."""
    return harmonic_mean([step.images_per_s for step in steps])


def draw_curves(path: Path, steps: Sequence[Step], title: str) -> None:
    """Loss, learning rate, logit scale and speed over the steps, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False)  # there may be a $ in its name
    at = [step.step for step in steps]
    for place, (name, axis) in enumerate(CURVES.items(), start=1):
        axes = figure.add_subplot(2, 2, place)
        values = [getattr(step, name) for step in steps]
        if name == "images_per_s":
            values = smoothed_speeds(steps)
            axes.set_ylim(0, 1.1 * max(values))
        axes.plot(at, values, linewidth=1)
        axes.set_xlabel("step")
        axes.set_ylabel(axis)
        axes.grid(alpha=0.3)
    png = io.BytesIO()
    with warnings.catch_warnings():
        # of letters that its font lacks; a box is drawn in their place
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(png, format="png", dpi=100)
    write_whole(path, png.getvalue())


def smoothed_speeds(steps: Sequence[Step]) -> list[float]:
    """Images/s up to each step, over whole epochs, so that saving at their ends leaves no teeth."""
    n_in_epoch = max(Counter(step.epoch for step in steps).values())
    n_timed = n_in_epoch * math.ceil(N_STEPS_TIMED / n_in_epoch)
    took = np.cumsum([0.0, *(1 / step.images_per_s for step in steps)])
    ends = np.arange(1, len(took))
    starts = np.maximum(ends - n_timed, 0)
    speeds: list[float] = ((ends - starts) / (took[ends] - took[starts])).tolist()
    return speeds
