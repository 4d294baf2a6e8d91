"""Threads that compute on one core each, in a process whose other threads do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from torch import Tensor

from clipcli.runtime.device_pool import DevicePool

N_CORES = 3
BATCH = np.zeros((2 * N_CORES, 4, 4, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def three_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(N_CORES)
    yield
    torch.set_num_threads(before)


class CountingForward:
    """Notes how many cores the thread that calls it computes on."""

    def __init__(self) -> None:
        self.n_cores: list[int] = []

    def __call__(self, pixels: Tensor) -> Tensor:
        self.n_cores.append(torch.get_num_threads())
        return torch.zeros(len(pixels), 1)


def n_cores_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_each_thread_of_a_pool_computes_on_one_core_and_others_as_before() -> None:
    forward = CountingForward()
    pool = DevicePool.of_cores(forward, N_CORES)
    with ThreadPoolExecutor(4) as callers:
        list(callers.map(pool.encode, [BATCH] * 8))
    assert forward.n_cores == [1] * 8 * N_CORES
    assert torch.get_num_threads() == N_CORES
    assert n_cores_of_a_new_thread() == N_CORES


def test_pools_that_start_at_once_do_not_take_each_others_number() -> None:
    forwards = [CountingForward() for _ in range(8)]
    at_once = Barrier(len(forwards))

    def encode(forward: CountingForward) -> None:
        at_once.wait()
        DevicePool.of_cores(forward, N_CORES).encode(BATCH)

    with ThreadPoolExecutor(len(forwards)) as callers:
        list(callers.map(encode, forwards))
    assert {n for forward in forwards for n in forward.n_cores} == {1}
    assert n_cores_of_a_new_thread() == N_CORES


FORK = """
import os
import numpy as np
from clipcli.models.encoder import Encoder

encoder = Encoder.open("lite", device="cpu")
child = os.fork()
if child == 0:
    found = encoder.encode_pixels(np.zeros((4, 260, 260, 3), dtype=np.uint8))
    os._exit(found.shape != (4, encoder.embed_dim))
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks after torch was used")
def test_a_process_that_forks_after_opening_encodes_in_the_child() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=120)
