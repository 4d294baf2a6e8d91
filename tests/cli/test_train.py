"""`clipcli train` from its command line to its files: real runs of a small model."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import save, save_truncated_jpeg, soft
from PIL import Image
from program import Result, command, run, run_joined, started
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from clipcli.models.checkpoint import checkpoint
from clipcli.models.checkpoint.shapes import deduce
from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    ResNetConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.training.architectures import PUBLISHED, SMALL

Cli = Callable[..., Result]
TRANSFORMER = TransformerConfig(64, 2, 1, 128)
TEXT = TextConfig(16, 49_408, TRANSFORMER)
RESNET = ClipConfig(32, ResNetConfig(32, (1, 1, 1, 1), 8, 4), TEXT)
VIT = ClipConfig(32, VisionTransformerConfig(32, 8, TRANSFORMER), TEXT)
N_EACH = 6


def save_new(config: ClipConfig, path: Path) -> Path:
    torch.manual_seed(0)
    save_file(CLIP(config).initialize_parameters().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels that a colour tells apart, six pictures each."""
    top = tmp_path_factory.mktemp("colours")
    for label, shift in (("red", (90, 0, 0)), ("green", (0, 90, 0)), ("dark_blue", (0, 0, 90))):
        (top / label).mkdir()
        for number in range(N_EACH):
            pixels = np.asarray(soft(60, 50, number), dtype=np.int64) // 2 + shift
            save(top / label / f"{number}.png", Image.fromarray(pixels.astype(np.uint8)))
    return top


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Options of a short run of a small modified ResNet."""
    path = save_new(RESNET, tmp_path_factory.mktemp("resnet") / "resnet.safetensors")
    return ("--init", path, "--batch-size", 6, "--epochs", 2, "--lr", 1e-3, "--precision", "fp32")


@pytest.fixture(scope="module")
def uninterrupted(
    colours: Path, small_run: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("run")
    result = run("train", colours, "-o", folder, *small_run)
    assert result.code == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small vision transformer, which no batch norm makes harder to compare."""
    return save_new(VIT, tmp_path_factory.mktemp("vit") / "vit.safetensors")


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_epoch(
    cli: Cli, colours: Path, vit: Path, tmp_path: Path
) -> None:
    options = ("--init", vit, "--batch-size", 18, "--epochs", 4, "--weight-decay", 1e25)
    result = cli("train", colours, "-o", tmp_path / "run", *options, "--precision", "fp32")
    assert result.code == 1
    model = tmp_path / "run" / "model.safetensors"
    assert result.last_line == (
        f"clipcli: step 2 of 4: a loss of nan; expected a finite one; {model} is as it was last"
        " saved; begin anew with a lower --lr than 1e-05"
    )
    assert checkpoint.load(model)
    assert [row["step"] for row in log(model.parent)] == ["1"]


def test_weights_that_are_no_numbers_are_not_saved(
    cli: Cli, colours: Path, vit: Path, tmp_path: Path
) -> None:
    """The last update makes them so, after a loss that was still a number."""
    options = ("--init", vit, "--batch-size", 18, "--epochs", 1, "--warmup", 0, "--lr", 1e40)
    result = cli("train", colours, "-o", tmp_path / "run", *options, "--precision", "fp32")
    assert result.code == 1
    assert "step 1 of 1: weights that are NaN or infinite; " in result.last_line
    assert "nothing was saved" in result.last_line
    assert not list((tmp_path / "run").iterdir())


def test_a_state_with_a_number_that_is_none_is_not_gone_on_from(
    cli: Cli, uninterrupted: Path, colours: Path, small_run: tuple[object, ...], tmp_path: Path
) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    path = tmp_path / "run" / "state.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    for name in ("model.visual.bn1.running_var", "optimizer.exp_avg.visual.conv1.weight"):
        changed = tensors[name].clone()
        changed.view(-1)[0] = torch.nan
        save_file(tensors | {name: changed}, path, metadata)
        result = cli("train", colours, "-o", path.parent, *small_run, "--resume")
        assert result.code == 1
        assert f"{path}: {name}: 1 of" in result.last_line


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_speed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: row[name] for name in row if name != "images_per_s"} for row in rows]


