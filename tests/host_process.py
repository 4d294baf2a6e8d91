"""A program that does something of its own in Python, and uses clipcli beside it.

    python tests/host_process.py WHAT FOLDER [gc-off]

Prints as JSON what clipcli has changed of its process: {what: [before, after]}.
"""

from __future__ import annotations

import gc
import json
import locale
import logging
import os
import random
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image, ImageFile

N_FLOATS = 100_000_000
LABELS = ["astronaut", "cat", "rocket"]


def has_ways_of_its_own(collects_garbage: bool) -> ThreadPoolExecutor:
    """Sets nothing to its default; one thread that computes on two cores, this one on three."""
    of_its_own = ThreadPoolExecutor(1)
    of_its_own.submit(torch.set_num_threads, 2).result()
    torch.set_num_threads(3)
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True
    Image.MAX_IMAGE_PIXELS = 12_345_678
    gc.set_threshold(701, 11, 9)
    if not collects_garbage:
        gc.disable()
    logging.basicConfig(level=logging.ERROR, format="host: %(message)s")
    warnings.filterwarnings("ignore", "of the host's own")
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    locale.setlocale(locale.LC_ALL, "C")
    return of_its_own


def in_new_thread(ask: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask).result()


def hands_memory_back() -> bool:
    """Whether a large tensor that is freed leaves the process."""
    process = psutil.Process()
    before = process.memory_info().rss
    numbers = torch.ones(N_FLOATS)
    taken = process.memory_info().rss - before
    del numbers
    assert taken > 3 * N_FLOATS
    return process.memory_info().rss - before < taken / 10


def ways(of_its_own: ThreadPoolExecutor) -> dict[str, object]:
    """What a program may have set for its whole process."""
    return {
        "cores of this thread": torch.get_num_threads(),
        "cores of an old thread": of_its_own.submit(torch.get_num_threads).result(),
        "cores of a new thread": in_new_thread(torch.get_num_threads),
        "cores between operators": torch.get_num_interop_threads(),
        "Pillow's limit": Image.MAX_IMAGE_PIXELS,
        "Pillow's broken files": ImageFile.LOAD_TRUNCATED_IMAGES,
        "garbage collection": [gc.isenabled(), *gc.get_threshold(), gc.get_freeze_count()],
        "TF32 of convolutions": torch.backends.cudnn.allow_tf32,
        "TF32 of products": torch.backends.cuda.matmul.allow_tf32,
        "precision of products": torch.get_float32_matmul_precision(),
        "torch's modes": [
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            str(torch.get_default_dtype()),
            str(torch.get_default_device()),
            torch.are_deterministic_algorithms_enabled(),
        ],
        "torch's random numbers": torch.get_rng_state().sum().item(),
        "NumPy's random numbers": str(np.random.get_state()),
        "NumPy's errors": np.geterr(),
        "Python's random numbers": hash(random.getstate()),
        "log": [repr(logging.root.handlers), logging.root.level, logging.root.manager.disable],
        "clipcli's log": [
            type(handler)
            for name, log in loggers()
            for handler in log.handlers
            if "clipcli" in name and type(handler) is not logging.NullHandler
        ],
        "warnings": repr(warnings.filters),
        "signals": [repr(signal.getsignal(number)) for number in signal.valid_signals()],
        "locale": locale.setlocale(locale.LC_ALL),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "hooks": repr([sys.excepthook, threading.excepthook, sys.unraisablehook]),
        "streams": repr([sys.stdin, sys.stdout, sys.stderr]),
        "recursion": sys.getrecursionlimit(),
        "open files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "memory is handed back": hands_memory_back(),
    }


def loggers() -> list[tuple[str, logging.Logger]]:
    known = logging.root.manager.loggerDict.items()
    return [(name, log) for name, log in known if isinstance(log, logging.Logger) and log.handlers]


def embed(folder: str) -> None:
    encoder = clipcli.Encoder.open("lite", device="cpu")
    n_embedded = [isinstance(one, clipcli.Embedded) for one in clipcli.embed([folder], encoder)]
    assert sum(n_embedded) == 6


def classify(folder: str) -> None:
    embedder = clipcli.Embedder.open("lite", device="cpu")
    records = list(clipcli.classify([folder], LABELS, embedder))
    assert sum(isinstance(record, clipcli.Classified) for record in records) == 6


def fail(folder: str) -> None:
    """In every way there is: a name, a label, a photograph, an exception on either side."""
    with suppress(clipcli.ClipcliError):
        clipcli.Embedder.open("no such model")
    embedder = clipcli.Embedder.open("lite", device="cpu", remember=False)
    with suppress(clipcli.ClipcliError):
        list(clipcli.classify([folder], [], embedder))
    missing = list(clipcli.classify([f"{folder}/none.jpg"], LABELS, embedder))
    assert [type(record) for record in missing] == [clipcli.Failure]
    with closing(clipcli.classify([folder], LABELS, embedder)) as records:
        next(records)  # and no more of them
    for encoder in embedder.encoder()._images.encoders:
        encoder.forward = broken
    with suppress(ZeroDivisionError):
        list(clipcli.embed([folder], embedder))
        raise AssertionError("expected an error of the model")


def broken(pixels: torch.Tensor) -> torch.Tensor:
    raise ZeroDivisionError


def overlap(folder: str) -> None:
    """Two runs, each with a model of its own: the one that began first ends first."""
    at_work = threading.Barrier(2)
    first_began, first_ended = threading.Event(), threading.Event()

    def run(is_first: bool) -> None:
        embedder = clipcli.Embedder.open("lite", device="cpu", remember=False)
        if not is_first:
            first_began.wait()
        records = clipcli.classify([folder], LABELS, embedder)
        next(records)
        first_began.set()
        at_work.wait()
        if not is_first:
            first_ended.wait()
        list(records)
        first_ended.set()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, [True, False]))


USES = {use.__name__: use for use in (embed, classify, fail, overlap)}

if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    own_thread = has_ways_of_its_own(collects_garbage=rest != ["gc-off"])
    before = ways(own_thread)
    import clipcli

    USES[what](folder)
    after = ways(own_thread)
    print(
        json.dumps(
            {name: [before[name], after[name]] for name in before if before[name] != after[name]}
        )
    )
