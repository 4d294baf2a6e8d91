"""An image encoder on each of one or several devices: copies ahead, and smaller batches where
memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipcli.errors import ModelError
from clipcli.runtime.forward import Tower
from clipcli.runtime.process import hand_back_freed_memory

N_CALLERS = 2  # threads that a device keeps busy: one copies while the other computes
_N_PROBED = 8  # photographs that tell how much memory one takes
_LARGEST_BATCH = 512  # more at once is no faster on any GPU of today


class Replica:
    """An image tower on its device. Several threads may call it."""

    def __init__(self, tower: Tower, device: torch.device, one_size: bool = False) -> None:
        """one_size: every batch is filled up to the size of the first, as torch.compile wants."""
        self.tower = tower
        self.device = device
        self.one_size = one_size
        self.largest: int | None = None  # batch that the tower is given; None: any
        self._computing = Lock()
        self._copying: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Photographs uint8 [n, px, px, 3] -> unit float32 [n, d].

        Where memory runs out, now and from now on half as many at once.
        Raises ModelError where it is too little for a single one.
        """
        with torch.inference_mode(), self._on_device():
            sent = self._send(torch.from_numpy(pixels))
            with self._computing:
                if self._copying is not None:
                    torch.cuda.current_stream().wait_stream(self._copying)
                    sent.record_stream(torch.cuda.current_stream())
                return self._compute(sent)

    def fitting_batch_size(self, px: int) -> int:
        """How many photographs half of a CUDA device's free memory holds, a power of two."""
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        self.encode(np.zeros((_N_PROBED, px, px, 3), dtype=np.uint8))
        each = (torch.cuda.max_memory_allocated(self.device) - before) / _N_PROBED
        free, _ = torch.cuda.mem_get_info(self.device)
        n = int(min(max(free / 2 / each, 1), _LARGEST_BATCH))
        return 1 << (n.bit_length() - 1)

    def _send(self, pixels: Tensor) -> Tensor:
        """To the device; on CUDA, on a stream of its own, beside what is being computed."""
        if self._copying is None:
            return pixels.to(self.device)
        with torch.cuda.stream(self._copying):
            return pixels.pin_memory().to(self.device, non_blocking=True)

    def _compute(self, pixels: Tensor) -> NDArray[np.float32]:
        if self.one_size and self.largest is None:
            self.largest = len(pixels)
        embeddings: list[NDArray[np.float32]] = []
        start = 0
        while start < len(pixels):
            some = pixels[start : start + (self.largest or len(pixels))]
            try:
                embeddings.append(self._run(some))
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                if len(some) == 1:
                    reason = str(error).partition("\n")[0]
                    raise ModelError(
                        f"{self.device}: too little memory for a single photograph ({reason});"
                        " pass a smaller --model, or another --device"
                    ) from error
                self.largest = len(some) // 2
            else:
                start += len(some)
                continue
            # not in the handler, where the traceback still holds what the failed run had made
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            else:
                hand_back_freed_memory()
        return np.concatenate(embeddings)

    def _run(self, pixels: Tensor) -> NDArray[np.float32]:
        n = len(pixels)
        if self.one_size and self.largest is not None and n < self.largest:
            filler = pixels.new_zeros(self.largest - n, *pixels.shape[1:])
            pixels = torch.cat([pixels, filler])
        embeddings: NDArray[np.float32] = self.tower(pixels)[:n].cpu().numpy()
        return embeddings

    def _on_device(self) -> AbstractContextManager[object]:
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()


class Replicas:
    """Replicas that share each batch."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.replicas = list(replicas)
        on_cpu = self.replicas[0].device.type == "cpu"
        self._threads = ThreadPoolExecutor(
            N_CALLERS * len(self.replicas),
            "replica",
            initializer=_compute_alone if on_cpu else None,
        )

    @classmethod
    def of_cores(cls, tower: Tower, n_cores: int) -> Replicas:
        """One tower on the CPU, for each core a share of the batch.

        Cores that share every layer wait for each other at its end, spinning, and photographs are
        being decoded on the same cores: beside one other busy thread that halves the pace, and
        shares of the batch lose nothing (two cores).
        """
        return cls([Replica(tower, torch.device("cpu")) for _ in range(n_cores)])

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `Replica.encode`."""
        if len(self.replicas) == 1:
            return self.replicas[0].encode(pixels)
        shares = np.array_split(pixels, len(self.replicas))
        running = [
            self._threads.submit(replica.encode, share)
            for replica, share in zip(self.replicas, shares, strict=True)
            if len(share)
        ]
        return np.concatenate([future.result() for future in running])


def _compute_alone() -> None:
    """For the thread that calls it: its layers are computed by itself."""
    torch.set_num_threads(1)


def _is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # PyTorch's allocator on a CPU, and oneDNN, have no exception of their own; oneDNN does not even
    # give a reason, but what it could create for other batches it lacks the memory for
    return "can't allocate memory" in str(error) or str(error).startswith("could not create a")
