"""What a process does that tests fork; here, where it can import it whatever started pytest."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from pictures import DROP_RIGHTS

from clipcli.cli.main import run

Prepare = Callable[[], None] | None


def run_forked(arguments: list[str], stderr: Path, prepare: Prepare) -> None:
    """A command line, in this process; what it says goes to the file `stderr`."""
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT), 2)
    if prepare is not None:
        prepare()
    sys.exit(run(arguments))


def limit_files(n_bytes: int) -> None:
    """A file may not grow past this: the same error at the same place as a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


def drop_rights(*rehearsal: object) -> None:
    """Import whatever a run needs by a run like it, then give up the rights of the user root."""
    assert run([str(argument) for argument in rehearsal]) == 0
    exec(DROP_RIGHTS, {"os": os})
