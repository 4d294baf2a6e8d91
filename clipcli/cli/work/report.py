"""How a run over files ended: what failed, how many of what, and the exit code."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from clipcli.cli import talk
from clipcli.cli.work import progress
from clipcli.cli.work.update import Update
from clipcli.errors import ExitCode, NothingReadError
from clipcli.files.part_file import PartFile
from clipcli.files.rows import FAILURE_COLUMNS, csv_line
from clipcli.photos.find import NO_PHOTOGRAPH
from clipcli.records import Classified, Embedded, Failure, PassedOver, Record

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
N_NAMED = 5  # of the folders without a photograph


class Report:
    """Counts files and names what failed. `verb` says what happens to a photograph: labelled,
    embedded, compared. update: what it says of old rows, at the end."""

    def __init__(self, verb: str, quiet: bool) -> None:
        self.quiet = quiet
        self.update: Update | None = None
        self._n_done = self._n_passed_over = self._n_failed = 0
        self._n_middle_only = self._n_recalled = 0
        self._empty: list[str] = []  # folders without a photograph, which are failures too
        self._verb = verb
        self._failures: PartFile | None = None
        self._seconds = 0.0
        if quiet:
            talk.leave_out_notes()

    def follow(self, records: Iterable[R | PassedOver], n_files: int) -> Iterator[R]:
        """Pass on results and failures, counting, naming what failed, moving the bar, which an
        update begins with the first photograph that is encoded: mostly there is none."""
        start = time.monotonic()
        advance: Callable[[int], None] | None = None
        with ExitStack() as stack:
            if self.update is None:
                advance = stack.enter_context(progress.of_files(n_files, self.quiet))
            for n_before, record in enumerate(records):
                if isinstance(record, PassedOver):
                    self._n_passed_over += 1
                elif isinstance(record, Failure):
                    self._fail(record)
                elif isinstance(record, Classified | Embedded):
                    self._n_done += 1
                    self._n_middle_only += record.middle_only
                    self._n_recalled += record.recalled
                    if advance is None and not record.recalled:
                        bar = progress.of_files(n_files, self.quiet, n_before)
                        advance = stack.enter_context(bar)
                if advance is not None:
                    advance(self._n_failed)
                if not isinstance(record, PassedOver):
                    yield record
        self._seconds = time.monotonic() - start

    @contextmanager
    def failures_to(self, path: str | None) -> Iterator[None]:
        """Write what fails to this CSV, which appears when the run is whole."""
        if path is None:
            yield
            return
        with PartFile(Path(path), kept="failures") as self._failures:
            try:
                yield
            except NothingReadError:
                self._failures.commit()  # the run came to its end, and this is what is to be known
                raise
            if not self._n_failed:
                self._failures.write(csv_line(FAILURE_COLUMNS).encode())

    def conclude(self, described: str, kept: str | None = None) -> ExitCode:
        """Say how it ended. kept: a file of rows that stays as it was.

        Raises NothingReadError where not one photograph could be read, or none was there.
        """
        n_done, n_failed = self._n_done, self._n_failed
        passed_over = f"{_files(self._n_passed_over)} passed over"
        stays = f"; {kept} stays as it was" if kept else ""
        if not n_done and n_failed and n_failed == len(self._empty):
            folders = "this folder" if n_failed == 1 else "these folders"
            more = f" and {n_failed - N_NAMED} more" if n_failed > N_NAMED else ""
            raise NothingReadError(
                f"{', '.join(self._empty[:N_NAMED])}{more}: no photograph in {folders},"
                f" {passed_over}{stays}; --allow-empty, if that is all right"
            )
        for path in self._empty:
            logger.warning(f"{path}: {NO_PHOTOGRAPH}")
        if not n_done and n_failed:
            more = f", {passed_over}" if self._n_passed_over else ""
            raise NothingReadError(
                f"not one photograph could be read, {n_failed} failed{more}{stays}"
            )
        code = ExitCode.PARTLY_READ if n_failed else ExitCode.OK
        if self.update is not None and self.update.settle():
            failed = f", {n_failed} failed" if n_failed else ""
            logger.info(
                f"nothing new: {_files(n_done)} labelled as before{failed};"
                f" {self.update.path} stays as it was"
            )
            return code
        changes = f"; {self.update}" if self.update is not None else ""
        if not n_done:
            logger.info(f"nothing to do: no photographs found, {passed_over}{stays}{changes}")
            return code
        line = (
            f"{_files(n_done + self._n_passed_over + n_failed)}: {n_done} {self._verb},"
            f" {self._n_passed_over} passed over, {n_failed} failed; {described}"
        )
        n_encoded = n_done - self._n_recalled
        if n_encoded:
            line += f", {n_encoded / max(self._seconds, 1e-9):,.1f} images/s"
        if self._n_recalled:
            line += f"; {self._n_recalled if n_encoded else 'all'} known from before"
        if self._n_middle_only:
            line += (
                f"; {self._n_middle_only} longer than 2:1 judged by the middle alone"
                " (--fit pad shows the model all of it)"
            )
        logger.info(line + changes)
        return code

    def _fail(self, failure: Failure) -> None:
        self._n_failed += 1
        if failure.error == NO_PHOTOGRAPH:
            self._empty.append(failure.path)  # said at the end, when it is known if all were empty
        else:
            logger.warning(f"{failure.path}: {failure.error}")
        if self._failures is not None:
            header = csv_line(FAILURE_COLUMNS) if self._n_failed == 1 else ""
            line = header + csv_line([failure.path, failure.error], self._failures.isatty())
            self._failures.write(line.encode("utf-8", "surrogateescape"))


def _files(n: int) -> str:
    return f"{n} file" if n == 1 else f"{n} files"
