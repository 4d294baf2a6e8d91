"""`clipcli train --validate`, and runs that are given more epochs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import save, soft
from PIL import Image
from program import Result, run
from safetensors.torch import load_file, save_file

from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)

Cli = Callable[..., Result]
TRANSFORMER = TransformerConfig(64, 2, 1, 128)
VIT = ClipConfig(
    32, VisionTransformerConfig(32, 8, TRANSFORMER), TextConfig(16, 49_408, TRANSFORMER)
)
N_EACH = 6


def save_colours(top: Path, first: int) -> Path:
    """Three labels that a colour tells apart, six pictures each."""
    for label, shift in (("red", (90, 0, 0)), ("green", (0, 90, 0)), ("blue", (0, 0, 90))):
        (top / label).mkdir(parents=True)
        for number in range(first, first + N_EACH):
            pixels = np.asarray(soft(60, 50, number), dtype=np.int64) // 2 + shift
            save(top / label / f"{number}.png", Image.fromarray(pixels.astype(np.uint8)))
    return top


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs to train on, and in `held` others to validate on."""
    top = tmp_path_factory.mktemp("photos")
    save_colours(top / "trained", 0)
    save_colours(top / "held", N_EACH)
    return top


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """A small vision transformer, three steps an epoch."""
    path = tmp_path_factory.mktemp("vit") / "vit.safetensors"
    torch.manual_seed(0)
    save_file(CLIP(VIT).initialize_parameters().state_dict(), path)
    return ("--init", path, "--batch-size", 6, "--lr", 1e-3, "--precision", "fp32", "--warmup", 1)


@pytest.fixture(scope="module")
def validated(
    photos: Path, options: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """A run of four epochs that nobody stopped, and what it said."""
    folder = tmp_path_factory.mktemp("run")
    held = ("--validate", photos / "held")
    result = run("train", photos / "trained", "-o", folder, *options, "--epochs", 4, *held)
    assert result.code == 0, result.stderr
    return folder, result


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_speed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: row[name] for name in row if name != "images_per_s"} for row in rows]


def test_every_epoch_is_measured_and_the_best_model_kept(
    cli: Cli, validated: tuple[Path, Result], photos: Path
) -> None:
    folder, result = validated
    rows = [row for row in log(folder) if row["validation_loss"]]
    assert [(row["step"], row["epoch"]) for row in rows] == [
        ("0", "0"), ("3", "1"), ("6", "2"), ("9", "3"), ("12", "4"),
    ]  # fmt: skip
    assert len(log(folder)) == 13
    losses = {row["epoch"]: float(row["validation_loss"]) for row in rows}
    assert losses["4"] < losses["0"]
    best = min(list(losses)[1:], key=losses.__getitem__)
    lines = result.stderr.splitlines()
    assert lines[0] == "clipcli: held out: 18 photographs, 3 captions to choose from"
    assert lines[1].startswith(f"clipcli: before training: validation loss {losses['0']:.4f}, ")
    assert lines[2].startswith(f"clipcli: epoch 1 of 4: validation loss {losses['1']:.4f}, ")
    assert lines[-2] == (
        f"clipcli: {folder}/best.safetensors: epoch {best}, the best of 4: validation loss"
        f" {losses[best]:.4f} (before training {losses['0']:.4f})"
    )
    with Image.open(folder / "curves.png") as picture:
        assert picture.size == (1500, 600)
    # recall among labels is what `clipcli eval` calls top-1
    model = ("--model", folder / "best.safetensors", "--precision", "fp32")
    report = cli("eval", photos / "held", *model, "--format", "json", "--quiet")
    right = json.loads(report.stdout)["top1"]
    recall = next(row for row in rows if row["epoch"] == best)["validation_recall_at_1"]
    assert float(recall) == pytest.approx(right, abs=1e-5)


def test_validation_changes_nothing_of_what_is_learnt(
    cli: Cli,
    validated: tuple[Path, Result],
    photos: Path,
    options: tuple[object, ...],
    tmp_path: Path,
) -> None:
    arguments = ("train", photos / "trained", "-o", tmp_path / "run", *options, "--epochs", 4)
    assert cli(*arguments).code == 0
    folder, _ = validated
    models = [(each / "model.safetensors").read_bytes() for each in (folder, tmp_path / "run")]
    assert models[0] == models[1]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "curves.png", "log.csv", "model.safetensors", "state.safetensors",
    ]  # fmt: skip


