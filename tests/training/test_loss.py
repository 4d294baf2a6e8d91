"""The loss against its formula, and its gradient through one, several and joined batches."""

from __future__ import annotations

import math
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from places import TESTS
from program import run_joined
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    ResNetConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from clipcli.training.gradient import Batch, backward
from clipcli.training.loss import contrastive_loss

TEXT = TextConfig(8, 100, TransformerConfig(64, 2, 1, 128))
VIT = ClipConfig(32, VisionTransformerConfig(32, 8, TransformerConfig(64, 2, 1, 128)), TEXT)
RESNET = ClipConfig(32, ResNetConfig(32, (1, 1, 1, 1), 8, 4), TEXT)
ROWS = torch.tensor([0, 1, 2, 3, 3, 4, 1, 0])  # eight photographs, five captions


def by_hand(
    images: NDArray[np.float64], texts: NDArray[np.float64], scale: float, captions: list[int]
) -> float:
    """Figure 3 pair by pair, with each target shared among copies of a caption."""
    total = 0.0
    for rows, columns in ((images, texts), (texts, images)):
        for i, row in enumerate(rows):
            cosines = [
                float(row @ column) / math.sqrt(float(row @ row) * float(column @ column))
                for column in columns
            ]
            log_sum = math.log(sum(math.exp(scale * cosine) for cosine in cosines))
            copies = [j for j, caption in enumerate(captions) if caption == captions[i]]
            for j in copies:
                log_q = scale * cosines[j] - log_sum
                total += (math.log(1 / len(copies)) - log_q) / len(copies)
    return total / (2 * len(images))


def pairs(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    return (
        torch.randn(n, d, dtype=torch.float64),
        torch.randn(n, d, dtype=torch.float64),
        torch.tensor(math.log(14.0), dtype=torch.float64),
    )


@pytest.mark.parametrize("captions", [[0, 1, 2, 3, 4, 5], [0, 1, 0, 2, 0, 1]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_equals_the_formula_computed_by_hand(captions: list[int], dtype: torch.dtype) -> None:
    images, texts, scale = pairs(6, 5)
    found = contrastive_loss(
        images.to(dtype), texts.to(dtype), scale.to(dtype), torch.tensor(captions)
    )
    assert float(found) == pytest.approx(
        by_hand(images.numpy(), texts.numpy(), math.exp(float(scale)), captions),
        abs=1e-6,
        rel=1e-6,
    )


def test_loss_without_copies_is_the_published_pseudocode() -> None:
    images, texts, scale = pairs(6, 5)
    logits = F.normalize(images) @ F.normalize(texts).t() * scale.exp()
    labels = torch.arange(6)
    published = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2
    assert float(contrastive_loss(images, texts, scale)) == pytest.approx(
        float(published), abs=1e-12
    )


@pytest.mark.parametrize("captions", [None, [0, 1, 0, 2]])
def test_gradient_of_the_loss_is_right(captions: list[int] | None) -> None:
    inputs = tuple(tensor.requires_grad_() for tensor in pairs(4, 3))
    numbers = None if captions is None else torch.tensor(captions)
    assert torch.autograd.gradcheck(lambda *some: contrastive_loss(*some, numbers), inputs)


def test_photographs_of_one_caption_do_not_repel_its_copies() -> None:
    """Two photographs of one caption that agree have nothing left to learn."""
    same = torch.eye(2, 4)[[0, 0, 1]]
    scale = torch.tensor(math.log(100.0), requires_grad=True)
    images = same.clone().requires_grad_()
    loss = contrastive_loss(images, same, scale, torch.tensor([5, 5, 9]))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(images.grad, torch.zeros(3, 4), atol=1e-6, rtol=0)
    assert contrastive_loss(same, same, scale).item() > 0.4  # as negatives they would repel


def seeded(config: ClipConfig) -> CLIP:
    torch.manual_seed(0)
    return CLIP(config).initialize_parameters().train()


def batch() -> Batch:
    torch.manual_seed(1)
    tokens = torch.randint(1, 98, (5, 6))
    tokens[:, -1] = 99
    return Batch(torch.randn(8, 3, 32, 32), tokens, ROWS, ROWS)


def gradients(model: CLIP, micro_batch: int, some: Batch | None = None) -> dict[str, Tensor]:
    backward(model, some or batch(), micro_batch, autocast=nullcontext)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_gradient_is_that_of_the_plain_loss() -> None:
    found = gradients(seeded(VIT), micro_batch=8)
    model, some = seeded(VIT), batch()
    texts = model.encode_text(some.tokens)[some.rows]
    contrastive_loss(model.encode_image(some.pictures), texts, model.logit_scale, ROWS).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_gradient_in_micro_batches_is_the_whole_batchs(micro_batch: int) -> None:
    whole = gradients(seeded(VIT), 8)
    parts = gradients(seeded(VIT), micro_batch)
    assert whole.keys() == parts.keys() == dict(seeded(VIT).named_parameters()).keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-5, rtol=1e-5)
        assert float(gradient.abs().max()) > 1e-5 or name.endswith("in_proj_bias")


def test_batch_norms_count_a_micro_batch_once() -> None:
    """With all of the batch in one micro-batch but the second pass forced by another tower."""
    once, parts = seeded(RESNET), seeded(RESNET)
    with torch.no_grad():
        for some in batch().pictures.split(4):
            once.encode_image(some)
    gradients(parts, 4)
    for name, buffer in once.named_buffers():
        if buffer.is_floating_point():
            torch.testing.assert_close(parts.get_buffer(name), buffer, msg=name)


@pytest.mark.parametrize("frozen", ["visual.", "transformer."])
def test_a_frozen_tower_has_no_gradient_and_the_other_has_the_same(frozen: str) -> None:
    whole, model = gradients(seeded(VIT), 8), seeded(VIT)
    text = ("transformer.", "token_embedding", "positional_embedding", "ln_final", "text_proj")
    stays = ("visual.",) if frozen == "visual." else text
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(stays))
    found = gradients(model, 3)
    assert found.keys() == {name for name in whole if not name.startswith(stays)}
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, whole[name], atol=1e-5, rtol=1e-5)


