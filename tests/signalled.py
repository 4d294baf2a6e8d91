"""A run of `clipcli classify` that gets a signal at its end, at each place in turn; a script.

    python signalled.py FOLDER PHOTOS

Python looks for signals where a function begins: a run is forked for each function that is called
after the last row, and sends itself SIGINT or SIGTERM there, every third time twice. Prints, a line
each, JSON: the function, the exit code, what --output holds (whole, before or half), what was said,
and whether a part is left.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from clipcli.cli.main import main, run
from clipcli.files.rows import RowWriter

BEFORE = b"before\n"


def send_at(nth: int, number: signal.Signals, times: int, told: int) -> None:
    """The signal where the nth function begins after the last row; `told` is told where."""
    begun: set[CodeType] = set()

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        if not begun and frame.f_code is not RowWriter.finish.__code__:
            return
        begun.add(frame.f_code)
        if len(begun) == nth:
            sys.settrace(None)
            os.write(told, frame.f_code.co_qualname.encode())
            for _ in range(times):
                os.kill(os.getpid(), number)

    sys.settrace(trace)


def ended(folder: Path, arguments: list[str], nth: int) -> list[object] | None:
    """How the nth run ended, or None where fewer functions are called."""
    output, said = folder / "rows.csv", folder / "stderr"
    output.write_bytes(BEFORE)
    number = signal.SIGINT if nth % 2 else signal.SIGTERM
    told_by, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.argv = ["clipcli", *arguments]
        send_at(nth, number, 2 if nth % 3 == 0 else 1, told)
        try:
            main()
        finally:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            os._exit(99)
    os.close(told)
    with os.fdopen(told_by) as pipe:
        place = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return [place, code, output.read_text(), said.read_text()] if place else None


def run_each(folder: Path, photos: str) -> None:
    output = folder / "rows.csv"
    arguments = ["classify", photos, "--model", "lite", "--labels", "dog,cat", "-o", str(output)]
    # the first fills the cache, the second imports what a run needs that finds all in it
    for _ in range(2):
        assert run(arguments) == 0
    whole = output.read_text()
    nth = 1
    while (end := ended(folder, arguments, nth)) is not None:
        place, code, text, said = end
        state = {whole: "whole", BEFORE.decode(): "before"}.get(str(text), "half")
        part = output.with_name("rows.csv.part")
        print(json.dumps([place, code, state, said, part.exists()]), flush=True)
        part.unlink(missing_ok=True)
        nth += 1


if __name__ == "__main__":
    run_each(Path(sys.argv[1]), sys.argv[2])
