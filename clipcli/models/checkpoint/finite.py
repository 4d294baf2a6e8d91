"""No tensor of a checkpoint holds anything but numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from clipcli.errors import CheckpointError


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises CheckpointError, naming the tensor, for a NaN or an infinite number in one of them.

    tensors: on the CPU, of integers, which are passed over, float16, float32 or float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for name, tensor in tensors.items():
            # A sum keeps what is not finite, and takes a fifteenth of the time of a look at each;
            # one that is too large for its type gets that look. NumPy's is of one thread: torch's
            # wait for each other, a second in all where other processes keep the cores busy
            if not tensor.is_floating_point() or math.isfinite(tensor.numpy().sum()):
                continue
            n_bad = tensor.numel() - np.count_nonzero(np.isfinite(tensor.numpy()))
            if n_bad:
                raise CheckpointError(
                    f"{path}: {name}: {n_bad:,} of {tensor.numel():,} numbers are NaN or infinite;"
                    " expected finite ones; fetch the file again"
                )
