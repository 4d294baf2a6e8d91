"""An image encoder on each of several devices: a batch is copied there while another is computed,
and cut into smaller ones where memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from threading import Barrier, Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipcli.errors import ModelError
from clipcli.photos.budget import hand_back_freed_memory
from clipcli.runtime.forward import Forward

N_CALLERS = 2  # threads that a device keeps busy: one copies while the other computes
_N_PROBED = 8  # photographs that tell how much memory one takes
_LARGEST_BATCH = 512  # more at once is no faster on any GPU of today

_starting = Lock()  # two pools that start at once would read each other's number of threads


class DeviceEncoder:
    """An image encoder on one device. Several threads may call it."""

    def __init__(self, forward: Forward, device: torch.device, one_size: bool = False) -> None:
        """one_size: every batch is filled up to the size of the first, as torch.compile wants."""
        self.forward = forward
        self.device = device
        self.one_size = one_size
        self.largest: int | None = None  # photographs in one call of forward; None: any number
        self._computing = Lock()
        self._copying: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Photographs uint8 [n, px, px, 3] -> unit float32 [n, d].

        Where memory runs out, this and all later calls take half as many at once.
        Raises ModelError where memory is too small for a single one.
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
        embeddings: NDArray[np.float32] = self.forward(pixels)[:n].cpu().numpy()
        return embeddings

    def _on_device(self) -> AbstractContextManager[object]:
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()


class DevicePool:
    """Copies of one image encoder that share each batch."""

    def __init__(self, encoders: Sequence[DeviceEncoder]) -> None:
        self.encoders = list(encoders)
        self._threads: ThreadPoolExecutor | None = None

    @classmethod
    def of_cores(cls, forward: Forward, n_cores: int, n_at_once: int | None = None) -> DevicePool:
        """On the CPU, each core computes all layers for its share, `n_at_once` of it or all.

        If the cores shared each layer instead, they would wait for each other at its end, while
        photographs are decoded on the same cores: beside one other busy thread that takes twice
        as long, and this way no longer than without it (two cores).
        """
        encoders = [DeviceEncoder(forward, torch.device("cpu")) for _ in range(n_cores)]
        for encoder in encoders:
            encoder.largest = n_at_once
        return cls(encoders)

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `DeviceEncoder.encode`."""
        if len(self.encoders) == 1:
            return self.encoders[0].encode(pixels)
        threads = self._started_threads()
        shares = np.array_split(pixels, len(self.encoders))
        running = [
            threads.submit(encoder.encode, share)
            for encoder, share in zip(self.encoders, shares, strict=True)
            if len(share)
        ]
        return np.concatenate([future.result() for future in running])

    def _started_threads(self) -> ThreadPoolExecutor:
        """Started by the first batch, so that a process may fork between opening and encoding."""
        with _starting:
            if self._threads is None:
                n_threads = N_CALLERS * len(self.encoders)
                threads = ThreadPoolExecutor(n_threads, "device")
                if self.encoders[0].device.type == "cpu":
                    _start_on_one_core_each(threads, n_threads)
                self._threads = threads
            return self._threads


def _start_on_one_core_each(threads: ThreadPoolExecutor, n: int) -> None:
    """All n threads compute on one core from now on; the others of the process as before.

    `torch.set_num_threads` sets two numbers: that of the thread that calls it, and the one that
    every thread of the process takes when it first computes. So the second is set back, by a
    thread that is not used again.
    """
    all_started = Barrier(n)  # without it, one thread might run all n calls

    def compute_alone() -> None:
        # takes the process's number now, which would otherwise replace the 1 later
        torch.get_num_threads()
        torch.set_num_threads(1)
        all_started.wait()

    with ThreadPoolExecutor(1) as helper:
        of_process = helper.submit(torch.get_num_threads).result()
        try:
            for started in [threads.submit(compute_alone) for _ in range(n)]:
                started.result()
        finally:
            all_started.abort()  # if one could not be started, the others wait no longer
            helper.submit(torch.set_num_threads, of_process).result()


def _is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # PyTorch's allocator on a CPU and oneDNN raise a bare RuntimeError. oneDNN gives no reason, but
    # it could create the same for other batches, so only memory can be lacking
    return "can't allocate memory" in str(error) or str(error).startswith("could not create a")