CHILD = """
import sys
import torch
from contextlib import nullcontext
from dataclasses import replace
from safetensors.torch import save_file
import test_loss as tests
from clipcli.training.gradient import Batch, backward
from clipcli.training.distributed import joined_processes

with joined_processes("cpu") as (processes, device):
    whole = tests.batch()
    at = slice(0, 5) if processes.rank == 0 else slice(5, 8)
    distinct, rows = whole.rows[at].unique(return_inverse=True)
    share = Batch(whole.pictures[at], whole.tokens[distinct], rows, whole.captions[at])
    for micro_batch in tests.MICRO_BATCHES:
        model = tests.seeded(tests.VIT)
        loss = backward(model, share, micro_batch, autocast=nullcontext, processes=processes)
        gradients = {name: p.grad for name, p in model.named_parameters()}
        gradients["loss"] = torch.tensor(loss)
        save_file(gradients, f"{sys.argv[1]}/{micro_batch}_{processes.rank}.safetensors")
"""
MICRO_BATCHES = (8, 2)


@pytest.fixture(scope="module")
def found_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gradients and the loss that each of two processes has, by micro-batch and rank."""
    folder = tmp_path_factory.mktemp("gradients")
    paths = (Path(__file__).parent, TESTS, os.environ["PYTHONPATH"])
    results = run_joined(
        [sys.executable, "-c", CHILD, str(folder)], PYTHONPATH=os.pathsep.join(map(str, paths))
    )
    assert [result.code for result in results] == [0, 0], results
    return folder


@pytest.mark.parametrize("micro_batch", MICRO_BATCHES)
def test_two_processes_have_the_gradient_of_the_joined_batch(
    found_by_two: Path, micro_batch: int
) -> None:
    """Shares of five and three pairs, with captions that stand in both."""
    model = seeded(VIT)
    loss = backward(model, batch(), 8, autocast=nullcontext)
    for rank in range(2):
        found = load_file(found_by_two / f"{micro_batch}_{rank}.safetensors")
        assert float(found.pop("loss")) == pytest.approx(loss, abs=1e-5)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(found[name], parameter.grad, atol=1e-5, rtol=1e-5)
