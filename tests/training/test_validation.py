"""What is measured on held-out pairs, against the same written out, and how a share is held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import save, soft
from torch.nn import functional as F

from clipcli.errors import ExitCode, NothingReadError, StoppedError, UsageError
from clipcli.models.tokenizer import clip_tokenizer
from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    ResNetConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.photos.decode import DecodeOptions, decode
from clipcli.photos.preprocess import PreprocessConfig, normalise
from clipcli.records import Failure
from clipcli.training.distributed import Processes
from clipcli.training.loop import train
from clipcli.training.loss import contrastive_loss
from clipcli.training.pairs import Pair, hold_out
from clipcli.training.precision import Precision
from clipcli.training.run import Files, Run
from clipcli.training.start import Start, prepare
from clipcli.training.state import Settings
from clipcli.training.validation import HeldOut

TRANSFORMER = TransformerConfig(64, 2, 1, 128)
TEXT = TextConfig(16, 49_408, TRANSFORMER)
VIT = ClipConfig(32, VisionTransformerConfig(32, 8, TRANSFORMER), TEXT)
RESNET = ClipConfig(32, ResNetConfig(32, (1, 1, 1, 1), 8, 4), TEXT)
CONFIG = PreprocessConfig(32)
FP32 = Precision("fp32", torch.device("cpu"))
TEXTS = [("a cat",), ("a dog", "a small dog"), ("a cat",), ("an owl",), ("a fox", "red", "a cat")]


def seeded(config: ClipConfig) -> CLIP:
    torch.manual_seed(0)
    return CLIP(config).initialize_parameters()


def pairs_in(folder: Path) -> list[Pair]:
    return [
        Pair(str(save(folder / f"{n}.png", soft(60, 40, n))), texts)
        for n, texts in enumerate(TEXTS)
    ]


def run_of(
    folder: Path,
    held: list[Pair],
    *,
    pairs: Sequence[Pair] = (),
    batch_size: int = 8,
    micro_batch: int = 8,
) -> Run:
    settings = Settings(
        init="vit",
        data="",
        epochs=2,
        batch_size=batch_size,
        micro_batch=micro_batch,
        lr=1e-3,
        weight_decay=0.2,
        warmup=None,
        seed=0,
        freeze=None,
        flip=False,
        truncate=False,
        precision="fp32",
        processes=1,
        validate="0.5",
    )
    start = Start(seeded(VIT), CONFIG, True)
    files = Files.of(str(folder))
    return Run(start, list(pairs), settings, FP32, files, Processes(), 2, held_out=held)


def held_out(
    pairs: list[Pair], failures: list[Failure], batch_size: int = 8, micro_batch: int = 8
) -> HeldOut:
    run = run_of(Path(), pairs, batch_size=batch_size, micro_batch=micro_batch)
    return HeldOut(run, failures.append)


def embeddings(model: CLIP, pairs: list[Pair], texts: list[str]) -> tuple[torch.Tensor, ...]:
    squares = [decode(pair.path, CONFIG, DecodeOptions()).pixels for pair in pairs]
    rows = clip_tokenizer().rows(texts, 16, False)
    tokens = torch.zeros(len(texts), 16, dtype=torch.int64)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = torch.tensor(row)
    with torch.no_grad():
        images = model.encode_image(normalise(torch.from_numpy(np.stack(squares)), CONFIG))
        return F.normalize(images, dim=-1), F.normalize(model.encode_text(tokens), dim=-1)


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_loss_and_recall_are_those_written_out(tmp_path: Path, micro_batch: int) -> None:
    pairs, model = pairs_in(tmp_path), seeded(VIT)
    found = held_out(pairs, [], micro_batch=micro_batch).measure(model)
    images, texts = embeddings(model, pairs, [pair.captions[0] for pair in pairs])
    loss = contrastive_loss(
        images, texts, model.logit_scale.detach(), torch.tensor([0, 1, 0, 3, 4])
    )
    assert found[0] == pytest.approx(float(loss), abs=1e-5)
    every = sorted({text for pair in pairs for text in pair.captions})
    images, texts = embeddings(model, pairs, every)
    nearest = [every[at] for at in (images @ texts.t()).argmax(dim=1).tolist()]
    right = [text in pair.captions for text, pair in zip(nearest, pairs, strict=True)]
    assert found[1] == sum(right) / len(pairs)


def test_every_photograph_is_in_one_of_the_batches(tmp_path: Path) -> None:
    """Five pairs in batches of two or three: as in one batch each, but for what is compared."""
    pairs, model = pairs_in(tmp_path), seeded(VIT)
    found, _ = held_out(pairs, [], batch_size=2).measure(model)
    order = np.random.default_rng(0).permutation(5)
    losses = [
        len(part) * held_out_loss(model, [pairs[n] for n in part])
        for part in (order[:3], order[3:])
    ]
    assert found == pytest.approx(sum(losses) / 5, abs=1e-5)


def held_out_loss(model: CLIP, pairs: list[Pair]) -> float:
    return held_out(pairs, []).measure(model)[0]


def test_a_model_in_training_is_left_as_it_was(tmp_path: Path) -> None:
    model = prepare(seeded(RESNET), "image", torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.transformer.train()
    some = held_out(pairs_in(tmp_path), [])
    assert some.measure(model) == some.measure(model)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert model.transformer.training
    assert not any(module.training for module in model.visual.modules())


def test_what_cannot_be_read_is_left_out_and_named_once(tmp_path: Path) -> None:
    failures: list[Failure] = []
    pairs, model = pairs_in(tmp_path), seeded(VIT)
    some = held_out(pairs, failures)
    Path(pairs[3].path).write_bytes(b"no picture")
    assert some.measure(model) == some.measure(model)
    assert [failure.path for failure in failures] == [pairs[3].path]
    for pair in pairs:
        Path(pair.path).write_bytes(b"no picture")
    with pytest.raises(NothingReadError, match="not one photograph of --validate can be read"):
        some.measure(model)


def test_a_share_is_held_out_by_the_seed() -> None:
    pairs = [Pair(f"{n}.jpg", ("a cat",)) for n in range(50)]
    trained, held = hold_out(pairs, 0.1, seed=0)
    assert (len(trained), len(held)) == (45, 5)
    assert sorted(trained + held, key=pairs.index) == pairs
    assert trained == sorted(trained, key=pairs.index)
    assert hold_out(pairs, 0.1, seed=0) == (trained, held)
    assert hold_out(pairs, 0.1, seed=1)[1] != held
    for share, n_held in ((0.01, 0), (0.99, 50)):
        with pytest.raises(UsageError, match=f"--validate {share}: {n_held} of 50 photographs"):
            hold_out(pairs, share, seed=0)


def test_a_run_stopped_while_it_validates_keeps_the_epoch_and_measures_it_later(
    tmp_path: Path,
) -> None:
    pairs = [Pair(str(save(tmp_path / f"t{n}.png", soft(40, 40, n))), (f"{n}",)) for n in range(9)]
    held = pairs_in(tmp_path)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    steps = list(train(run_of(whole, held, pairs=pairs, batch_size=4)))
    good = Path(held[0].path).read_bytes()

    def damage(validations: object) -> None:
        Path(held[0].path).write_bytes(b"no picture")

    def stop(failure: Failure) -> None:
        raise StoppedError("interrupted", ExitCode.INTERRUPTED)

    run = run_of(parts, held, pairs=pairs, batch_size=4)
    with pytest.raises(StoppedError):
        list(train(run, on_validation=damage, on_failure=stop))
    assert run.files.state.exists()
    assert not run.files.best.exists()
    Path(held[0].path).write_bytes(good)
    rest = list(train(run_of(parts, held, pairs=pairs, batch_size=4), resume=True))
    assert [step.step for step in rest] == [step.step for step in steps[2:]] == [3, 4]
    for name in ("model.safetensors", "best.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