def test_a_share_is_held_out_and_stays_so_when_the_run_goes_on(
    cli: Cli, photos: Path, options: tuple[object, ...], tmp_path: Path
) -> None:
    """Stopped within an epoch and after one."""
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    arguments = ("train", photos / "trained", *options, "--epochs", 2, "--validate", 0.3)
    assert "held out: 5 photographs, 3 captions" in cli(*arguments, "-o", whole).stderr
    stopped = (*arguments, "-o", parts, "--max-minutes", 0)
    assert cli(*stopped).code == 0
    assert cli(*stopped, "--resume").code == 0  # to the end of the first epoch
    assert cli(*arguments, "-o", parts, "--resume").code == 0
    result = cli(*arguments, "-o", parts, "--resume")
    assert "nothing to do" in result.last_line
    assert f"clipcli: {tmp_path}/parts.best.safetensors: epoch " in result.stderr
    for end in ("", ".best"):
        assert (
            whole.with_suffix(f"{end}.safetensors").read_bytes()
            == parts.with_suffix(f"{end}.safetensors").read_bytes()
        )
    tables = [path.with_suffix(".csv").read_text().splitlines() for path in (whole, parts)]
    rows = [without_speed(list(csv.DictReader(table))) for table in tables]
    assert rows[0] == rows[1]


def test_more_epochs_are_a_new_schedule_that_can_be_stopped_too(
    cli: Cli, photos: Path, options: tuple[object, ...], tmp_path: Path
) -> None:
    held = ("--validate", photos / "held")
    begun = ("train", photos / "trained", *options, *held, "--resume", "--epochs", 4)
    folders = (tmp_path / "whole", tmp_path / "parts")
    for folder in folders:
        assert cli(*begun[:-3], "--epochs", 2, "-o", folder).code == 0
    result = cli(*begun, "-o", folders[0])
    assert result.code == 0
    assert (
        "clipcli: --epochs 4: a new schedule after step 6; the learning rate rises to 0.001 by step"
        " 7 and falls to 0 at step 12"
    ) in result.stderr.splitlines()
    rates = [float(row["learning_rate"]) for row in log(folders[0])[1:]]
    assert rates[:6] == rates[6:]
    assert cli(*begun, "-o", folders[1], "--max-minutes", 0).code == 0
    rest = cli(*begun, "-o", folders[1])
    assert rest.code == 0
    assert "a new schedule" not in rest.stderr
    assert without_speed(log(folders[0])) == without_speed(log(folders[1]))
    for name in ("model.safetensors", "best.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    states = [load_file(folder / "state.safetensors") for folder in folders]
    for name in states[0].keys() - {"history"}:
        assert torch.equal(states[0][name], states[1][name]), name


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--validate", 0.3), "--validate is not what it was when the run began; give the options"),
        ((), "--validate is not what it was when the run began; give the options"),
        (("--epochs", 3), "the run began with --epochs 4, now it is 3; give the options"),
        (("--epochs", 5, "--lr", 1e-4), "the run began with --lr 0.001, now it is 0.0001; give"),
    ],
)
def test_all_but_more_epochs_must_be_as_it_was(
    cli: Cli,
    validated: tuple[Path, Result],
    photos: Path,
    options: tuple[object, ...],
    changed: tuple[object, ...],
    message: str,
) -> None:
    folder, _ = validated
    held = ("--validate", photos / "held") if "--epochs" in changed else ()
    arguments = ("train", photos / "trained", "-o", folder, *options, "--epochs", 4, *held)
    result = cli(*arguments, *changed, "--resume")
    assert result.code == 2
    assert message in result.last_line


@pytest.mark.parametrize("given", ["1", "0", "nan", "-0.1", "10%", "no-such.csv"])
def test_what_is_neither_pairs_nor_a_share_is_refused(
    cli: Cli, photos: Path, tmp_path: Path, given: str
) -> None:
    arguments = ("train", photos / "trained", "-o", tmp_path / "run", "--init", "tiny")
    result = cli(*arguments, f"--validate={given}")
    assert result.code == 2
    assert result.stderr == (
        f"clipcli: --validate {given}: no such file or folder; expected held-out pairs as in DATA,"
        " or a share of it, such as 0.1\n"
    )


def test_photographs_that_are_trained_on_too_are_counted(
    cli: Cli, photos: Path, options: tuple[object, ...], tmp_path: Path
) -> None:
    table = tmp_path / "held.csv"
    table.write_text(
        f"path,caption\n{photos}/trained/red/0.png,red\n{photos}/held/red/6.png,red\n"
        "gone.png,green\n"
    )
    arguments = ("train", photos / "trained", "-o", tmp_path / "run", *options, "--epochs", 1)
    result = cli(*arguments, "--validate", table, "--quiet")
    assert result.code == 3
    lines = result.stderr.splitlines()
    assert lines[0].startswith("clipcli: gone.png: no such file")
    assert lines[1] == (
        "clipcli: --validate: 1 of its 2 photographs are trained on too; what is known by heart"
        " counts as right"
    )
    assert len(lines) == 2
