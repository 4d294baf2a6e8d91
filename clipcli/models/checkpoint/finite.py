"""No tensor of a checkpoint holds anything but numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipcli.errors import CheckpointError

N_AT_ONCE = 1 << 20  # 4 MB in float32


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises CheckpointError, naming the tensor, for a NaN or an infinite number in one of them.

    tensors: on the CPU, of floats or of integers, which are passed over. A float64 must not be too
    large for float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                continue
            n_bad = sum(map(_n_not_finite, float32_pieces(tensor)))
            if n_bad:
                raise CheckpointError(
                    f"{path}: {name}: {n_bad:,} of {tensor.numel():,} numbers are NaN or infinite;"
                    " expected finite ones; fetch the file again"
                )


def float32_pieces(tensor: Tensor) -> Iterator[NDArray[np.float32]]:
    """All numbers in their order, some at once: a large table is not in memory a second time."""
    for piece in torch.split(tensor.reshape(-1), N_AT_ONCE):
        yield piece.float().numpy()


def _n_not_finite(numbers: NDArray[np.float32]) -> int:
    # A sum keeps what is not finite, and takes a fifteenth of the time of a look at each; one that
    # is too large for its type gets that look. NumPy's is of one thread: torch's wait for each
    # other, a second in all where other processes keep the cores busy
    if math.isfinite(numbers.sum()):
        return 0
    return int(numbers.size - np.count_nonzero(np.isfinite(numbers)))
