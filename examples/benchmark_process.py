"""Whole processes timed, the machine described, and tables: used by benchmark.py.

Imports the standard library alone: a process that is started is charged with the memory of the
one that starts it, so that one has to stay small.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
WATCH_EVERY_S = 0.005


@dataclass(frozen=True)
class Run:
    """A process that ended well.

    output and talk: its stdout and stderr; peak_mb: the most that was resident, mapped files
    included; anonymous_mb: the most that is no file's, zero where it was not watched.
    """

    seconds: float
    peak_mb: float
    anonymous_mb: float
    output: str
    talk: str


class ProcessError(SystemExit):
    """A process that failed; `said` is the last line of its stderr."""

    def __init__(self, command: Sequence[object], said: str) -> None:
        super().__init__(f"{shlex.join(map(str, command))}: {said}")
        self.said = said


def run(command: Sequence[object], listed: Path | None = None, watch: bool = False) -> Run:
    """Time a whole process with the file `listed` on its stdin.

    Raises ProcessError where it fails, which ends the benchmark unless it is caught.
    """
    with (
        open(listed or os.devnull) as stdin,
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as stderr,
    ):
        anonymous_mb = [0.0]
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], stdin=stdin, stdout=stdout, stderr=stderr
        )
        if watch:
            threading.Thread(target=_watch, args=(process.pid, anonymous_mb), daemon=True).start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        output, talk = stdout.read(), stderr.read()
    if status:
        raise ProcessError(command, (talk.strip() or f"status {status}").splitlines()[-1])
    return Run(seconds, usage.ru_maxrss / 1024, max(anonymous_mb), output, talk)


def _watch(process_id: int, anonymous_mb: list[float]) -> None:
    """Note a process's anonymous memory until it ends, or at once where no /proc tells it."""
    try:
        while found := re.search(r"RssAnon:\s+(\d+)", _status(process_id)):
            anonymous_mb.append(int(found[1]) / 1024)
            time.sleep(WATCH_EVERY_S)
    except OSError:
        pass


def _status(process_id: int) -> str:
    return Path(f"/proc/{process_id}/status").read_text()


def describe_machine() -> str:
    """Processor, memory and versions, one a line."""
    try:
        cpu_info = Path("/proc/cpuinfo").read_text()
        model = re.search(r"model name\s*: (.+)", cpu_info)
        flags = set(re.findall(r"\w+", cpu_info))
        name = model[1] if model else platform.machine()
        name += f" with {', '.join(flag for flag in CPU_FLAGS if flag in flags)}"
    except OSError:
        name = platform.processor() or platform.machine()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = ", ".join(
        f"{package} {version(package)}" for package in ("torch", "pillow", "numpy")
    )
    return (
        f"- {name}; {N_CORES} cores, {memory_gb:.0f} GB\n"
        f"- {platform.system()} {platform.release()}, Python {platform.python_version()}\n"
        f"- {versions}"
    )


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A Markdown table; floats get two decimals, None stays empty."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for row in (cells[0], rule, *cells[1:]):
        first = row[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print(f"| {' | '.join([first, *others])} |")
    print(flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
    return "" if value is None else str(value)
