"""What a run has been through: a CSV, and a picture of its curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path

from clipcli.files.part_file import write_whole

CURVES = {  # fields of `Step` by their titles
    "loss": "loss",
    "learning_rate": "learning rate",
    "logit_scale": "logit scale",
    "images_per_s": "images/s",
}
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


def draw_curves(path: Path, steps: Sequence[Step]) -> None:
    """Loss, learning rate, logit scale and speed over the steps, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    at = [step.step for step in steps]
    for place, (name, title) in enumerate(CURVES.items(), start=1):
        axes = figure.add_subplot(2, 2, place)
        axes.plot(at, [getattr(step, name) for step in steps], linewidth=1)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    write_whole(path, png.getvalue())
