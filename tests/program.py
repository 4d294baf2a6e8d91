"""clipcli as a child process."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
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
