"""Several processes, each with its share of every batch, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """This process among `size` of them; a single one exchanges nothing."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes and talks for all."""
        return self.rank == 0

    def joined(self, rows: Tensor) -> list[Tensor]:
        """Everybody's rows [n_of_each, ...], in the order of the processes, without gradients."""
        if self.size == 1:
            return [rows.detach()]
        n_rows = torch.zeros(self.size, dtype=torch.int64, device=rows.device)
        n_rows[self.rank] = len(rows)
        dist.all_reduce(n_rows)
        # gloo gathers tensors of one size only
        padded = rows.new_zeros(int(n_rows.max()), *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(gathered, padded)
        return [some[:n] for some, n in zip(gathered, n_rows.tolist(), strict=True)]

    def add_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Each gradient becomes the sum of everybody's."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        _sum_up([parameter.grad for parameter in parameters if parameter.grad is not None])

    def average_statistics(self, model: nn.Module) -> None:
        """Batch norms' running means and variances, the same everywhere: what is saved by one
        process is what each goes on with."""
        if self.size == 1:
            return
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        if buffers:
            _sum_up(buffers)
        for buffer in buffers:
            buffer /= self.size

    def any(self, yes: bool, device: torch.device) -> bool:
        """Whether one of them says yes."""
        if self.size == 1:
            return yes
        answer = torch.tensor(float(yes), device=device)
        dist.all_reduce(answer)
        return bool(answer > 0)


def _sum_up(tensors: list[Tensor]) -> None:
    """Each becomes the sum of everybody's, in one message for all."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    sizes = [tensor.numel() for tensor in tensors]
    for tensor, summed in zip(tensors, torch.split(flat, sizes), strict=True):
        tensor.copy_(summed.view_as(tensor))


@contextmanager
def joined_processes(device: str) -> Iterator[tuple[Processes, str]]:
    """The processes that torchrun started, or this one alone; and the device of this one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes(), device
        return
    on_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_cuda and ":" not in device:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    dist.init_process_group("nccl" if on_cuda else "gloo")
    try:
        yield Processes(dist.get_rank(), size), device if on_cuda else "cpu"
    finally:
        dist.destroy_process_group()
