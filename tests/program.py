"""clipcli as a child process."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """How a run ended: exit code, stdout as bytes, stderr as text."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def rows(self) -> list[dict[str, str]]:
        """stdout as CSV."""
        text = self.stdout.decode("utf-8", "surrogateescape")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    @property
    def objects(self) -> list[Any]:
        """stdout as JSON Lines."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def last_line(self) -> str:
        return self.stderr.splitlines()[-1]


def n_known(summary: str) -> int:
    """How many photographs the cache knew, by the summary of a run."""
    found = re.search(r": (\d+) \w+, .*; (\d+|all) known from before", summary)
    return int(found[1] if found[2] == "all" else found[2]) if found else 0


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "clipcli", *(os.fspath(str(item)) for item in arguments)]


def run(*arguments: object, stdin: bytes = b"", **environment: str) -> Result:
    """Run clipcli to its end."""
    done = subprocess.run(
        command(*arguments),
        input=stdin,
        capture_output=True,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr.decode())


@contextmanager
def started(
    command: Sequence[str],
    *,
    ignores_sigint: bool = False,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[str]]:
    """A child process at work; at the end it is killed if it still runs.

    It heeds SIGINT unless told otherwise, also where pytest does not: in the background of a
    script SIGINT is ignored, and children inherit that.
    """
    # children inherit what is ignored, and never a handler
    for_child = signal.SIG_IGN if ignores_sigint else signal.default_int_handler
    before = signal.signal(signal.SIGINT, for_child)
    try:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def run_joined(command: Sequence[str], **environment: str) -> list[Result]:
    """Run two processes to their end that know of each other, as `torchrun` starts them."""
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port = some.getsockname()[1]
    environment |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with ExitStack() as stack:
        processes = []
        for rank in range(2):
            process = subprocess.Popen(
                command,
                env=os.environ | environment | {"RANK": str(rank), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        results = []
        for process in processes:
            stdout, stderr = process.communicate(timeout=120)
            results.append(Result(process.returncode, stdout, stderr.decode()))
    return results
