"""A polite library: the process that uses it from Python stays as it was."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from places import TESTS

ON_GLIBC = platform.libc_ver()[0] == "glibc"


def python(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not ON_GLIBC, reason="sees memory that is handed back where glibc hands it")
@pytest.mark.parametrize(
    ("what", "garbage_collection"),
    [("embed", "gc-off"), ("classify", "gc-on"), ("fail", "gc-on"), ("overlap", "gc-off")],
)
def test_a_host_process_finds_everything_as_before(
    example_photos: Path, what: str, garbage_collection: str
) -> None:
    host = TESTS / "host_process.py"
    assert json.loads(python(host, what, example_photos, garbage_collection)) == {}


TUNED = f"""
import gc, logging, sys
sys.path.insert(0, {str(TESTS)!r})
import torch
from host_process import hands_memory_back
from clipcli import Encoder, tune_process
from clipcli.runtime.process import compute_float32_exactly, without_garbage_collection

assert hands_memory_back()
tune_process()
assert hands_memory_back(), "before a model was loaded"
Encoder.open("lite", device="cpu")
assert not hands_memory_back()
with without_garbage_collection():
    assert not gc.isenabled()
assert gc.isenabled()
assert gc.get_freeze_count() > 0
compute_float32_exactly()
assert not torch.backends.cudnn.allow_tf32
"""


@pytest.mark.skipif(not ON_GLIBC, reason="sees memory that is handed back where glibc hands it")
def test_a_process_that_asks_for_it_is_tuned_when_a_model_is_opened() -> None:
    python("-c", TUNED)


COMMAND = f"""
import os, sys
sys.path.insert(0, {str(TESTS)!r})
from clipcli.cli.main import main

def leave(code):
    from host_process import hands_memory_back
    print(code, hands_memory_back(), file=sys.stderr)

os._exit = leave
sys.argv = ["clipcli", "embed", "--text", "a dog", "--model", "lite", "--device", "cpu"]
main()
"""


@pytest.mark.skipif(not ON_GLIBC, reason="sees memory that is handed back where glibc hands it")
def test_the_command_tunes_its_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr.splitlines()[-1] == "0 False", done.stderr


FLOAT32_ON_CUDA = """
import logging
from clipcli.runtime.process import compute_float32_exactly

logging.basicConfig(level=logging.INFO)
compute_float32_exactly()
import torch
assert torch.backends.cudnn.allow_tf32
"""


def test_float32_on_cuda_names_the_call_in_the_log_where_it_was_not_made() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FLOAT32_ON_CUDA], capture_output=True, text=True, check=True
    )
    assert done.stderr == (
        "INFO:clipcli.runtime.process:float32 on CUDA may be computed in TF32;"
        " clipcli.tune_process() prevents it\n"
    )


RANDOM_WEIGHTS = """
import torch
from clipcli.training.start import open_start

torch.manual_seed(5)
expected = torch.rand(3)
torch.manual_seed(5)
weights = [open_start("tiny", seed).model.text_projection for seed in (0, 0, 1)]
assert torch.rand(3).equal(expected)
assert weights[0].equal(weights[1])
assert not weights[0].equal(weights[2])
"""


def test_random_weights_leave_the_hosts_random_numbers_alone() -> None:
    python("-c", RANDOM_WEIGHTS)
