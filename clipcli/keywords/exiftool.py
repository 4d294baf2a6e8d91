"""One exiftool that stays open for a whole run: starting it takes longer than a photograph.

exiftool(1), -stay_open. Its arguments go through a pipe, a line each.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer
from typing import Self

from clipcli.errors import ExifToolError, KeywordsError, one_line

TIMEOUT_S = 60.0  # for one command, and a second more for each megabyte
OLDEST = 12.0  # of 2020
MOST_ENDS = 3  # in a row, after which it is given up
GET_IT = (
    "Debian: apt-get install libimage-exiftool-perl; macOS: brew install exiftool; Windows:"
    " winget install OliverBetz.ExifTool"
)
# where nobody writes any more, exiftool would wait for ever; so it is told that this was the end
_UNTIL_THE_END = '{ cat; printf "%s\\n" -stay_open False; } | "$0" "$@"'


def find_exiftool() -> str:
    """Its path. Raises ExifToolError where there is none, or one that is broken or too old."""
    program = shutil.which("exiftool")
    if program is None:
        raise ExifToolError(f"no exiftool, which --embed-keywords needs; {GET_IT}")
    try:
        done = subprocess.run(
            [program, "-config", "", "-ver"], capture_output=True, timeout=TIMEOUT_S, check=False
        )
        said = (done.stdout or done.stderr).decode(errors="replace").strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExifToolError(f"{program}: does not run: {error}; {GET_IT}") from error
    if not re.fullmatch(r"\d+\.\d+", said):
        what = one_line(said[:80]) or "nothing"
        raise ExifToolError(f"{program} -ver: said {what}; expected a version like 12.57; {GET_IT}")
    if float(said) < OLDEST:
        raise ExifToolError(f"{program}: version {said}; expected {OLDEST:.2f} or newer; {GET_IT}")
    return program


class ExifTool:
    """Runs commands, and a new process for the next one where the last one ended it.

    No configuration of the user's is read, which would be a program. timeout_s: how long a command
    may take. folder: for a file that a command reads, until the end.
    """

    def __init__(self, program: str, timeout_s: float = TIMEOUT_S) -> None:
        self._program = program
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._n_ends = 0
        self._temporary = tempfile.TemporaryDirectory(prefix="clipcli-")
        self.folder = Path(self._temporary.name)
        self._said = self.folder / "stderr"
        self._said.touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._end()
        self._temporary.cleanup()

    def read(self, *arguments: str) -> bytes:
        """What a command prints; raises as `run` does."""
        pieces: list[bytes] = []
        self.run(arguments, pieces.append)
        return b"".join(pieces)

    def run(
        self, arguments: Sequence[str], write: Callable[[bytes], object], n_bytes: int = 0
    ) -> None:
        """Run a command and hand what it prints to `write`, piece by piece.

        arguments: each begins with `-` or is an absolute path; n_bytes: of the file, for the
        timeout. Raises KeywordsError for what exiftool calls an error, and where it ends or
        hangs; ExifToolError once it has done that several times in a row.
        """
        number = secrets.randbelow(10**12)  # which no photograph can know
        lines = [*map(_line, arguments), f"-execute{number}\n"]
        process = self._started()
        n_said = self._said.stat().st_size
        is_late = Event()

        def end_late() -> None:
            is_late.set()
            _kill(process)

        timer = Timer(self._timeout_s + n_bytes / 1e6, end_late)
        timer.start()
        try:
            assert process.stdin is not None
            process.stdin.write("".join(lines).encode("utf-8", "surrogateescape"))
            process.stdin.flush()
            self._copy_answer(process, f"{{ready{number}}}\n".encode(), write)
        except (BrokenPipeError, EOFError) as error:
            self._end()
            self._n_ends += 1
            why = (
                f"took longer than {timer.interval:.0f} s"
                if is_late.is_set()
                else "ended in the middle"
            )
            if self._n_ends == MOST_ENDS:
                raise ExifToolError(
                    f"{self._program}: {why}, {MOST_ENDS} times in a row; install it again"
                ) from error
            raise KeywordsError(f"exiftool {why}") from error
        except BaseException:
            self._end()  # half an answer is in the pipe
            raise
        finally:
            timer.cancel()
        self._n_ends = 0
        self._raise_error(n_said)

    def _copy_answer(
        self, process: subprocess.Popen[bytes], end: bytes, write: Callable[[bytes], object]
    ) -> None:
        assert process.stdout is not None
        held = b""
        while not held.endswith(end):
            if len(held) > len(end):
                write(held[: -len(end)])
                held = held[-len(end) :]
            piece = os.read(process.stdout.fileno(), 1 << 20)
            if not piece:
                raise EOFError
            held += piece
        if held != end:
            write(held[: -len(end)])

    def _raise_error(self, n_said: int) -> None:
        """Raise the first error of those said last."""
        with self._said.open("rb") as file:
            file.seek(n_said)
            said = file.read(1 << 16)
        for line in said.decode(errors="replace").splitlines():
            if line.startswith("Error"):
                what = line.partition(":")[2].rpartition(" - ")[0] or line
                raise KeywordsError(one_line(f"exiftool: {what.strip()}"))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # an empty configuration comes first, or it is not heeded
            command = [self._program, "-config", "", "-stay_open", "True", "-@", "-"]
            if sys.platform == "win32":
                command += ["-common_args", "-charset", "filename=UTF8"]
            else:
                command = ["/bin/sh", "-c", _UNTIL_THE_END, *command]
            with self._said.open("ab") as stderr:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    start_new_session=True,  # Ctrl-C is ours to heed, and all of it can be ended
                )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process)
        with process, suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it at once: it holds no file but one that it reads."""
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _line(argument: str) -> str:
    """An argument as exiftool reads it from a pipe. Raises KeywordsError for one that it cannot
    be told: it takes a line end only in a form in which `$` and `@` are lost."""
    if "\n" not in argument and "\r" not in argument:
        return f"{argument}\n"
    if "$" in argument or "@" in argument:
        raise KeywordsError("exiftool takes no name with a line end and a $ or @; rename it")
    for character, escape in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r")):
        argument = argument.replace(character, escape)
    return f"#[CSTR]{argument}\n"