def test_a_run_leaves_a_model_a_log_a_picture_and_its_state(uninterrupted: Path) -> None:
    assert sorted(path.name for path in uninterrupted.iterdir()) == [
        "curves.png",
        "log.csv",
        "model.safetensors",
        "state.safetensors",
    ]
    rows = log(uninterrupted)
    assert list(rows[0]) == [
        "step",
        "epoch",
        "loss",
        "learning_rate",
        "logit_scale",
        "images_per_s",
    ]
    assert [(row["step"], row["epoch"]) for row in rows] == [
        (str(step), str(1 + (step - 1) // 3)) for step in range(1, 7)
    ]
    with Image.open(uninterrupted / "curves.png") as picture:
        assert picture.size == (1000, 600)


def test_the_model_has_openais_names_and_labels_photographs(
    cli: Cli, uninterrupted: Path, colours: Path
) -> None:
    tensors = load_file(uninterrupted / "model.safetensors")
    assert deduce(tensors) == RESNET
    assert {"visual.attnpool.q_proj.weight", "text_projection", "logit_scale"} <= tensors.keys()
    result = cli("classify", colours, "--labels", "red,green", "--model", uninterrupted, "--quiet")
    assert result.code == 0
    assert len(result.rows) == 3 * N_EACH


def test_the_same_seed_gives_the_same_model_and_another_seed_another(
    cli: Cli, uninterrupted: Path, colours: Path, small_run: tuple[object, ...], tmp_path: Path
) -> None:
    for folder, seed in (("same", 0), ("other", 1)):
        arguments = ("-o", tmp_path / folder, *small_run, "--seed", seed, "--workers", 1)
        assert cli("train", colours, *arguments, "--keep-mb", 0).code == 0
    model = (uninterrupted / "model.safetensors").read_bytes()
    assert (tmp_path / "same/model.safetensors").read_bytes() == model
    assert (tmp_path / "other/model.safetensors").read_bytes() != model


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    cli: Cli, uninterrupted: Path, colours: Path, small_run: tuple[object, ...], tmp_path: Path
) -> None:
    """Stopped after each step, within epochs and between them."""
    folder = tmp_path / "run"
    arguments = ("train", colours, "-o", folder, *small_run, "--max-minutes", 0)
    stopped = cli(*arguments)
    assert stopped.code == 0
    assert "1 of 6 steps" in stopped.last_line
    assert stopped.last_line.endswith("--resume goes on from here")
    for _ in range(4):
        assert cli(*arguments, "--resume").code == 0
    assert [row["step"] for row in log(folder)] == ["1", "2", "3", "4", "5"]
    finished = cli(*arguments, "--resume")
    assert "--resume" not in finished.last_line
    models = [(each / "model.safetensors").read_bytes() for each in (folder, uninterrupted)]
    assert models[0] == models[1]
    assert without_speed(log(folder)) == without_speed(log(uninterrupted))
    states = [load_file(each / "state.safetensors") for each in (folder, uninterrupted)]
    assert states[0].keys() == states[1].keys()
    for name in states[0].keys() - {"history"}:
        assert torch.equal(states[0][name], states[1][name]), name
    assert "nothing to do" in cli(*arguments, "--resume").last_line


def test_a_vision_transformer_is_resumed_bit_for_bit_in_bf16(
    cli: Cli, colours: Path, vit: Path, tmp_path: Path
) -> None:
    options = ("--init", vit, "--batch-size", 9, "--micro-batch", 4)
    options = (*options, "--epochs", 2, "--precision", "bf16", "--lr", 1e-3, "--flip")
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    assert cli("train", colours, "-o", whole, *options).code == 0
    assert cli("train", colours, "-o", parts, *options, "--max-minutes", 0).code == 0
    assert cli("train", colours, "-o", parts, *options, "--resume").code == 0
    assert whole.read_bytes() == parts.read_bytes()
    assert (tmp_path / "whole.csv").exists()
    assert (tmp_path / "whole.png").exists()
    assert (tmp_path / "whole.state.safetensors").exists()


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_frozen_tower_stays_as_it_was(
    cli: Cli, colours: Path, vit: Path, tmp_path: Path, tower: str
) -> None:
    options = ("--init", vit, "--batch-size", 9, "--epochs", 1, "--lr", 1e-3)
    path = tmp_path / "model.safetensors"
    assert cli("train", colours, "-o", path, *options, "--freeze", tower).code == 0
    before, after = (checkpoint.read(one).tensors for one in (vit, path))
    same = {name for name in after if torch.equal(after[name], before[name])}
    is_image = {name: name.startswith("visual.") for name in after}
    assert same == {n for n in after if n != "logit_scale" and is_image[n] == (tower == "image")}


def test_a_frozen_resnet_keeps_its_running_statistics(
    cli: Cli, uninterrupted: Path, colours: Path, tmp_path: Path
) -> None:
    arguments = ("--init", uninterrupted, "--batch-size", 6, "--epochs", 1, "--freeze", "image")
    assert cli("train", colours, "-o", tmp_path / "run", *arguments).code == 0
    before, after = (
        load_file(folder / "model.safetensors") for folder in (uninterrupted, tmp_path / "run")
    )
    assert all(torch.equal(after[name], before[name]) for name in after if "visual" in name)
    assert not torch.equal(after["text_projection"], before["text_projection"])


def test_training_learns(
    cli: Cli, colours: Path, small_run: tuple[object, ...], tmp_path: Path
) -> None:
    path = tmp_path / "colours.safetensors"
    options = (*small_run, "--epochs", 20, "--lr", 3e-3, "--template", "a {} picture")
    assert cli("train", colours, "-o", path, *options).code == 0
    with (tmp_path / "colours.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert np.mean(losses[-3:]) < 0.3 * np.mean(losses[:3])
    words = ("--labels", "red,green,dark blue", "--template", "a {} picture")
    result = cli("classify", colours, *words, "--model", path, "--quiet", "--reference")
    right = [row["label"] == Path(row["path"]).parent.name.replace("_", " ") for row in result.rows]
    assert sum(right) >= 15


def test_a_size_by_name_begins_from_scratch(cli: Cli, colours: Path, tmp_path: Path) -> None:
    options = ("--init", "tiny", "--epochs", 1, "--batch-size", 18)
    assert cli("train", colours, "-o", tmp_path / "run", *options).code == 0
    assert checkpoint.load(tmp_path / "run").network.config == SMALL["tiny"]


def test_the_logit_scale_never_exceeds_a_hundred(
    cli: Cli, colours: Path, vit: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    options = ("--init", vit, "--epochs", 3, "--batch-size", 18, "--lr", 1.0)
    assert cli("train", colours, "-o", path, *options, "--warmup", 0).code == 0
    assert float(load_file(path)["logit_scale"].exp()) <= 100.0001


def test_missing_and_damaged_photographs_are_named_and_the_rest_is_trained_on(
    cli: Cli, colours: Path, vit: Path, tmp_path: Path
) -> None:
    photos = sorted(colours.glob("red/*.png")) + sorted(colours.glob("green/*.png"))
    save_truncated_jpeg(tmp_path / "broken.jpg")
    rows = [f"{photo},a {photo.parent.name} one" for photo in photos]
    rows += ["broken.jpg,half of one", "gone.jpg,none"]
    (tmp_path / "pairs.csv").write_text("path,caption\n" + "\n".join(rows) + "\n")
    options = ("--init", vit, "--epochs", 2, "--batch-size", 13)
    result = cli("train", tmp_path / "pairs.csv", "-o", tmp_path / "run", *options)
    assert result.code == 3
    lines = result.stderr.splitlines()
    assert lines[0].startswith("clipcli: gone.jpg: no such file: neither beside pairs.csv nor")
    assert lines[1].startswith(f"clipcli: {tmp_path}/broken.jpg: damaged picture: ")
    assert len(lines) == 3
    assert (tmp_path / "run/model.safetensors").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--seed", 3), "the run began with --seed 0, now it is 3; give the options"),
        (("--lr", 0.5), "the run began with --lr 0.001, now it is 0.5; give the options"),
        (("--template", "a {}"), "DATA is not what it was when the run began; begin anew"),
    ],
)
def test_a_run_goes_on_only_with_what_it_began_with(
    cli: Cli,
    uninterrupted: Path,
    colours: Path,
    small_run: tuple[object, ...],
    changed: tuple[object, ...],
    message: str,
) -> None:
    result = cli("train", colours, "-o", uninterrupted, *small_run, *changed, "--resume")
    assert result.code == 2
    assert message in result.last_line


def test_a_run_is_never_overwritten_by_another(
    cli: Cli, uninterrupted: Path, colours: Path, small_run: tuple[object, ...]
) -> None:
    before = (uninterrupted / "state.safetensors").stat().st_mtime_ns
    result = cli("train", colours, "-o", uninterrupted, *small_run)
    assert result.code == 2
    assert "a run is here already; pass --resume to go on with it" in result.last_line
    assert (uninterrupted / "state.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--init", "lite"), 2, "--init lite: its image tower is folded for use and cannot be"),
        (("--init", "new:big"), 2, "--init new:big: no such size; expected one of tiny,"),
        (("--init", "no-such"), 1, "--init no-such: no such size, file or published model"),
        (("--init", "tinny"), 1, "or one of RN50, RN101"),
        (("--init", "tinny"), 1, "; did you mean tiny"),
        (("--init", "tiny", "--resume"), 2, "state.safetensors is not there; leave --resume out"),
        (("--init", "tiny", "--precision", "fp16"), 2, "--precision fp16 on cpu: expected fp32"),
        (("--init", "tiny", "--template", "dog"), 2, "template 'dog' has no {} for the label"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    cli: Cli, colours: Path, tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    result = cli("train", colours, "-o", tmp_path / "run", "--device", "cpu", *options)
    assert (result.code, len(result.stderr.splitlines())) == (code, 1)
    assert message in result.stderr
    assert not (tmp_path / "run/model.safetensors").exists()


def test_a_damaged_state_is_refused(
    cli: Cli, uninterrupted: Path, colours: Path, small_run: tuple[object, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    arguments = ("train", colours, "-o", folder, *small_run, "--resume")
    (folder / "state.safetensors").write_bytes(b"\xff" * 100)
    assert cli(*arguments).code == 1
    shutil.copy(uninterrupted / "model.safetensors", folder / "state.safetensors")
    result = cli(*arguments)
    assert result.code == 1
    assert result.last_line.endswith("expected a run of clipcli train")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_the_last_epoch_whole_and_goes_on_from_it(
    cli: Cli,
    colours: Path,
    small_run: tuple[object, ...],
    tmp_path: Path,
    sent: signal.Signals,
    code: int,
) -> None:
    folder = tmp_path / "run"
    options = (*small_run, "--epochs", 100_000)
    with started(command("train", colours, "-o", folder, *options)) as process:
        while not (folder / "state.safetensors").exists():
            assert process.poll() is None, "it ended before it was interrupted"
            time.sleep(0.05)
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert stderr.splitlines()[-1].endswith(
        f"the last whole epoch is in {folder}/model.safetensors; --resume goes on from it"
    )
    assert "Traceback" not in stderr
    n_done = len(load_file(folder / "state.safetensors")["history"])
    assert n_done % 3 == 0
    checkpoint.load(folder)
    resumed = cli("train", colours, "-o", folder, *options, "--resume", "--max-minutes", 0)
    assert resumed.code == 0
    assert len(log(folder)) == n_done + 1


def run_under_torchrun(clipcli: list[str]) -> list[Result]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node", "2", *clipcli[1:]],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    return [Result(done.returncode, done.stdout, done.stderr.decode())]


@pytest.mark.parametrize(
    ("run_two", "more"),
    [(run_under_torchrun, ()), (run_joined, ("--micro-batch", 2, "--validate", 0.4))],
    ids=["under torchrun", "in micro-batches, validated"],
)
def test_two_processes_train_the_same_model(
    cli: Cli,
    colours: Path,
    vit: Path,
    tmp_path: Path,
    run_two: Callable[[list[str]], list[Result]],
    more: tuple[object, ...],
) -> None:
    options = ("--init", vit, "--epochs", 2, "--batch-size", 9, "--lr", 1e-3)
    options = (*options, "--precision", "fp32", "--device", "cpu", *more)
    alone = cli("train", colours, "-o", tmp_path / "one", *options)
    assert alone.code == 0
    results = run_two(command("train", colours, "-o", tmp_path / "two", *options))
    assert not any(result.code for result in results), results
    said = [result.stderr.count("clipcli:") for result in results]
    assert sum(said) == alone.stderr.count("clipcli:")  # one of them talks
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-4, rtol=0, msg=name)
    losses = [
        [
            float(row[name] or "nan")
            for row in log(tmp_path / run)
            for name in row
            if name in ("loss", "validation_loss")
        ]
        for run in ("one", "two")
    ]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)  # nan where both have none


def test_gelu_is_written_down_for_who_opens_the_model(
    cli: Cli, colours: Path, vit: Path, tmp_path: Path
) -> None:
    options = ("--init", vit, "--activation", "gelu", "--batch-size", 18)
    assert cli("train", colours, "-o", tmp_path / "run", *options, "--epochs", 1).code == 0
    model = checkpoint.load(tmp_path / "run").network
    assert model.config.text.transformer.activation == "gelu"


@pytest.mark.parametrize("config", [*PUBLISHED.values(), *SMALL.values()])
def test_every_architecture_is_told_by_its_shapes(config: ClipConfig) -> None:
    with torch.device("meta"):
        model = CLIP(config)
    assert deduce(model.state_dict()) == config
