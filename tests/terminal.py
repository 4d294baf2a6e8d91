"""A real pseudo-terminal, with clipcli on it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

RUNS = """
import json, os, sys
from clipcli.cli.main import run
given = dict(os.environ)
for line in open(int(sys.argv[1])):
    arguments, environment = json.loads(line)
    os.environ.update(environment)
    code = run(arguments)
    sys.stdout.flush()
    sys.stdout.buffer.write(b"%d\\x1e" % code)
    sys.stdout.buffer.flush()
    os.environ.clear()
    os.environ.update(given)
"""
NO_ROW_IS_BROKEN = 20_000  # columns


class Terminal:
    """A process on a pseudo-terminal that runs one command line after another."""

    def __init__(self, folder: Path) -> None:
        self._master, slave = pty.openpty()
        to_read, to_write = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUNS, str(to_read)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=[to_read],
            env=os.environ
            | {
                "TERM": "xterm-256color",
                "HOME": str(folder),
                "CLIPCLI_CACHE": str(folder / "cache"),
            },
            start_new_session=True,
        )
        os.close(slave)
        os.close(to_read)
        self._runs = os.fdopen(to_write, "w")

    def run(
        self, *arguments: object, columns: int = NO_ROW_IS_BROKEN, **environment: str
    ) -> tuple[int, str]:
        """The exit code, and all that came to the terminal: rows, errors and bars."""
        termios.tcsetwinsize(self._master, (24, columns))
        line = [[str(argument) for argument in arguments], environment]
        self._runs.write(json.dumps(line) + "\n")
        self._runs.flush()
        printed = b""
        while not printed.endswith(b"\x1e"):
            assert select.select([self._master], [], [], 60)[0], printed
            printed += os.read(self._master, 1 << 16)
        text = printed[:-1].replace(b"\r\n", b"\n").decode()
        return int(text[-1]), text[:-1]

    def type(self, text: str) -> None:
        """What the next command finds on its stdin."""
        os.write(self._master, text.encode())

    def close(self) -> None:
        self._runs.close()
        assert self._process.wait(60) == 0
        os.close(self._master)
