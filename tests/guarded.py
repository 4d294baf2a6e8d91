"""Many hostile files in one child process, which may take little memory and time for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

TIME_LIMIT_S = 5.0  # for one file
LINE_LIMIT = 1000  # characters, with a path of a few hundred
# every case in one process whose address space may grow by so much; prints a line for each
GUARDED = """
import json, resource, sys, time
from pathlib import Path
from clipcli.models.checkpoint import checkpoint
from clipcli.errors import CheckpointError
pages = int(Path("/proc/self/statm").read_text().split()[0])
if (grown_mb := int(sys.argv[1])) >= 0:
    limit = pages * resource.getpagesize() + grown_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.stdin.read().split("\\n"):
    began = time.monotonic()
    try:
        checkpoint.load(Path(path))
        message = None
    except CheckpointError as error:
        message = str(error)
    except BaseException as error:
        message = f"not caught: {type(error).__name__}: {error}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([message, grown, time.monotonic() - began]), flush=True)
"""


def guarded_refusals(paths: list[Path], grown_mb: int, address_mb: int | None = 1024) -> list[str]:
    """The message for each path, after checking the line, the time, and the memory."""
    if not sys.platform.startswith("linux"):
        pytest.skip("limits of memory are those of Linux")
    child = subprocess.run(
        [sys.executable, "-c", GUARDED, str(-1 if address_mb is None else address_mb)],
        input="\n".join(map(str, paths)),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(lines) == len(paths), f"died at {paths[len(lines)].name}: {child.stderr[-300:]}"
    for path, (message, grown_kb, took_s) in zip(paths, lines, strict=True):
        assert message, f"{path.name} was loaded"
        assert not message.startswith("not caught"), f"{path.name}: {message[:300]}"
        assert len(message.splitlines()) == 1
        assert len(message) < LINE_LIMIT, path.name
        assert grown_kb < grown_mb * 1024, path.name
        assert took_s < TIME_LIMIT_S, path.name
    return [message for message, _, _ in lines]
