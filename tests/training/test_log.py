"""The speed that is shown, and the picture of a run's curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipcli.training.log import Step, draw_curves, smoothed_speeds, speed

BATCH_SIZE = 32


def steps_of(seconds: list[float], n_in_epoch: int) -> list[Step]:
    return [
        Step(n + 1, n // n_in_epoch + 1, 3.0 / (n + 1), 1e-3, 14.3, BATCH_SIZE / took)
        for n, took in enumerate(seconds)
    ]


def test_speed_is_that_of_all_the_time() -> None:
    steps = steps_of([0.5, 0.5, 3.0], n_in_epoch=3)
    assert speed(steps) == pytest.approx(3 * BATCH_SIZE / 4.0)


@pytest.mark.parametrize("n_in_epoch", [4, 30, 100])
def test_saving_after_each_epoch_leaves_no_teeth(n_in_epoch: int) -> None:
    epoch = [1.0, *[0.1] * (n_in_epoch - 1)]  # its first step waits until the last one is saved
    steps = steps_of((epoch * 100)[:400], n_in_epoch)
    speeds = smoothed_speeds(steps)
    assert len(speeds) == len(steps)
    assert speeds[200:] == pytest.approx([BATCH_SIZE * n_in_epoch / sum(epoch)] * 200)
    assert max(speeds) < BATCH_SIZE / 0.1


def test_the_picture_bears_its_runs_name_whatever_is_in_it(tmp_path: Path) -> None:
    steps = steps_of([0.1] * 20, n_in_epoch=5)
    titles = {"a": "run/model.safetensors: tiny", "b": "$run{_^: 猫, 20 of 20 steps"}
    for name, title in titles.items():
        draw_curves(tmp_path / f"{name}.png", steps, title)
    a, b = (np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")) for name in titles)
    assert a.shape == b.shape == (600, 1000)
    above = slice(0, 22)  # the first row of curves begins below
    assert a[above].min() < 128
    assert b[above].min() < 128
    assert (a[above] != b[above]).any()
    assert (a[300:] == b[300:]).mean() > 0.9
