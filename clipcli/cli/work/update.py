"""--update: what changed since the rows that --output holds, and a file that stays if nothing did.

All photographs are labelled again, known ones from the cache, so the rows are those of a fresh run.
The old ones are only read to say what is new.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from clipcli.cli.options.shared import ModelOptions, OutputOptions
from clipcli.cli.options.updating import UpdateOptions
from clipcli.cli.work import output
from clipcli.errors import NothingReadError, OutputError, UsageError
from clipcli.files.classified_rows import PhotoRow, RowLabel, read_classified
from clipcli.files.part_file import PartFile, write_whole
from clipcli.files.rows import TableContents
from clipcli.files.stdout import Stdout
from clipcli.files.suffixes import KNOWN
from clipcli.photos.find import NO_PHOTOGRAPH, FoundFile
from clipcli.records import Classified, Failure, Record

R = TypeVar("R", bound=Record)
N_NAMED = 5  # of the PATHs that are gone


def check_update(options: UpdateOptions, out: OutputOptions, model: ModelOptions) -> None:
    """Refuse, before anything runs, what has no old rows, or makes all of them anew."""
    if not options.update:
        if options.new_rows is not None:
            raise UsageError("--new-rows: new since when? give --update too, with --output FILE")
        return
    if out.output is None:
        raise UsageError("--update: of which file? give --output FILE")
    if os.path.exists(out.output) and not os.path.isfile(out.output):
        raise UsageError(f"--update: {out.output} keeps no rows; expected the name of a file")
    if out.format == "table":
        raise UsageError(
            "--update: a table for people is not read again; expected another --format"
        )
    if not model.cache:
        raise UsageError("--update takes what it knows from the cache; leave --no-cache out")


def check_all_there(paths: Iterable[str], found: Iterable[FoundFile]) -> None:
    """Raises NothingReadError if a PATH or a folder is gone, empty or closed: a disk that is not
    mounted must not cost the rows of its photographs."""
    lost = [Failure(path, "a link to nothing") for path in paths if _is_broken_link(path)]
    lost += [one for one in found if isinstance(one, Failure) and not _is_file(one.path)]
    if lost:
        named = ", ".join(f"{one.path}: {one.error}" for one in lost[:N_NAMED])
        named += f" and {len(lost) - N_NAMED} more" if len(lost) > N_NAMED else ""
        is_empty = any(one.error == NO_PHOTOGRAPH for one in lost)
        hint = "; --allow-empty, if that is all right" if is_empty else ""
        raise NothingReadError(f"{named}; --update changed nothing{hint}")


def _is_file(path: str) -> bool:
    """Whether there is something of this name that holds no photographs of its own."""
    return os.path.lexists(path) and not os.path.isdir(path)


def _is_broken_link(path: str) -> bool:
    return os.path.islink(path) and not os.path.exists(path)


class Update:
    """Counts what is new in the rows that go to `file`, against those that it holds.

    format and columns: of its rows, as in `output.open_rows`. Raises OutputError for an old file
    that is no output of classify.
    """

    def __init__(
        self, options: UpdateOptions, file: PartFile, format: str, columns: Sequence[str]
    ) -> None:
        self._file = file
        self._started_ns = time.time_ns()
        self._old = _old_rows(file.path)
        self._written_ns = os.stat(file.path).st_mtime_ns if self._old else 0
        self._n_new = self._n_changed = self._n_relabelled = 0
        self._new_rows = options.new_rows and NewRows(options.new_rows, format, columns)

    def compared(self, records: Iterable[R]) -> Iterator[R]:
        """The records, each held against its old row."""
        for record in records:
            if isinstance(record, Classified):
                self._compare(record)
            yield record

    def _compare(self, record: Classified) -> None:
        before = self._old.pop(record.moved_to or record.path, None)
        if before is None:  # it is moved in this run
            before = self._old.pop(record.path, None)
        is_new = before is None
        is_changed = is_relabelled = False
        if before is not None:
            now = _row_of(record)
            is_relabelled = before.answer != now.answer
            # other labels or another model change the numbers of all rows, and no photograph
            is_changed = (
                _similarity(before) != _similarity(now) and _changed_ns(record) >= self._written_ns
            )
        self._n_new += is_new
        self._n_changed += is_changed
        self._n_relabelled += is_relabelled
        if self._new_rows and (is_new or is_changed or is_relabelled):
            self._new_rows.write(record)

    def settle(self) -> bool:
        """After the last row: write the new ones, and say whether the file holds all rows as they
        are already. It then stays untouched."""
        # first: what a failing disk then keeps from --output is new the next time, too
        if self._new_rows:
            self._new_rows.finish()
        if self._file.leave_equal():
            return True
        # so that a photograph which changed since this run has read it is newer than its rows
        with suppress(OSError):  # a part that another user left
            os.utime(self._file.part_path, ns=(self._started_ns, self._started_ns))
        return False

    @property
    def path(self) -> Path:
        return self._file.path

    def __str__(self) -> str:
        return (
            f"{self._n_new:,} new, {self._n_changed:,} changed, {len(self._old):,} gone,"
            f" {self._n_relabelled:,} with another label"
        )


class NewRows:
    """The rows of --new-rows, which are held until all are known: they appear whole or not at all.

    format: of rows on stdout, or in a file whose suffix names none.
    """

    def __init__(self, path: str, format: str, columns: Sequence[str]) -> None:
        if Path(path).suffix.lower() in KNOWN:
            format = output.choose_format(OutputOptions(output=path), Classified, "--new-rows")
        self._path = path
        self._held = _Held(path == "-" and sys.stdout.isatty())
        self._open = ExitStack()
        self._rows = self._open.enter_context(
            output.rows_in(self._held, format, columns, TableContents(Classified))
        )

    def write(self, record: Classified) -> None:
        self._rows.write(record)
        self._held.is_empty = False

    def finish(self) -> None:
        """Without rows a file gets what else it begins with, the next program in a pipe nothing."""
        with self._open:
            self._rows.finish()
        if self._path != "-":
            write_whole(Path(self._path), self._held.data)
        elif not self._held.is_empty:
            with Stdout() as stdout:
                stdout.write(self._held.data)


class _Held:
    """A destination in memory."""

    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self._parts: list[bytes] = []
        self.is_empty = True

    @property
    def data(self) -> bytes:
        return b"".join(self._parts)

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, data: bytes) -> None:
        self._parts.append(data)

    def flush(self) -> None:
        """Nobody waits for it."""


def _old_rows(path: Path) -> dict[str, PhotoRow]:
    """By path; of a file that is not there or has no byte, none."""
    if not path.exists() or not path.stat().st_size:
        return {}
    try:
        old = read_classified(str(path))
        if old.is_judged:
            raise UsageError(f"{path}: somebody's labels without probabilities")
    except UsageError as error:
        raise OutputError(
            f"{error}; --update changed nothing; remove it, or choose another --output"
        ) from error
    return dict(old.photos)


def _row_of(record: Classified) -> PhotoRow:
    """As it is read back."""
    labels = [
        RowLabel(one.label, one.probability, one.is_accepted, round(one.similarity, 6))
        for one in record.predictions
    ]
    return PhotoRow(record.path, tuple(labels), record.scoring, record.model, line=0)


def _similarity(row: PhotoRow) -> float | None:
    return row.labels[0].similarity if row.labels else None


def _changed_ns(record: Classified) -> int:
    """When the file was written, or got its name: in ns since 1970, 0 of one that is gone."""
    for path in filter(None, (record.moved_to, record.path)):
        with suppress(OSError):
            status = os.stat(path)
            return max(status.st_mtime_ns, status.st_ctime_ns)
    return 0
