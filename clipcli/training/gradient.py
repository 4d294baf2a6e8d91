"""The gradient of a whole batch's loss, in as little memory as a micro-batch needs.

The loss compares every photograph with every caption of the batch, so it is no sum over
micro-batches. So it takes three steps (Gao et al. 2021, "Scaling deep contrastive learning batch
size under memory limited setup"): each tower encodes the whole batch without a graph, which needs
little memory; the loss gives the gradient of every embedding; then each micro-batch is encoded
again, with a graph, to carry its embeddings' gradients on. A tower whose batch is one micro-batch
keeps its graph instead, and encodes once.

This is exact but for batch norm, which takes its statistics from the micro-batch, as it takes
them from one card's share in the published training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from clipcli.network.clip import CLIP
from clipcli.training.distributed import Processes
from clipcli.training.loss import contrastive_loss

Encode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """One process's share of a step.

    pictures: float32 [n, 3, px, px]; tokens: int64 [m, length], each different caption once;
    rows: int64 [n], the row in `tokens` of each picture's caption; captions: int64 [n], the same
    number for captions that mean the same, in all processes.
    """

    pictures: Tensor
    tokens: Tensor
    rows: Tensor
    captions: Tensor


def backward(
    model: CLIP,
    batch: Batch,
    micro_batch: int,
    *,
    autocast: Callable[[], AbstractContextManager[object]],
    processes: Processes = Processes(),  # noqa: B008 (frozen)
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> float:
    """Adds the gradient of the joined batch's loss to the parameters of `model`; the loss.

    autocast: around the towers, whose embeddings are compared in float32. scale: what is done to
    the loss before its gradient is taken.
    """

    def encode(tower: Encode, inputs: Tensor) -> Tensor:
        with autocast():
            return tower(inputs).float()

    trains_image = any(p.requires_grad for p in model.visual.parameters())
    trains_text = model.text_projection.requires_grad
    images, to_image = _encoded(
        partial(encode, model.encode_image), torch.split(batch.pictures, micro_batch), trains_image
    )
    texts, to_text = _encoded(
        partial(encode, model.encode_text), torch.split(batch.tokens, micro_batch), trains_text
    )
    own_texts = texts[batch.rows]
    all_images, all_texts = processes.joined(images), processes.joined(own_texts)
    all_images[processes.rank], all_texts[processes.rank] = images, own_texts  # with their graph
    captions = torch.cat(processes.joined(batch.captions))
    loss = contrastive_loss(
        torch.cat(all_images), torch.cat(all_texts), model.logit_scale, captions
    )
    scale(loss).backward()  # type: ignore[no-untyped-call]
    with _running_statistics_kept(model):
        to_image(images.grad)
        to_text(texts.grad)
    # the scale's gradient is whole in each process, the towers' are shares of a sum
    processes.add_gradients(
        [p for p in model.parameters() if p.requires_grad and p is not model.logit_scale]
    )
    processes.average_statistics(model)
    return float(loss.detach())


def _encoded(
    encode: Encode, inputs: tuple[Tensor, ...], trains: bool
) -> tuple[Tensor, Callable[[Tensor | None], None]]:
    """Embeddings as a leaf of the graph, and what carries their gradient into the tower."""
    if trains and len(inputs) == 1:
        whole = encode(inputs[0])

        def carry(gradient: Tensor | None) -> None:
            whole.backward(gradient)  # type: ignore[no-untyped-call]

        return whole.detach().requires_grad_(), carry
    with torch.no_grad():
        embeddings = torch.cat([encode(some) for some in inputs])
    if not trains:
        return embeddings, lambda gradient: None

    def carry_in_parts(gradient: Tensor | None) -> None:
        assert gradient is not None  # the leaf below has one
        for some, part in zip(inputs, torch.split(gradient, len(inputs[0])), strict=True):
            encode(some).backward(part)  # type: ignore[no-untyped-call]

    return embeddings.requires_grad_(), carry_in_parts


@contextmanager
def _running_statistics_kept(model: nn.Module) -> Iterator[None]:
    """Batch norms have seen these pictures already and count them once."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
