"""Memory for pictures that are decoded at once: bounded, in turn, and never waited for in vain."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import odd_shapes
import pytest
from pictures import noise, python, save

from clipcli.photos import budget
from clipcli.photos.budget import SMALL_BYTES, Budget
from clipcli.photos.decode import DecodeOptions, decode
from clipcli.photos.preprocess import PreprocessConfig

ALL = 10 * SMALL_BYTES
TIMEOUT_S = 20


def test_no_more_is_taken_at_once_than_there_is() -> None:
    shared = Budget(ALL)
    lock = threading.Lock()
    taken = most = n_done = 0

    def work(n_bytes: int) -> None:
        nonlocal taken, most, n_done
        with shared.taken(n_bytes):
            with lock:
                taken += n_bytes
                most = max(most, taken)
            os.sched_yield()
            with lock:
                taken -= n_bytes
                n_done += 1

    with ThreadPoolExecutor(8) as pool:
        sizes = [SMALL_BYTES * (1 + number % 9) for number in range(300)]
        list(pool.map(work, sizes, timeout=TIMEOUT_S))
    assert n_done == 300
    assert most <= ALL


def test_small_pictures_never_wait() -> None:
    shared = Budget(ALL)
    with shared.taken(ALL), ThreadPoolExecutor(1) as pool:

        def small() -> None:
            with shared.taken(SMALL_BYTES - 1):
                pass

        pool.submit(small).result(TIMEOUT_S)


def until_waiting(shared: Budget, n: int) -> None:
    while len(shared._waiting) < n:
        os.sched_yield()


def test_what_is_larger_than_all_is_there_alone() -> None:
    shared = Budget(ALL)
    is_over = False

    def other() -> bool:
        with shared.taken(SMALL_BYTES):
            return is_over

    with ThreadPoolExecutor(1) as pool:
        with shared.taken(1000 * ALL):
            waiting = pool.submit(other)
            until_waiting(shared, 1)
            is_over = True
        assert waiting.result(TIMEOUT_S)


def test_who_waits_first_is_served_first() -> None:
    """A large picture is not overtaken by smaller ones for ever."""
    shared = Budget(ALL)
    order: list[str] = []

    def work(name: str, n_bytes: int) -> None:
        with shared.taken(n_bytes):
            order.append(name)

    with ThreadPoolExecutor(2) as pool:
        with shared.taken(SMALL_BYTES):
            large = pool.submit(work, "large", ALL)
            until_waiting(shared, 1)
            small = pool.submit(work, "small", SMALL_BYTES)
            until_waiting(shared, 2)
        large.result(TIMEOUT_S)
        small.result(TIMEOUT_S)
    assert order == ["large", "small"]


def test_what_fails_gives_its_share_back(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(odd_shapes.png(6_000, 6_000)[:2_000])
    for _ in range(20):
        with pytest.raises(Exception, match="truncated"):
            decode(str(path), PreprocessConfig(16), DecodeOptions())
    assert budget.IN_FLIGHT._taken_bytes == 0


def test_a_forked_child_owes_nothing(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(3000, 2000))
    code = (
        "import os, signal; from clipcli.photos.decode import *\n"
        "from clipcli.photos.budget import BUDGET_BYTES, IN_FLIGHT\n"
        "with IN_FLIGHT.taken(BUDGET_BYTES):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        f"        signal.alarm({TIMEOUT_S})\n"
        "        decode('a.png', PreprocessConfig(16), DecodeOptions())\n"
        "        os._exit(0)\n"
        "    print(os.waitpid(child, 0)[1])\n"
    )
    assert python(code, tmp_path) == "0\n"
