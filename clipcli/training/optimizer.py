"""How parameters move: AdamW, a warm-up, half a cosine (paper, 2.5 and table 18)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

MOST_WARM_UP_STEPS = 2000  # paper, table 18

Passed = TypeVar("Passed")  # what a caller's `backward` returns, such as a loss


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float
) -> list[dict[str, Any]]:
    """AdamW's groups: matrices decay; gains, biases and the logit scale, which have fewer than
    two dimensions, do not. Frozen parameters are left out."""
    trained = [parameter for _, parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def warm_cosine(n_steps: int, warm_up: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: a straight rise, then half a cosine down to zero."""

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, n_steps - warm_up)))

    return factor


@dataclass(frozen=True)
class Schedule:
    """`warm_cosine` from one step of a run, counted from 0, to its last."""

    first_step: int
    n_steps: int  # of the whole run
    warm_up: int

    @classmethod
    def of(cls, first_step: int, n_steps: int, warm_up: int | None) -> Schedule:
        """Without a `warm_up` a tenth of the schedule, at most MOST_WARM_UP_STEPS."""
        tenth = (n_steps - first_step) // 10
        return cls(
            first_step, n_steps, min(MOST_WARM_UP_STEPS, tenth) if warm_up is None else warm_up
        )

    def factor(self, step: int) -> float:
        return warm_cosine(self.n_steps - self.first_step, self.warm_up)(step - self.first_step)


def descend(
    optimizer: torch.optim.Optimizer,
    backward: Callable[[int], Passed],
    steps: Iterable[int],
    factor: Callable[[int], float],
    *,
    max_norm: float | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> Iterator[tuple[int, Passed]]:
    """One update for each step. `backward(step)` leaves gradients; what it returns is passed on.

    The rate of each group is its first one times `factor(step)`, so a schedule has no state.
    max_norm: of all gradients together. scaler: of float16 gradients, which `backward` has scaled.
    """
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor(step)
        optimizer.zero_grad()
        passed = backward(step)
        if max_norm is not None:
            if scaler is not None:
                scaler.unscale_(optimizer)
            parameters: list[Tensor] = [
                parameter for group in optimizer.param_groups for parameter in group["params"]
            ]
            torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        yield step, passed
