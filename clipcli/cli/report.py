"""What is said on stderr about one run: the bar, what failed, the summary; and the exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import ExitCode, NothingReadError, one_line
from clipcli.records import Classified, Embedded, Failure, PassedOver

if TYPE_CHECKING:
    from rich.progress import Progress

    from clipcli.files.part_file import PartFile
    from clipcli.files.writers import Record


@dataclass
class Tally:
    """How many files ended in which way."""

    done: int = 0
    passed_over: int = 0
    failed: int = 0
    middle_only: int = 0
    recalled: int = 0

    @property
    def total(self) -> int:
        return self.done + self.passed_over + self.failed


class Report:
    """Talks on stderr. `verb` says what happens to a photograph: labelled, embedded, compared."""

    def __init__(self, verb: str, quiet: bool) -> None:
        self.tally = Tally()
        self._verb = verb
        self._quiet = quiet
        self._progress: Progress | None = None
        self._failures: PartFile | None = None
        self._seconds = 0.0

    def note(self, text: str) -> None:
        """A line that --quiet leaves out."""
        if not self._quiet:
            self.complain(text)

    def complain(self, text: str) -> None:
        """A line that is always said."""
        line = f"clipcli: {one_line(text)}"
        if self._progress is not None:
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr)

    def follow(self, records: Iterable[Record | PassedOver], n_files: int) -> Iterator[Record]:
        """Pass on results and failures, counting, naming what failed, moving the bar."""
        start = time.monotonic()
        with self._bar(n_files) as advance:
            for record in records:
                if isinstance(record, PassedOver):
                    self.tally.passed_over += 1
                elif isinstance(record, Failure):
                    self._fail(record)
                elif isinstance(record, Classified | Embedded):
                    self.tally.done += 1
                    self.tally.middle_only += record.middle_only
                    self.tally.recalled += record.recalled
                advance()
                if not isinstance(record, PassedOver):
                    yield record
        self._seconds = time.monotonic() - start

    @contextmanager
    def failures_to(self, path: str | None) -> Iterator[None]:
        """Write what fails to this CSV, which appears when the run is whole."""
        if path is None:
            yield
            return
        from clipcli.files.part_file import PartFile
        from clipcli.files.writers import FAILURE_COLUMNS, csv_line

        self._failures = PartFile(Path(path))
        try:
            yield
            if not self.tally.failed:
                self._failures.write(csv_line(FAILURE_COLUMNS).encode())
        except NothingReadError:
            self._failures.commit()  # the run came to its end, and this is what is to be known
            raise
        except BaseException as error:
            kept = self._failures.abandon()
            if kept is not None:
                error.add_note(f"the failures so far are in {kept}")
            raise
        self._failures.commit()

    def conclude(self, described: str) -> ExitCode:
        """Say how it ended. Raises NothingReadError where not one photograph could be read."""
        tally = self.tally
        if not tally.done and not tally.failed:
            passed_over = _files(tally.passed_over)
            self.note(f"nothing to do: no photographs found, {passed_over} passed over")
            return ExitCode.OK
        rate = tally.done / self._seconds if self._seconds else 0.0
        line = (
            f"{_files(tally.total)}: {tally.done} {self._verb}, {tally.passed_over} passed over,"
            f" {tally.failed} failed; {described}, {rate:,.1f} images/s"
        )
        if tally.recalled:
            line += f"; {tally.recalled} known from before"
        if tally.middle_only:
            line += (
                f"; {tally.middle_only} longer than 2:1 judged by the middle alone"
                " (--fit pad shows the model all of it)"
            )
        self.note(line)
        if not tally.done:
            raise NothingReadError(f"not one photograph could be read, {tally.failed} failed")
        return ExitCode.PARTLY_READ if tally.failed else ExitCode.OK

    @contextmanager
    def downloading(self) -> Iterator[Callable[[int, int | None], None]]:
        """A callback for the bytes of a download; the bar appears with the first of them."""
        if self._quiet or not sys.stderr.isatty():
            yield lambda done, total: None
            return
        from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

        with ExitStack() as stack:
            progress: Progress | None = None

            def on_progress(done: int, total: int | None) -> None:
                nonlocal progress
                if progress is None:  # mostly there is nothing to download, and no bar to draw
                    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
                    progress = stack.enter_context(self._live(*columns))
                    progress.add_task("downloading")
                progress.update(progress.task_ids[0], completed=done, total=total)

            yield on_progress

    def _fail(self, failure: Failure) -> None:
        self.tally.failed += 1
        self.complain(f"{failure.path}: {failure.error}")
        if self._failures is not None:
            from clipcli.files.writers import FAILURE_COLUMNS, csv_line

            header = csv_line(FAILURE_COLUMNS) if self.tally.failed == 1 else ""
            line = header + csv_line([failure.path, failure.error])
            self._failures.write(line.encode("utf-8", "surrogateescape"))

    @contextmanager
    def _bar(self, n_files: int) -> Iterator[Callable[[], None]]:
        if self._quiet or not sys.stderr.isatty():
            yield lambda: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} images/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]} failed"),
        )
        start = time.monotonic()
        with self._live(*columns) as progress:
            task = progress.add_task("files", total=n_files, rate=0.0, failed=0)

            def advance() -> None:
                rate = self.tally.done / max(time.monotonic() - start, 1e-9)
                progress.update(task, advance=1, rate=rate, failed=self.tally.failed)

            yield advance

    @contextmanager
    def _live(self, *columns: object) -> Iterator[Progress]:
        """A bar that goes away when it is done; lines said meanwhile stand above it."""
        from rich.console import Console
        from rich.progress import Progress, TextColumn

        with Progress(
            TextColumn("{task.description}"),
            *columns,  # type: ignore[arg-type]
            console=Console(stderr=True),
            transient=True,
        ) as progress:
            self._progress = progress
            try:
                yield progress
            finally:
                self._progress = None


def _files(n: int) -> str:
    return f"{n} file" if n == 1 else f"{n} files"
